//! `breakglass kill status`: what is killed, by whom and why, and which gates enforce it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{gates::Gates, keys::Ending, known::Known};
use crate::{
    cli::{Session, clock, daemon::Daemon, exit::Problem, setup::Setup, verifier::known as verifier, view},
    domain::{charter::Charter, id::KillId},
    jose::Digest,
};

/// Say what is killed, by whom, when and why, and which gates enforce it
///
/// Every kill is verified by its signature, and what each gate says by its own, with your own charter: of who enforces a kill the
/// daemon's word is not taken.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass kill status
  breakglass kill status 5Xb0Yc1nTgqzR2cW8dJ3Aw
  breakglass kill status --json | jq '.kills[].id'")]
pub(crate) struct Args {
    /// The kill whose enforcement is wanted, gate by gate
    #[arg(value_name = "KILL-ID")]
    id: Option<KillId>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let known = Known::ask(&daemon, &setup.charter, &[])?;
    let endings = Ending::ask(&daemon, &known, &setup.charter);
    // An older daemon does not say.
    let verifiers = daemon.verifiers().unwrap_or_default();
    let kill = args.id.map(|id| named(&known, id)).transpose()?;
    // Requesters are not told of gates, and see what is killed all the same.
    let gates = match Gates::ask(&daemon, &setup.charter, kill, known.head) {
        Err(error) if error.reason == "NOT_A_CUSTODIAN" && kill.is_none() => None,
        asked => Some(asked?),
    };
    let mut document = view::kill::json(&known, &setup.charter);
    let keys: Option<Vec<Value>> = endings.as_ref().map(|keys| keys.iter().map(Ending::json).collect());
    if let Some(members) = document.as_object_mut() {
        members.insert("issuing_keys".to_owned(), json!(keys));
        let shown: Vec<Value> = verifiers.iter().map(verifier::json).collect();
        members.insert("verifiers".to_owned(), json!(shown));
        members.insert("enforcement".to_owned(), json!(gates.as_ref().map(Gates::json)));
    }
    session.out.result(&document, || {
        let now = clock::now();
        let mut lines = vec![view::kill::describe(&known, &setup.charter, now)];
        lines.extend(endings.iter().flatten().map(Ending::line));
        lines.extend(verifier::killed(&verifiers));
        lines.extend(gates.iter().map(|gates| gates.describe(&setup.charter, kill.is_some(), now)));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    })
}

/// A kill in force that was verified here, and the digest of what was signed.
fn named(known: &Known, id: KillId) -> Result<(KillId, Digest)> {
    let recorded = known.kills.get(&id).ok_or_else(|| {
        Problem::refused(
            "KILL_UNKNOWN",
            "no such kill is in force: breakglass kill status lists those that are",
        )
    })?;
    Ok((id, Digest::of(&recorded.statement.payload)))
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
