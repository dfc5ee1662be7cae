//! Somebody kills: one token, one request, a requester, a profile, a key, or everything.
//!
//! Invariants: nothing that a custodian can rightly want to stop is refused for the state that things are in: neither for
//! an expired charter, nor for a lockdown, nor for a charter that his machine has not fetched yet, nor for his clock. The
//! same bytes again are answered and change nothing; what is stopped already can be killed once more, under an id of its
//! own, so that lifting one of the two does not lift both.

use crate::{
    domain::{
        command::Context,
        event::Event,
        kill::{Kill, KillRefusal, SignedKill, Target, UNKNOWN_FOR},
        refusal::Refusal,
        state::State,
    },
    jose::Digest,
};

/// Seconds before and after its signing in which a kill of an unknown request is taken.
const REPEATABLE_FOR: i64 = UNKNOWN_FOR / 2;

pub(super) fn decide(state: &State, signed: &SignedKill, context: &Context) -> Result<Vec<Event>, Refusal> {
    if let Some(known) = state.kills.get(&signed.about().id)
        && known.statement.payload == signed.jws().payload
    {
        return Ok(Vec::new());
    }
    judge(state, signed, context.now.seconds())?;
    Ok(vec![Event::KillRecorded { kill: signed.jws().clone(), epoch: state.kills.epoch() + 1 }])
}

/// Whether this kill may be recorded. `now`: Unix seconds.
pub(in crate::domain) fn judge(state: &State, signed: &SignedKill, now: i64) -> Result<(), Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let kill = signed.about();
    if state.kills.get(&kill.id).is_some() {
        return Err(KillRefusal::IdReused(kill.id).into());
    }
    if state.kills.was_lifted(&kill.id) {
        return Err(KillRefusal::AlreadyLifted(kill.id).into());
    }
    // Any version of this chain will do, for it is the charter in force that says whose key this is.
    let named = state.versions().iter().any(|version| version.digest == kill.charter);
    if !named || kill.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let kid = signed.kid();
    charter.may_kill(&kid, kill.target.level(), now)?;
    if state.kills.is_suspended(&kid) {
        return Err(KillRefusal::Suspended.into());
    }
    exists(state, kill, signed.signed_at(), now)?;
    let by_custodian = charter.holder(&kid).is_some_and(|holder| holder.custodian(now).is_some());
    if state.kills.has_room(&kill.target, by_custodian) { Ok(()) } else { Err(KillRefusal::TooMany.into()) }
}

/// A misspelt target stops nothing, and whoever killed would believe that it did.
fn exists(state: &State, kill: &Kill, signed_at: i64, now: i64) -> Result<(), Refusal> {
    let Some(charter) = state.charter() else { return Err(Refusal::NoCharter) };
    let known = match &kill.target {
        Target::All => true,
        Target::Key(kid) => charter.lineage().knows_key(kid),
        // One without a key of his own is asked for by a tool.
        Target::Requester(id) => {
            charter.lineage().knows_principal(id) || charter.person(&id.as_person()).is_some()
        }
        Target::Profile(id) => {
            charter.profile(id).is_some() || state.requests().any(|request| request.grant().profile == *id)
        }
        // One that this daemon never saw may be on its way, or the work of a thief with the HSM. But the kill is
        // forgotten in the end, and must not be used again then.
        Target::Jti(id) | Target::Request(id) => {
            let seen = state.request(id).is_some() || state.closed(id).is_some();
            if !seen && !is_near(signed_at, now) {
                return Err(KillRefusal::Moot(id.to_string()).into());
            }
            true
        }
    };
    if known {
        return Ok(());
    }
    let (level, name) = (kill.target.level(), kill.target.name().unwrap_or_default());
    Err(KillRefusal::TargetUnknown { level, name }.into())
}

fn is_near(signed_at: i64, now: i64) -> bool {
    signed_at.abs_diff(now) <= REPEATABLE_FOR.unsigned_abs()
}

impl State {
    /// Unix seconds after which nothing that a kill of this target names can be alive, and the kill could not be recorded
    /// again; none where it stays until lifted.
    pub(in crate::domain) fn killed_until(&self, target: &Target, signed_at: i64, now: i64) -> Option<i64> {
        let id = target.request()?;
        let live = self.request(id).map(|request| request.grant().dead_after());
        let known = live.or_else(|| self.closed(id).map(|closed| closed.until));
        let dead = known.unwrap_or_else(|| now.saturating_add(UNKNOWN_FOR)).max(now);
        Some(if is_near(signed_at, now) { dead.max(signed_at + REPEATABLE_FOR) } else { dead })
    }

    /// The live requests that a kill of this target ends.
    #[must_use]
    pub fn hit_by(&self, target: &Target) -> Vec<crate::domain::id::RequestId> {
        if let Some(id) = target.request() {
            return self.request(id).map(|_| *id).into_iter().collect();
        }
        let hit = self.requests().filter(|request| {
            let approvers: Vec<Digest> = request.approvers().collect();
            request.subject(&approvers).is_hit(target)
        });
        hit.map(crate::domain::request::Request::id).collect()
    }
}
