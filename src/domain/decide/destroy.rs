//! An issuing key was destroyed in the HSM.
//!
//! The quorum that signed the charter has decided it, or whoever killed the key; what is recorded is that it was done, once.
//! A lift may come between the deed and its record: what is gone is gone, and the log has to say so all the same.

use crate::{
    domain::{event::Event, kill::Target, refusal::Refusal, state::State},
    jose::Digest,
};

pub(super) fn decide(state: &State, kid: Digest, found: bool) -> Result<Vec<Event>, Refusal> {
    if state.keys_to_destroy().any(|key| key == kid) || was_condemned(state, &kid) {
        Ok(vec![Event::IssuingKeyDestroyed { kid, found }])
    } else {
        Err(Refusal::KeyNotToDestroy(kid))
    }
}

/// Whether the key was killed until a lift that is not long ago.
fn was_condemned(state: &State, kid: &Digest) -> bool {
    let mut lifted = state.kills.lifts().iter().flat_map(|lifted| &lifted.kills);
    let mut keys = state.charter().into_iter().flat_map(|charter| charter.lineage().issuing_keys());
    !state.is_destroyed(kid)
        && keys.any(|(key, _)| key == *kid)
        && lifted.any(|recorded| recorded.kill.target == Target::Key(*kid))
}
