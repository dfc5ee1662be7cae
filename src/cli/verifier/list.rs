//! `breakglass verifier list` and `show`: what is known of verifiers.

use anyhow::Result;
use serde_json::{Value, json};

use super::known;
use crate::{
    cli::{Session, exit::Problem, setup::Setup, text, view},
    domain::{charter::Verifier, id::PrincipalId},
    grpc::v1,
};

/// List who accepts tokens, and what is known of them
///
/// For each verifier of your charter: whether it was seen to accept its canary while the key was good, and whether it refuses
/// it since the key was killed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass verifier list")]
pub(crate) struct Args {}

/// Show one verifier, as the charter names it, and what is known of it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass verifier show vault")]
pub(crate) struct ShowArgs {
    /// The verifier, as the charter names it
    #[arg(value_name = "NAME")]
    name: PrincipalId,
}

pub(super) fn run(_: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let known = setup.connect()?.verifiers()?;
    let verifiers = &setup.charter.document().verifiers;
    let rows: Vec<Value> = verifiers.iter().map(|one| document(one, &known)).collect();
    session.out.result(&json!({"verifiers": rows}), || {
        if verifiers.is_empty() {
            return "Your charter names no verifier: breakglass verifier add".to_owned();
        }
        let shown = verifiers.iter().map(|one| format!("{}, for {}\n{}", one.id, one.aud, said(one, &known)));
        shown.collect::<Vec<_>>().concat()
    })
}

pub(super) fn show(args: &ShowArgs, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let verifier = find(&setup, &args.name)?;
    let known = setup.connect()?.verifiers()?;
    session.out.result(&document(verifier, &known), || {
        format!("{}{}", view::outside::verifier(verifier), said(verifier, &known))
    })
}

/// The verifier of this name in the own charter.
pub(super) fn find<'a>(setup: &'a Setup, name: &PrincipalId) -> Result<&'a Verifier> {
    let found = setup.charter.document().verifiers.iter().find(|verifier| verifier.id == *name);
    Ok(found.ok_or_else(|| {
        let message = format!("your charter names no verifier {name}: breakglass verifier list");
        Problem::refused("VERIFIER_UNKNOWN", message)
    })?)
}

fn document(verifier: &Verifier, known: &[v1::VerifierStanding]) -> Value {
    let standing = known.iter().find(|one| one.id == verifier.id.as_str()).map(known::json);
    json!({"id": verifier.id, "aud": verifier.aud, "longest_session": verifier.longest_session,
        "probed": verifier.probe.is_some(), "known": standing})
}

fn said(verifier: &Verifier, known: &[v1::VerifierStanding]) -> String {
    let mut lines = Vec::new();
    let standing = known.iter().find(|one| one.id == verifier.id.as_str());
    for canary in standing.into_iter().flat_map(|one| &one.canaries) {
        lines.push(known::line(verifier.id.as_str(), canary));
    }
    if verifier.probe.is_none() {
        lines.push("cannot be probed: that it refuses a killed key cannot be proven".to_owned());
    } else if lines.is_empty() {
        lines.push("has no canary yet".to_owned());
    }
    if verifier.longest_session > 0 {
        let lasts = text::duration(verifier.longest_session.into());
        lines.push(format!("its own sessions outlive a kill by up to {lasts}"));
    }
    lines.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
}
