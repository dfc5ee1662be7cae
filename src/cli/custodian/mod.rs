//! `breakglass custodian`: the hardware keys of those who approve.

mod enrol;

use anyhow::Result;
use clap::Subcommand;

use super::Session;

/// Commands about custodians' hardware keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Enrol(enrol::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Enrol(args) => enrol::run(&args, session),
    }
}
