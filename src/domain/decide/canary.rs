//! Canaries: authorized for pairs that the charter in force wants, recorded when they are signed.

use crate::{
    domain::{
        canary::{self, CanaryClaims},
        claims::LogPosition,
        command::Context,
        event::Event,
        id::PrincipalId,
        kill::KillRefusal,
        refusal::Refusal,
        state::State,
    },
    jose::Digest,
};

pub(super) fn authorize(
    state: &State,
    verifier: &PrincipalId,
    kid: &Digest,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = super::charter_in_force(state, context)?;
    let not_due = || Refusal::CanaryNotDue { verifier: verifier.clone(), kid: *kid };
    let (wanted, _) = canary::pair(charter, verifier, kid).ok_or_else(not_due)?;
    // What is signed with a killed key, or in a lockdown, would only show that it can be.
    if let Some(target) = canary::stopped_by(state, kid, context.now.seconds()) {
        return Err(KillRefusal::killed(&target).into());
    }
    let has = state.canary(verifier, kid);
    if state.is_destroyed(kid) || has.is_some_and(|canary| canary.charter == charter.digest()) {
        return Err(not_due());
    }
    let log = charter.document().log_keys.first().ok_or(Refusal::NoCharter)?;
    let position = LogPosition { origin: log.origin.clone(), index: context.index };
    let claims = CanaryClaims::new(charter, wanted, kid, context.now.seconds(), position);
    Ok(vec![Event::CanaryAuthorized {
        verifier: verifier.clone(),
        kid: *kid,
        iat: claims.iat,
        exp: claims.exp,
        claims: Digest::of(&claims.to_bytes()?),
    }])
}

pub(super) fn issued(
    state: &State,
    verifier: &PrincipalId,
    kid: &Digest,
    jwt: Digest,
    jwe: &str,
) -> Result<Vec<Event>, Refusal> {
    let waits = state.canary(verifier, kid).is_some_and(|canary| canary.jwe.is_none());
    if !waits {
        return Err(Refusal::CanaryNotDue { verifier: verifier.clone(), kid: *kid });
    }
    Ok(vec![Event::CanaryIssued { verifier: verifier.clone(), kid: *kid, jwt, jwe: jwe.to_owned() }])
}
