//! Sessions of a verifier's own that outlive what was killed: until when, and whether its revocation hook was told.
//!
//! Invariants: every verifier with a hook or with sessions is listed for each kill, unless the kill certainly does not concern
//! it; the hook is told until it answers with a 2xx, or until no session could be alive. What it then did is its word.

use serde::{Deserialize, Serialize};

use super::{
    charter::{Document, Verifier},
    id::{KillId, PrincipalId, ProfileId, RequestId},
    kill::Target,
    probe::{Answer, Probed},
    request::Life,
    state::State,
    time::Timestamp,
};

/// Request ids that are kept for one kill and verifier: of more, the hook has to go by the kill itself.
pub const MOST_REQUESTS: usize = 256;
/// Kills of single tokens for which hooks wait, at most; wider kills are always listed.
const MOST_SINGLE: usize = 4_096;

/// Sessions that one verifier may still have after one kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// The kill.
    pub kill: KillId,
    /// Whose sessions.
    pub verifier: PrincipalId,
    /// Tokens that were alive when they were killed, and may have begun sessions there.
    pub requests: Vec<RequestId>,
    /// Unix seconds after which no session can be left that began before the kill.
    pub until: i64,
    /// What its hook answered last: anything but acceptance means that it is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Probed>,
}

impl Sessions {
    /// Whether the hook has taken it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.hook.is_some_and(|hook| matches!(hook.answer, Answer::Accepted { .. }))
    }
}

impl State {
    /// Sessions that may outlive kills, by kill and verifier.
    pub fn sessions(&self) -> impl Iterator<Item = &Sessions> {
        self.sessions.values()
    }

    /// Those of one verifier after one kill.
    #[must_use]
    pub fn sessions_of(&self, verifier: &PrincipalId, kill: &KillId) -> Option<&Sessions> {
        self.sessions.get(&(*kill, verifier.clone()))
    }

    /// Lists the verifiers that a kill concerns; to be called before what it hits has ended.
    pub(super) fn outlived_by_sessions(&mut self, kill: KillId, target: &Target, at: Timestamp) {
        let Some(charter) = self.shared_charter() else { return };
        if target.request().is_some() && self.sessions.len() >= MOST_SINGLE {
            return;
        }
        let hit = self.hit_by(target);
        let document = charter.document();
        let outlives = |one: &&Verifier| one.longest_session > 0 || one.revocation_hook.is_some();
        for verifier in document.verifiers.iter().filter(outlives) {
            let begun = |id: &&RequestId| {
                self.request(id).is_some_and(|request| {
                    request.grant().aud == verifier.aud && matches!(request.life(), Life::Issued { .. })
                })
            };
            let requests: Vec<RequestId> = hit.iter().filter(begun).take(MOST_REQUESTS).copied().collect();
            let is_live = target.request().is_some_and(|id| self.request(id).is_some());
            if !concerns(document, verifier, target) || (is_live && requests.is_empty()) {
                continue;
            }
            let served = document.profiles.iter().filter(|profile| profile.aud == verifier.aud);
            let ttl = served.map(|profile| profile.max_ttl).max().unwrap_or(0);
            let until = at.seconds().saturating_add(i64::from(ttl) + i64::from(verifier.longest_session));
            let id = verifier.id.clone();
            let sessions = Sessions { kill, verifier: id.clone(), requests, until, hook: None };
            self.sessions.insert((kill, id), sessions);
        }
    }

    pub(super) fn hook_answered(
        &mut self,
        verifier: &PrincipalId,
        kill: KillId,
        probed: Probed,
    ) -> Result<(), &'static str> {
        let sessions = self.sessions.get_mut(&(kill, verifier.clone()));
        sessions.ok_or("no sessions of that verifier outlive that kill")?.hook = Some(probed);
        Ok(())
    }

    /// Drops what is over, Unix seconds.
    pub(super) fn forget_sessions(&mut self, now: i64) {
        self.sessions.retain(|_, sessions| sessions.until > now);
    }
}

/// Whether the kill may have hit tokens for this verifier.
fn concerns(document: &Document, verifier: &Verifier, target: &Target) -> bool {
    let serves = |id: &ProfileId| {
        let mut profiles = document.profiles.iter();
        profiles.any(|profile| profile.id == *id && profile.aud == verifier.aud)
    };
    match target {
        Target::Profile(id) => serves(id),
        Target::Key(kid) => {
            let mut keys = document.issuing_keys.iter();
            keys.find(|key| key.key.thumbprint() == *kid).is_none_or(|key| key.profiles.iter().any(serves))
        }
        Target::All | Target::Requester(_) | Target::Jti(_) | Target::Request(_) => true,
    }
}
