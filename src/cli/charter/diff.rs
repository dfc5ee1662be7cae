//! `breakglass charter diff`: what a next version would change, in words.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::consent;
use crate::{
    cli::{Session, setup::Setup, view},
    jose::GeneralJws,
};

/// Show what a next version of the charter changes, and what of it makes the rules weaker
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter diff next.json
  breakglass charter diff next.json --json | jq '.changes[] | select(.weakens)'")]
pub(crate) struct Args {
    /// A draft, or a charter that others have signed
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let charter = Setup::load(session.config.as_deref())?.charter;
    let loaded = super::load(&args.file)?;
    let begun = GeneralJws { payload: loaded.payload, signatures: Vec::new() };
    let rules = consent::draft(&charter, &begun)?;
    let result = json!({
        "id": rules.digest(),
        "version": rules.document().version,
        "words": view::charter::phrase(&rules.digest()),
        "changes": view::difference::json(&charter, &rules),
    });
    session.out.result(&result, || view::difference::describe(&charter, &rules))
}
