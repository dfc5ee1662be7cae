//! What is known of verifiers as messages.

use super::v1;
use crate::domain::id::PrincipalId;
use crate::domain::probe::{Answer, Probed};
use crate::domain::{State, canary::Canary};
use crate::engine::Engine;
use crate::grpc::time::instant;

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
    v1::VerifierStanding { id: id.to_string(), canaries }
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
