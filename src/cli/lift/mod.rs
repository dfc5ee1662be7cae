//! `breakglass lift`: a quorum ends kills. A file travels from one custodian to the next.

mod create;
mod file;
mod sign;
mod submit;

use anyhow::Result;
use clap::Subcommand;

use super::Session;

/// Commands by which a quorum ends kills.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    Sign(sign::Args),
    Submit(submit::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Create(args) => create::run(&args, session),
        Command::Sign(args) => sign::run(&args, session),
        Command::Submit(args) => submit::run(&args, session),
    }
}
