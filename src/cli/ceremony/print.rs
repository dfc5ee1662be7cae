//! `breakglass ceremony print`: the transcript as one page for the binder.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::{Place, page};
use crate::{
    cli::{Session, files},
    domain::transcript::SignedTranscript,
};

/// Write the transcript as one HTML page to print, with its digests as words and QR codes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass ceremony print genesis-2026 --charter charter.json --out genesis-2026.html")]
pub(crate) struct Args {
    /// Folder of the ceremony
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The charter in force after the ceremony: its names are shown beside the ids
    #[arg(long, value_name = "FILE")]
    charter: PathBuf,
    /// The page
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let (_, jws) = Place::new(&args.dir).sealed()?;
    let rules = crate::cli::charter::rules(&args.charter)?;
    // Paper outlives the doubt whether somebody looked: only what all have signed, and what verifies, is printed.
    let signed = SignedTranscript::verify(jws, &rules)?;
    let page = page::html(&signed, &rules)?;
    files::replace(&args.out, page.as_bytes(), files::Access::Public)?;
    session.out.result(&json!({"page": args.out}), || format!("Written: {}", args.out.display()))
}
