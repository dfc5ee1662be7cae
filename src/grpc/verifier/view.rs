//! What is known of verifiers as messages.

use super::v1;
use crate::domain::hook::Sessions;
use crate::domain::id::PrincipalId;
use crate::domain::probe::{Answer, Probed};
use crate::domain::{State, canary::Canary};
use crate::engine::Engine;
use crate::grpc::time::{instant, seconds};

/// Kills whose sessions are shown, for each verifier: those that wait for the hook first, then the newest.
const MOST_SESSIONS: usize = 50;

pub(super) fn standing(engine: &Engine, id: &PrincipalId) -> v1::VerifierStanding {
    let mut canaries: Vec<v1::CanaryStanding> = engine.read(|state| {
        let own = state.canaries().filter(|canary| canary.verifier == *id);
        own.map(|shown| canary(state, shown)).collect()
    });
    for canary in &mut canaries {
        let asked = canary.kid.parse().ok().and_then(|kid| engine.asked(id, &kid));
        canary.asked = asked.map_or(0, |asked| asked.times);
        if let Some(last) = asked.and_then(|asked| asked.last) {
            last.as_str().clone_into(&mut canary.last_answer);
        }
    }
    let sessions = engine.read(|state| {
        let has_hook = state.charter().is_some_and(|charter| {
            let mut verifiers = charter.document().verifiers.iter();
            verifiers.any(|one| one.id == *id && one.revocation_hook.is_some())
        });
        let own = state.sessions().filter(|sessions| sessions.verifier == *id);
        let mut own: Vec<&Sessions> = own.collect();
        own.sort_by_key(|sessions| (sessions.hook.is_none(), sessions.until));
        let newest = own.into_iter().rev().take(MOST_SESSIONS);
        newest.map(|sessions| session(sessions, has_hook)).collect()
    });
    v1::VerifierStanding { id: id.to_string(), canaries, sessions }
}

fn session(sessions: &Sessions, has_hook: bool) -> v1::SessionStanding {
    v1::SessionStanding {
        kill_id: sessions.kill.to_string(),
        requests: sessions.requests.len().try_into().unwrap_or(u32::MAX),
        until: Some(seconds(sessions.until)),
        has_hook,
        hook: sessions.hook.as_ref().map(|hook| answer(hook, 0)),
    }
}

fn canary(state: &State, canary: &Canary) -> v1::CanaryStanding {
    let known = state.probes(&canary.verifier, &canary.kid);
    let kill = state.killed_by(&canary.kid).map(|kill| kill.kill.id);
    let aftermath = known.and_then(|known| known.aftermath).filter(|last| Some(last.kill) == kill);
    v1::CanaryStanding {
        kid: canary.kid.to_string(),
        signed: canary.jwe.is_some(),
        current: state.charter().is_some_and(|charter| charter.digest() == canary.charter),
        baseline: known.and_then(|known| known.baseline).map(|baseline| answer(&baseline.probed, 0)),
        kill_id: kill.map(|id| id.to_string()).unwrap_or_default(),
        since_kill: aftermath.map(|last| answer(&last.probed, last.after_ms)),
        asked: 0,
        last_answer: String::new(),
    }
}

fn answer(probed: &Probed, after_ms: u64) -> v1::ProbeAnswer {
    let (status, cause) = match probed.answer {
        Answer::Accepted { status } | Answer::Refused { status } | Answer::Indiscriminate { status } => {
            (Some(status), "")
        }
        Answer::Unreachable { status, cause } => (status, cause.as_str()),
    };
    v1::ProbeAnswer {
        answer: probed.answer.as_str().to_owned(),
        status: status.unwrap_or_default().into(),
        cause: cause.to_owned(),
        at: Some(instant(probed.at)),
        after_ms,
    }
}
