//! `breakglass charter show`: the rules in plain words, and who has signed them.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::{Session, clock, setup::Setup, view};

/// Show a charter in plain words, and which signatures it has
///
/// Without FILE: the charter of your configuration, verified against the genesis digest pinned there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter show charter.payload.json
  breakglass charter show --json | jq .digest")]
pub(crate) struct Args {
    /// A charter's payload or signed charter
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let now = clock::now();
    let (rules, states, verified) = if let Some(file) = &args.file {
        let loaded = super::load(file)?;
        let states = view::charter::signatures(&loaded.rules, loaded.statement.as_ref());
        (loaded.rules, states, false)
    } else {
        let setup = Setup::load(session.config.as_deref())?;
        crate::cli::genesis::alarm_if_reachable(&setup, session)?;
        let states = view::charter::signatures(&setup.charter, Some(setup.charter.statement()));
        ((*setup.charter).clone(), states, true)
    };
    let document = view::charter::json(&rules, &states);
    session.out.result(&document, || {
        let trust = if verified {
            "It is the charter that your configuration pins, and all its signatures verify."
        } else {
            "Whether it is the right one, only its words tell: compare them with the other custodians by voice."
        };
        format!("{}\n{}\n{trust}", view::charter::describe(&rules, now), view::charter::signatures_text(&states))
    })
}
