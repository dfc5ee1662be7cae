//! `breakglass lift submit`: hands in a lift that a quorum has signed.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::file::LiftFile;
use crate::cli::{Session, clock, daemon::insist, kill::known::Known, setup::Setup, view};

/// Hand in a lift that a quorum has signed
///
/// What the kills ended stays ended; from the lift on, new requests are good again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass lift submit lift.json")]
pub(crate) struct Args {
    /// The lift with its signatures
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let file = LiftFile::read(&args.file)?;
    file.signed_by(&setup.charter)?;
    session.out.say(file.describe(&setup.charter)?)?;
    let (daemon, statement) = (setup.connect()?, file.statement()?);
    let lifted = match insist(|| daemon.lift(statement.to_json())) {
        // An earlier attempt whose answer was lost has done it.
        (Err(error), true) if error.reason == "KILL_LIFTED" => None,
        (answer, _) => Some(answer.context("the kills were not lifted")?),
    };
    let known = Known::ask(&daemon, &setup.charter, &[])?;
    let result = json!({
        "lifted": file.lift.kills,
        "index": lifted.map(|lifted| lifted.index),
        "in_force": view::kill::json(&known, &setup.charter),
    });
    session.out.result(&result, || {
        format!("Lifted.\n{}", view::kill::describe(&known, &setup.charter, clock::now()))
    })
}
