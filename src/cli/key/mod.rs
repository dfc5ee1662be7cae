//! `breakglass key`: file keys of requesters, auditors and tools.

mod new;

use anyhow::Result;
use clap::Subcommand;

use super::Session;

/// Commands about file keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::New(args) => new::run(&args, session),
    }
}
