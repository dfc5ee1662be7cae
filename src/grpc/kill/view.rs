//! Kills and lifts as messages.

use super::v1;
use crate::domain::kill::{Head, Lifted, Recorded, Step};
use crate::grpc::time::instant;
use crate::jose::{Digest, GeneralJws};
use v1::watch_kills_response::Event;

pub(super) fn kill(recorded: &Recorded) -> v1::Kill {
    let (jws, recorded_at) = (recorded.statement.to_json(), Some(instant(recorded.at)));
    v1::Kill { jws, epoch: recorded.epoch, recorded_at, head: Some(head(recorded.head)) }
}

/// In force, but not in the log.
pub(super) fn unrecorded(statement: &GeneralJws) -> v1::Kill {
    v1::Kill { jws: statement.to_json(), ..v1::Kill::default() }
}

pub(super) fn lift(lifted: &Lifted) -> v1::Lift {
    v1::Lift {
        jws: lifted.statement.to_json(),
        recorded_at: Some(instant(lifted.at)),
        kills: lifted.kills.iter().map(|recorded| kill(recorded)).collect(),
        head: Some(head(lifted.head)),
        epoch: lifted.epoch,
    }
}

pub(super) fn head(head: Head) -> v1::KillHead {
    v1::KillHead { step: head.step, digest: head.digest.as_bytes().to_vec() }
}

/// A head that was sent; none where it is no head.
pub(crate) fn parse_head(head: &v1::KillHead) -> Option<Head> {
    let digest = Digest::from_bytes(head.digest.as_slice().try_into().ok()?);
    Some(Head { step: head.step, digest })
}

pub(super) fn step(step: &Step<'_>) -> Event {
    match step {
        Step::Kill(recorded) => Event::Kill(kill(recorded)),
        Step::Lift(lifted) => Event::Lift(lift(lifted)),
    }
}
