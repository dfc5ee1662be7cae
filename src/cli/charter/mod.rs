//! `breakglass charter`: drafting, signing and reading the rules.

mod chain;
mod change;
mod consent;
mod diff;
mod draft;
mod new;
mod next;
mod proposals;
mod propose;
mod show;
mod sign;
mod submit;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Subcommand;
pub(super) use consent::signed;
pub(super) use next::following;

use super::{Session, exit::Problem, files};
use crate::{
    domain::charter::{Document, MAX_CHARTER_BYTES, Rules},
    jose::{GeneralJws, json},
};

/// Commands about the charter.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Args),
    Sign(sign::Args),
    Show(show::Args),
    Draft(Box<next::Args>),
    Diff(diff::Args),
    Propose(propose::Args),
    Proposals(proposals::Args),
    Retract(proposals::RetractArgs),
    Submit(submit::Args),
    Pull(chain::PullArgs),
    Verify(chain::VerifyArgs),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::New(args) => new::run(&args, session),
        Command::Sign(args) => sign::run(&args, session),
        Command::Show(args) => show::run(&args, session),
        Command::Draft(args) => next::run(&args, session),
        Command::Diff(args) => diff::run(&args, session),
        Command::Propose(args) => propose::run(&args, session),
        Command::Proposals(args) => proposals::run(&args, session),
        Command::Retract(args) => proposals::retract(&args, session),
        Command::Submit(args) => submit::run(&args, session),
        Command::Pull(args) => chain::pull(&args, session),
        Command::Verify(args) => chain::verify(&args, session),
    }
}

/// A charter's file: the bare payload, canonical or as a person edited it, or the payload under signatures.
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
    // What a person has edited is written again in the one form that is signed; what it means is shown before.
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::usage("FILE_SHAPE", format!("{}: {error}", place())))?;
    let payload = json::canonical(&document).with_context(place)?;
    let rules = Rules::parse(&payload).with_context(place)?;
    Ok(Loaded { rules, payload, statement: None })
}
