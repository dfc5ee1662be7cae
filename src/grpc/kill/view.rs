//! Kills and lifts as messages.

use super::v1;
use crate::domain::kill::{Lifted, Recorded};
use crate::grpc::time::instant;
use crate::jose::GeneralJws;

pub(super) fn kill(recorded: &Recorded) -> v1::Kill {
    let (jws, recorded_at) = (recorded.statement.to_json(), Some(instant(recorded.at)));
    v1::Kill { jws, epoch: recorded.epoch, recorded_at }
}

/// In force, but not in the log.
pub(super) fn unrecorded(statement: &GeneralJws) -> v1::Kill {
    v1::Kill { jws: statement.to_json(), epoch: 0, recorded_at: None }
}

pub(super) fn lift(lifted: &Lifted) -> v1::Lift {
    let kills = lifted.kills.iter().map(kill).collect();
    v1::Lift { jws: lifted.statement.to_json(), recorded_at: Some(instant(lifted.at)), kills }
}
