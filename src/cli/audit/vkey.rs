//! `breakglass audit vkey`: the log's key, as other tools take it.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Session, setup::Setup};

/// Print the log's verifier key (C2SP vkey), for other tools that check checkpoints
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass audit vkey > log.vkey")]
pub(crate) struct Args {}

pub(super) fn run(_: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let keys: Vec<String> = super::verifier_keys(&setup.charter)?.iter().map(ToString::to_string).collect();
    session.out.result(&json!({ "vkeys": keys }), || keys.join("\n"))
}
