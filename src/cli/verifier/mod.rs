//! `breakglass verifier`: who accepts tokens, and what a kill of a key does there.

mod add;
pub(super) mod known;
mod list;
mod probe;

use anyhow::Result;
use clap::Subcommand;

use super::Session;

/// Commands about verifiers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Add(Box<add::Args>),
    List(list::Args),
    Show(list::ShowArgs),
    Probe(probe::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Add(args) => add::run(&args, session),
        Command::List(args) => list::run(&args, session),
        Command::Show(args) => list::show(&args, session),
        Command::Probe(args) => probe::run(&args, session),
    }
}
