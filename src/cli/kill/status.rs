//! `breakglass kill status`: what is killed, by whom and why.

use anyhow::Result;
use serde_json::{Value, json};

use super::{keys::Ending, known::Known};
use crate::{
    cli::{Session, clock, daemon::Daemon, setup::Setup, verifier::known as verifier, view},
    domain::charter::Charter,
};

/// Say what is killed, by whom, when and why
///
/// Every kill is verified by its signature, with your own charter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass kill status
  breakglass kill status --json | jq '.kills[].id'")]
pub(crate) struct Args {}

pub(super) fn run(_: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let known = Known::ask(&daemon, &setup.charter, &[])?;
    let endings = Ending::ask(&daemon, &known, &setup.charter);
    // An older daemon does not say.
    let verifiers = daemon.verifiers().unwrap_or_default();
    let mut document = view::kill::json(&known, &setup.charter);
    let keys: Option<Vec<Value>> = endings.as_ref().map(|keys| keys.iter().map(Ending::json).collect());
    if let Some(members) = document.as_object_mut() {
        members.insert("issuing_keys".to_owned(), json!(keys));
        let shown: Vec<Value> = verifiers.iter().map(verifier::json).collect();
        members.insert("verifiers".to_owned(), json!(shown));
    }
    session.out.result(&document, || {
        let mut lines = vec![view::kill::describe(&known, &setup.charter, clock::now())];
        lines.extend(endings.iter().flatten().map(Ending::line));
        lines.extend(verifier::killed(&verifiers));
        lines.join("\n")
    })
}

/// A warning to stand above whatever else is shown, and what it depends on besides the time; nothing, if nothing wider
/// than one request is killed. Not to know is worth no failure.
pub(in crate::cli) fn warning(daemon: &Daemon, charter: &Charter) -> Option<(String, String)> {
    let known = Known::ask(daemon, charter, &[]).ok()?;
    let banner = view::kill::banner(&known, charter, clock::now());
    let ids: Vec<String> = known.kills.standing().map(|recorded| recorded.kill.id.to_string()).collect();
    let accepting = if banner.is_empty() { Vec::new() } else { daemon.verifiers().unwrap_or_default() };
    let alarms = verifier::accepting(&accepting);
    let lines: Vec<String> = [banner].into_iter().filter(|banner| !banner.is_empty()).chain(alarms).collect();
    (!lines.is_empty()).then(|| (ids.join(" "), lines.join("\n")))
}

/// Says that warning.
pub(in crate::cli) fn warn(daemon: &Daemon, setup: &Setup, session: &mut Session) -> Result<()> {
    match warning(daemon, &setup.charter) {
        Some((_, warning)) => session.out.say(warning),
        None => Ok(()),
    }
}
