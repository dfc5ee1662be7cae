//! Says under the gate's key which kills it enforces.
//!
//! Invariants: nothing is acknowledged before every decision that begins from then on obeys it; on each new stream the newest kills
//! are acknowledged once more, since a daemon remembers gates only while it runs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Gate, clock::Moment};
use crate::{
    client::{Channel, ClientError},
    domain::{
        gate::{Ack, MAX_ACKED},
        kill::{Kills, Recorded},
    },
    grpc::v1,
    jose::{Digest, GeneralJws, JoseError, Typ, json},
};

/// How long a daemon may take to take an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kills that wait to be acknowledged; of more at once the newest are.
const MAX_FRESH: usize = 1_024;

/// What waits to be acknowledged to one daemon.
#[derive(Default)]
pub(super) struct Fresh {
    kills: Vec<Digest>,
    /// Whether the daemon has to be told what it may have forgotten.
    greet: bool,
}

impl Fresh {
    /// A new stream.
    pub(super) fn greet(&mut self) {
        *self = Self { kills: Vec::new(), greet: true };
    }

    pub(super) fn add(&mut self, kill: Digest) {
        if self.kills.len() == MAX_FRESH {
            self.kills.remove(0);
        }
        self.kills.push(kill);
    }

    /// What to acknowledge now, that view being in force; none where there is nothing.
    pub(super) fn take(&mut self, kills: &Kills) -> Option<BTreeSet<Digest>> {
        let rest = self.kills.len().saturating_sub(MAX_ACKED);
        let mut named: BTreeSet<Digest> = self.kills.split_off(rest).into_iter().collect();
        if std::mem::take(&mut self.greet) {
            // Those of more than one token first: they stay.
            let mut standing: Vec<&Recorded> = kills.standing().collect();
            standing.sort_by_key(|recorded| {
                (recorded.kill.target.request().is_some(), std::cmp::Reverse(recorded.epoch))
            });
            for recorded in standing {
                if named.len() == MAX_ACKED {
                    break;
                }
                named.insert(Digest::of(&recorded.statement.payload));
            }
            return Some(named);
        }
        (!named.is_empty()).then_some(named)
    }
}

impl Gate {
    /// The signed acknowledgement of these kills, by a view that has followed up to this.
    pub(super) fn acknowledge(
        &self,
        named: BTreeSet<Digest>,
        kills: &Kills,
    ) -> Result<GeneralJws, JoseError> {
        let charter = self.view.known().charter;
        let ack = Ack {
            iss: charter.document().iss.clone(),
            charter: charter.digest(),
            gate: self.config.name.clone(),
            kills: named,
            epoch: kills.epoch(),
            head: kills.head(),
        };
        self.signer.sign(Typ::Ack, json::canonical(&ack)?, Moment::now().seconds())
    }

    /// Sends an acknowledgement, beside whatever else is done on the connection.
    pub(super) fn send_ack(self: &Arc<Self>, channel: Channel, jws: &GeneralJws) {
        let (gate, jws) = (Arc::clone(self), jws.to_json());
        tokio::spawn(async move {
            let mut client = channel.gate();
            let sent = client.acknowledge_kills(v1::AcknowledgeKillsRequest { jws });
            match tokio::time::timeout(PATIENCE, sent).await {
                Ok(Ok(_)) => gate.metrics.acknowledged(),
                Ok(Err(status)) => {
                    let error = ClientError::from(status);
                    tracing::warn!(reason = error.reason, %error, "a daemon does not take an acknowledgement");
                }
                Err(_) => tracing::warn!("a daemon was too slow to take an acknowledgement"),
            }
        });
    }
}
