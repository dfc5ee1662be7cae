//! An issuing key was destroyed in the HSM.
//!
//! The quorum that signed the charter has decided it; what is recorded is that it was done, once.

use crate::{
    domain::{event::Event, refusal::Refusal, state::State},
    jose::Digest,
};

pub(super) fn decide(state: &State, kid: Digest, found: bool) -> Result<Vec<Event>, Refusal> {
    if state.keys_to_destroy().any(|key| key == kid) {
        Ok(vec![Event::IssuingKeyDestroyed { kid, found }])
    } else {
        Err(Refusal::KeyNotToDestroy(kid))
    }
}
