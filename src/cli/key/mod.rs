//! `breakglass key`: file keys of requesters, auditors and tools, and secrets of verifiers.

mod new;
mod secret;

use anyhow::Result;
use clap::Subcommand;

use super::Session;

/// Commands about file keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Args),
    Secret(secret::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::New(args) => new::run(&args, session),
        Command::Secret(args) => secret::run(&args, session),
    }
}
