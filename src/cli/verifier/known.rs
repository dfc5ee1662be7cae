//! What the daemon says of verifiers, in plain words and as JSON.
//!
//! Invariant: a refusal is called a proof only where the same verifier took its canary while the key was good.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cli::{daemon::Daemon, text},
    client::ClientError,
    grpc::v1,
};

impl Daemon {
    /// All verifiers of the charter in force.
    pub(crate) fn verifiers(&self) -> Result<Vec<v1::VerifierStanding>, ClientError> {
        let request = v1::ListVerifiersRequest {};
        Ok(self.call(self.channel().verifier().list_verifiers(request))?.verifiers)
    }

    pub(super) fn probe(&self, verifier: &str) -> Result<v1::VerifierStanding> {
        let request = v1::ProbeVerifierRequest { verifier: verifier.to_owned() };
        let answer = self.call(self.channel().verifier().probe_verifier(request))?;
        answer.verifier.context("the daemon's answer is empty: it is not one of this version")
    }
}

/// What a killed key means at one verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its key is good.
    Good,
    /// It refuses, and would not have before.
    Proven,
    /// It refuses, which it may always have done.
    Unproven,
    /// It still takes what the key has signed.
    Accepts,
    /// It was not reached.
    Unreachable,
    /// It is being asked.
    Asking,
}

pub(crate) fn verdict(canary: &v1::CanaryStanding) -> Verdict {
    if canary.kill_id.is_empty() {
        return Verdict::Good;
    }
    let took_it = canary.baseline.as_ref().is_some_and(|baseline| baseline.answer == "accepted");
    match canary.since_kill.as_ref().map(|answer| answer.answer.as_str()) {
        Some("refused") if took_it => Verdict::Proven,
        Some("refused") => Verdict::Unproven,
        Some("accepted" | "indiscriminate") => Verdict::Accepts,
        Some(_) => Verdict::Unreachable,
        None => Verdict::Asking,
    }
}

/// One line for a verifier and a key.
pub(crate) fn line(verifier: &str, canary: &v1::CanaryStanding) -> String {
    let (verifier, kid) = (text::safe(verifier), text::safe(&canary.kid));
    let since = canary.since_kill.as_ref();
    let after = since.map_or(0, |answer| answer.after_ms);
    let what = match verdict(canary) {
        Verdict::Good => good(canary),
        Verdict::Proven => format!("REFUSES what the killed key signed, {after} ms after the kill"),
        Verdict::Unproven => format!(
            "refuses what the killed key signed, {after} ms after the kill; that proves nothing, since it was never seen to accept it"
        ),
        Verdict::Accepts => {
            "STILL ACCEPTS what the killed key signed: restart it, or take it off the network".to_owned()
        }
        Verdict::Unreachable => format!(
            "UNREACHABLE ({}): whether it refuses what the killed key signed is not known; it is asked again",
            since.map(reason).unwrap_or_default()
        ),
        Verdict::Asking => {
            let last = if canary.last_answer.is_empty() { "none yet" } else { &canary.last_answer };
            format!(
                "is being asked whether it refuses what the killed key signed; asked {} times so far, last answer: {}",
                canary.asked,
                text::safe(last)
            )
        }
    };
    format!("{verifier}: {what} (key {kid})")
}

fn good(canary: &v1::CanaryStanding) -> String {
    let Some(baseline) = &canary.baseline else {
        let waits = if canary.signed {
            "it has not been shown its canary yet"
        } else {
            "its canary is not signed yet"
        };
        return waits.to_owned();
    };
    match baseline.answer.as_str() {
        "accepted" => "accepts its canary, as it should while the key is good".to_owned(),
        "refused" => format!("REFUSES its canary (status {}) while the key is good: look at its settings, or a later refusal proves nothing", baseline.status),
        "indiscriminate" => "accepts a token that NOBODY HAS SIGNED: it checks no signatures, or the probe is not where it does".to_owned(),
        _ => format!("unreachable ({}): it has not shown that it checks canaries", reason(baseline)),
    }
}

fn reason(answer: &v1::ProbeAnswer) -> String {
    match answer.status {
        0 => text::safe(&answer.cause),
        status => format!("status {status}"),
    }
}

/// For programs.
pub(crate) fn json(verifier: &v1::VerifierStanding) -> Value {
    let answer = |answer: &v1::ProbeAnswer| {
        json!({
            "answer": answer.answer,
            "status": Some(answer.status).filter(|status| *status > 0),
            "cause": Some(&answer.cause).filter(|cause| !cause.is_empty()),
            "at": answer.at.as_ref().map(|at| at.seconds),
            "after_ms": answer.after_ms,
        })
    };
    let canary = |canary: &v1::CanaryStanding| {
        json!({
            "kid": canary.kid,
            "signed": canary.signed,
            "current": canary.current,
            "baseline": canary.baseline.as_ref().map(answer),
            "kill": Some(&canary.kill_id).filter(|id| !id.is_empty()),
            "since_kill": canary.since_kill.as_ref().map(answer),
            "verdict": format!("{:?}", verdict(canary)).to_lowercase(),
            "asked": canary.asked,
        })
    };
    let session = |session: &v1::SessionStanding| {
        json!({
            "kill": session.kill_id,
            "requests": session.requests,
            "until": session.until.as_ref().map(|until| until.seconds),
            "has_hook": session.has_hook,
            "hook": session.hook.as_ref().map(answer),
        })
    };
    json!({
        "id": verifier.id,
        "canaries": verifier.canaries.iter().map(canary).collect::<Vec<_>>(),
        "sessions": verifier.sessions.iter().map(session).collect::<Vec<_>>(),
    })
}

/// What may be left of sessions that a verifier began before a kill.
fn session(verifier: &str, session: &v1::SessionStanding) -> String {
    let (verifier, kill) = (text::safe(verifier), text::safe(&session.kill_id));
    let until = text::instant(session.until.as_ref().map_or(0, |until| until.seconds));
    let what = match &session.hook {
        Some(hook) if hook.answer == "accepted" => {
            format!(
                "its revocation hook has taken the kill (status {}), and by its word ended its sessions",
                hook.status
            )
        }
        Some(hook) => format!(
            "its revocation hook FAILS ({}): sessions that began before may live until {until}; it is told again",
            reason(hook)
        ),
        None if session.has_hook => {
            format!("its revocation hook is being told; until it answers, sessions may live until {until}")
        }
        None => format!(
            "sessions of its own that began before may live until {until}; it has no hook to end them"
        ),
    };
    format!("{verifier}: {what} (kill {kill})")
}

/// Lines for those with a killed key, and for sessions that outlive a kill.
pub(crate) fn killed(verifiers: &[v1::VerifierStanding]) -> Vec<String> {
    let canaries = verifiers.iter().flat_map(|one| one.canaries.iter().map(move |canary| (one, canary)));
    let killed = canaries.filter(|(_, canary)| canary.signed && verdict(canary) != Verdict::Good);
    let sessions = verifiers.iter().flat_map(|one| one.sessions.iter().map(|it| session(&one.id, it)));
    killed.map(|(one, canary)| line(&one.id, canary)).chain(sessions).collect()
}

/// Lines for those that still accept: for wherever people look first.
pub(crate) fn accepting(verifiers: &[v1::VerifierStanding]) -> Vec<String> {
    let canaries = verifiers.iter().flat_map(|one| one.canaries.iter().map(move |canary| (one, canary)));
    let accepting = canaries.filter(|(_, canary)| verdict(canary) == Verdict::Accepts);
    accepting.map(|(one, canary)| format!("ALARM: {}", line(&one.id, canary))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "that is how messages hold it")]
    fn answer(answer: &str, status: u32) -> Option<v1::ProbeAnswer> {
        let cause = if status == 0 { "no connection" } else { "" };
        Some(v1::ProbeAnswer { answer: answer.into(), status, cause: cause.into(), at: None, after_ms: 312 })
    }

    fn canary(baseline: Option<v1::ProbeAnswer>, since_kill: Option<v1::ProbeAnswer>) -> v1::CanaryStanding {
        let (kid, kill_id) = ("kid".to_owned(), "kill".to_owned());
        v1::CanaryStanding { kid, kill_id, signed: true, baseline, since_kill, ..Default::default() }
    }

    #[test]
    fn a_refusal_is_a_proof_only_where_the_canary_was_accepted_before() {
        let shown = |canary: &v1::CanaryStanding| line("vault", canary);
        let proven = canary(answer("accepted", 200), answer("refused", 401));
        assert_eq!(
            shown(&proven),
            "vault: REFUSES what the killed key signed, 312 ms after the kill (key kid)"
        );
        for baseline in
            [None, answer("refused", 400), answer("indiscriminate", 200), answer("unreachable", 0)]
        {
            let unproven = canary(baseline, answer("refused", 401));
            assert_eq!(verdict(&unproven), Verdict::Unproven);
            assert!(shown(&unproven).contains("that proves nothing"));
        }
        for since in [answer("accepted", 200), answer("indiscriminate", 204)] {
            let accepts = canary(answer("accepted", 200), since);
            let one =
                v1::VerifierStanding { id: "vault".into(), canaries: vec![accepts], ..Default::default() };
            assert_eq!(accepting(&[one]).len(), 1);
        }
        let silent = canary(answer("accepted", 200), answer("unreachable", 0));
        assert!(shown(&silent).starts_with("vault: UNREACHABLE (no connection)"), "{}", shown(&silent));
        let asking = canary(answer("accepted", 200), None);
        assert_eq!(verdict(&asking), Verdict::Asking);
    }

    #[test]
    fn sessions_that_outlive_a_kill_are_named_with_their_end() {
        let until = Some(prost_types::Timestamp { seconds: 0, nanos: 0 });
        let plain = v1::SessionStanding { kill_id: "kill".into(), requests: 1, until, ..Default::default() };
        let shown =
            |has_hook, hook| session("vault", &v1::SessionStanding { has_hook, hook, ..plain.clone() });
        assert!(shown(false, None).contains("may live until 1970-01-01 00:00:00 UTC; it has no hook"));
        assert!(shown(true, None).contains("is being told"));
        assert!(shown(true, answer("refused", 401)).contains("FAILS (status 401)"));
        assert!(shown(true, answer("accepted", 204)).contains("has taken the kill (status 204)"));
    }
}
