//! Kills as they stand in a snapshot: the statements, and what the log says of each; the rest follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Head, Kill, Kills, Lifted, Recorded, index::Index};
use crate::{
    domain::{id::KillId, time::Timestamp},
    jose::{Digest, GeneralJws, JoseError},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    epoch: u64,
    head: Head,
    standing: Vec<Arc<Recorded>>,
    lifts: Vec<Lifted>,
    dead: BTreeSet<KillId>,
    suspended: BTreeSet<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredKill {
    statement: GeneralJws,
    epoch: u64,
    head: Head,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl From<Recorded> for StoredKill {
    fn from(it: Recorded) -> Self {
        Self { statement: it.statement, epoch: it.epoch, head: it.head, at: it.at, until: it.until }
    }
}

impl TryFrom<StoredKill> for Recorded {
    type Error = JoseError;
    fn try_from(it: StoredKill) -> Result<Self, JoseError> {
        let kill = Kill::parse(&it.statement.payload)?;
        Ok(Self { kill, statement: it.statement, epoch: it.epoch, head: it.head, at: it.at, until: it.until })
    }
}

impl From<Kills> for Stored {
    fn from(kills: Kills) -> Self {
        Self {
            epoch: kills.epoch,
            head: kills.head,
            standing: kills.standing.into_values().collect(),
            lifts: kills.lifts,
            dead: kills.dead,
            suspended: kills.suspended,
        }
    }
}

impl From<Stored> for Kills {
    fn from(stored: Stored) -> Self {
        let standing: BTreeMap<_, _> =
            stored.standing.into_iter().map(|recorded| (recorded.kill.id, recorded)).collect();
        let index = Index::of(&standing, &stored.lifts);
        let (lifts, dead, suspended) = (stored.lifts, stored.dead, stored.suspended);
        Self { epoch: stored.epoch, head: stored.head, standing, lifts, dead, suspended, index }
    }
}
