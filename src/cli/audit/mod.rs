//! `breakglass audit`: reading the log without trusting whoever keeps it.

mod export;
mod pipeline;
mod prove;
mod verify;
mod vkey;

use anyhow::Result;
use clap::Subcommand;

use super::{Session, exit::Problem};
use crate::{
    domain::charter::Rules,
    tlog::{Checkpoint, Origin, SignedCheckpoint, VerifierKey},
};

/// Commands about the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Verify(verify::Args),
    Export(export::Args),
    Prove(prove::Args),
    Vkey(vkey::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Verify(args) => verify::run(&args, session),
        Command::Export(args) => export::run(&args, session),
        Command::Prove(args) => prove::run(&args, session),
        Command::Vkey(args) => vkey::run(&args, session),
    }
}

/// The charter's log keys, as C2SP tools know them.
fn verifier_keys(rules: &Rules) -> Result<Vec<VerifierKey>> {
    let keys = rules.document().log_keys.iter();
    keys.map(|key| Ok(VerifierKey::new(key.origin.as_str().parse::<Origin>()?, *key.key.as_bytes())))
        .collect()
}

/// The checkpoint, if a log key of the charter has signed it.
fn verified(checkpoint: &SignedCheckpoint, rules: &Rules) -> Result<Checkpoint> {
    let origin = &checkpoint.unverified().origin;
    let keys = verifier_keys(rules)?;
    let Some(key) = keys.iter().find(|key| key.name() == origin) else {
        let message = format!("the checkpoint is of the log {origin}, which is not in the charter");
        return Err(Problem::unverified("LOG_UNKNOWN", message).into());
    };
    Ok(checkpoint.verify(key)?.clone())
}

/// Reads a checkpoint as the daemon sends it.
fn parse_checkpoint(bytes: &[u8]) -> Result<SignedCheckpoint> {
    Ok(String::from_utf8_lossy(bytes).parse()?)
}
