//! `breakglass charter`: drafting, signing and reading the rules.

mod draft;
mod new;
mod show;
mod sign;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use super::{Session, files};
use crate::{
    domain::charter::{MAX_CHARTER_BYTES, Rules},
    jose::GeneralJws,
};

/// Commands about the charter.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Args),
    Sign(sign::Args),
    Show(show::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::New(args) => new::run(&args, session),
        Command::Sign(args) => sign::run(&args, session),
        Command::Show(args) => show::run(&args, session),
    }
}

/// A charter's file: the bare payload, or the payload under signatures.
struct Loaded {
    rules: Rules,
    payload: Vec<u8>,
    statement: Option<GeneralJws>,
}

/// The rules in a charter's file, signed or not.
pub(crate) fn rules(path: &Path) -> Result<Rules> {
    Ok(load(path)?.rules)
}

fn load(path: &Path) -> Result<Loaded> {
    let bytes = files::read(path)?;
    let place = || format!("{} is no charter", path.display());
    // A payload has no member of this name: its members are closed.
    let is_signed = serde_json::from_slice::<serde_json::Value>(&bytes)
        .is_ok_and(|value| value.get("signatures").is_some());
    if is_signed {
        let statement = GeneralJws::parse(&bytes, MAX_CHARTER_BYTES).with_context(place)?;
        let rules = Rules::parse(&statement.payload).with_context(place)?;
        return Ok(Loaded { rules, payload: statement.payload.clone(), statement: Some(statement) });
    }
    let rules = Rules::parse(&bytes).with_context(place)?;
    Ok(Loaded { rules, payload: bytes, statement: None })
}
