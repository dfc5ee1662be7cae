//! `breakglass charter show`: the rules in plain words, and who has signed them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    cli::{Session, clock, exit::Problem, setup::Setup, view},
    config::chain,
    domain::charter::{Charter, verify_chain},
};

/// Show a charter in plain words, and which signatures it has
///
/// Without FILE: the charter of your configuration, verified against the genesis digest pinned there. With a number: that
/// version of its chain, verified in the same way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter show charter.payload.json
  breakglass charter show 3                 (an earlier version, from the chain of charter pull)
  breakglass charter show --json | jq .digest")]
pub(crate) struct Args {
    /// A charter's payload or signed charter, or the number of a version
    #[arg(value_name = "FILE|N")]
    file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let now = clock::now();
    let version =
        args.file.as_ref().filter(|file| !file.exists()).and_then(|file| file.to_str()?.parse().ok());
    let (rules, states, verified) = if let Some(version) = version {
        let setup = Setup::load(session.config.as_deref())?;
        let charter = numbered(&setup, version)?;
        let states = view::charter::signatures(&charter, Some(charter.statement()));
        ((*charter).clone(), states, true)
    } else if let Some(file) = &args.file {
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
            "It is of the chain that your configuration pins, and all its signatures verify."
        } else {
            "Whether it is the right one, only its words tell: compare them with the other custodians by voice."
        };
        format!("{}\n{}\n{trust}", view::charter::describe(&rules, now), view::charter::signatures_text(&states))
    })
}

/// A version of the own chain, verified from the genesis on.
fn numbered(setup: &Setup, version: u32) -> Result<Charter> {
    let newest = setup.charter.document().version;
    if !(1..=newest).contains(&version) {
        let message =
            format!("your chain has versions 1 to {newest}: breakglass charter pull fetches newer ones");
        return Err(Problem::refused("CHARTER_VERSION_UNKNOWN", message).into());
    }
    let mut statements =
        chain::read(&setup.config.charter).context("the charter that you hold cannot be used")?;
    statements.truncate(usize::try_from(version).unwrap_or(usize::MAX));
    Ok(verify_chain(setup.config.genesis, statements, clock::now())?)
}
