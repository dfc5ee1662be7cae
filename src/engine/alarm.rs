//! Events that a person has to hear of at once, whoever caused them: each is a log line of the highest level.
//!
//! What lasts is said again and again (`http::monitor`), and is a number of its own among the metrics.

use crate::{
    domain::{charter::Rules, event::Event, kill::Kill},
    jose::{Digest, GeneralJws},
};

/// Raises the alarm, if the event is one to raise it for.
pub(super) fn notice(event: &Event) {
    match event {
        Event::CharterProposed { charter } if by_recovery(charter) => tracing::error!(
            name: "charter.recovery.proposed",
            "ALARM: recovery custodians are to replace the custodians without the governance of today: see breakglass charter proposals; if nobody is lost, have governance adopt a version now, which ends this one"
        ),
        Event::CharterAdopted { charter } if by_recovery(charter) => tracing::error!(
            name: "charter.recovery.adopted",
            "ALARM: recovery custodians have replaced the custodians without the governance of before: see breakglass charter show"
        ),
        Event::GenesisAnnounced { charter, .. } => tracing::error!(
            name: "genesis.announced",
            genesis = %Digest::of(&charter.payload),
            "ALARM: a new chain is announced in place of this one; it ends this one after seven days, unless any quorum cancels it: see breakglass genesis status"
        ),
        Event::GenesisAlarmed { day, .. } => tracing::error!(
            name: "genesis.alarmed",
            day,
            "ALARM: a new chain is announced in place of this one, and nobody has cancelled it yet: see breakglass genesis status"
        ),
        Event::GenesisCancelled { .. } => {
            tracing::warn!(name: "genesis.cancelled", "a quorum has cancelled the announced new chain: this one goes on");
        }
        Event::GenesisReplaced { genesis, .. } => tracing::error!(
            name: "genesis.replaced",
            %genesis,
            "ALARM: this chain has ended and issues nothing more: run breakglassd init with the new charter in a new state directory"
        ),
        Event::KillRecorded { kill, epoch } => {
            if let Ok(kill) = Kill::parse(&kill.payload) {
                let (level, name) = (kill.target.level().as_str(), kill.target.name());
                tracing::error!(
                    name: "kill.recorded",
                    epoch,
                    level,
                    target_name = name,
                    kill = %kill.id,
                    "ALARM: something was killed: see breakglass kill status"
                );
            }
        }
        Event::LiftRecorded { .. } => {
            tracing::warn!(name: "lift.recorded", "a quorum has lifted kills: see breakglass kill status");
        }
        Event::UsesReported { unknown, ended, .. } => {
            for jti in unknown {
                tracing::error!(name: "use.unknown", %jti, "ALARM: a gate let a token pass that this log never saw: an issuing key may be abused");
            }
            for jti in ended {
                tracing::error!(name: "use.ended", %jti, "ALARM: a gate let a token pass after its end: see breakglass show, and breakglass kill status");
            }
        }
        Event::KillEnforced { enforced } if enforced.standing.enforced < enforced.standing.gates => {
            let (gates, of) = (enforced.standing.enforced, enforced.standing.gates);
            tracing::error!(name: "kill.silent", kill = %enforced.kill, gates, of, "ALARM: not every gate has said that it enforces a kill: see breakglass kill status");
        }
        _ => {}
    }
}

fn by_recovery(charter: &GeneralJws) -> bool {
    Rules::parse(&charter.payload).is_ok_and(|rules| rules.document().by_recovery)
}
