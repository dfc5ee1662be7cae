//! `breakglass charter pull` and `breakglass charter verify`: the chain from the pinned genesis to the version in force.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{Session, clock, exit::Problem, files, id, setup::Setup, view},
    config::chain,
    domain::charter::{Charter, verify_chain},
    jose::Digest,
};

/// Fetch newer versions of the charter from the daemon, and verify them
///
/// Each version is verified against the one before it, from the genesis digest in your configuration on; the daemon is
/// believed in nothing. The whole chain then stands in the file that your configuration names, and is yours to hand on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter pull
  breakglass charter pull --out chain.json        (for a verifier or an auditor elsewhere)")]
pub(crate) struct PullArgs {
    /// Write the chain here, and leave the configured file as it is
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Verify a chain of charters from its genesis digest, with nothing else
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter verify chain.json --genesis hkyT1QhB0vGQ3WtFwXbPbMYxM7WQpCUm5hPq1p3dW1c
  breakglass charter verify charters/ --genesis hkyT1QhB0vGQ3WtFwXbPbMYxM7WQpCUm5hPq1p3dW1c --json")]
pub(crate) struct VerifyArgs {
    /// A chain: a file of breakglass charter pull, a signed first version, or a folder with one version per file
    #[arg(value_name = "FILE")]
    chain: PathBuf,
    /// Digest of version 1, as it was read aloud at its ceremony
    #[arg(long, value_name = "DIGEST", value_parser = id::parse_digest)]
    genesis: Digest,
}

pub(super) fn pull(args: &PullArgs, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let held = setup.charter.document().version;
    let mut statements =
        chain::read(&setup.config.charter).context("the charter that you hold cannot be used")?;
    statements.extend(setup.connect()?.charters(u64::from(held) + 1)?);
    let newest = verify_chain(setup.config.genesis, statements.clone(), clock::now()).context(
        "what the daemon sent does not follow from the charter that you hold; nothing was written",
    )?;
    let place = args.out.as_ref().unwrap_or(&setup.config.charter);
    if args.out.is_none() && place.is_dir() {
        let message = format!("{} is a folder: give --out FILE, or configure a file", place.display());
        return Err(Problem::usage("CHARTER_FOLDER", message).into());
    }
    files::replace(place, &chain::to_bytes(&statements)?, files::Access::Public)?;
    let found = newest.document().version;
    session.out.result(&summary(&newest), || {
        let news = if found == held {
            "There is no newer one".into()
        } else {
            format!("Version {held} became {found}")
        };
        format!("{news}: {}\nWrote the chain to {}.", phrase(&newest), place.display())
    })
}

pub(super) fn verify(args: &VerifyArgs, session: &mut Session) -> Result<()> {
    let newest = verify_chain(args.genesis, chain::read(&args.chain)?, clock::now())
        .with_context(|| format!("the chain in {} does not verify", args.chain.display()))?;
    session.out.result(&summary(&newest), || {
        format!("The chain is right, and ends at version {}: {}", newest.document().version, phrase(&newest))
    })
}

fn phrase(charter: &Charter) -> String {
    view::charter::phrase(&charter.digest())
}

fn summary(charter: &Charter) -> serde_json::Value {
    json!({
        "version": charter.document().version,
        "digest": charter.digest(),
        "words": phrase(charter),
        "effective_from": charter.effective_from(),
        "expires_at": charter.document().expires_at,
    })
}
