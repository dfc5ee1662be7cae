//! What a daemon verifies again before it serves on a state that it has folded and not decided itself.
//!
//! `evolve` believes the log. Whoever can write the database could put approvals there that nobody gave, and have the
//! daemon sign for him. So what is still to be signed is judged here as a strict verifier judges it, before it is signed.
//! What is issued already needs no second look: nothing more comes of it than what was signed then.

use super::{
    charter::Charter,
    claims::{Claims, LogPosition},
    id::RequestId,
    kill::killed_reason,
    refusal::Refusal,
    request::{Authorization, Life, Request},
    state::State,
    statement::{SignedGrant, SignedVerdict, Verdict},
    strict,
};
use crate::jose::{Digest, Signature};

/// A request in the state that its own signatures do not bear out.
#[derive(Debug, thiserror::Error)]
#[error(
    "request {request} in the log is not what its signatures say ({why}): somebody else wrote it; audit the log"
)]
pub struct Unfounded {
    /// Which request.
    pub request: RequestId,
    /// What is wrong, as a stable reason.
    pub why: &'static str,
}

impl State {
    /// Verifies every signature in requests that are pending or authorized, and each authorization as a whole.
    pub fn recheck(&self) -> Result<(), Unfounded> {
        for request in self.requests() {
            let approvers: Vec<Digest> = request.approvers().collect();
            // Whatever a kill hits was ended when it was recorded, and nothing of it begins while it stands.
            if let Some(target) = self.kills().stopped_by(&request.subject(&approvers), self.last().seconds())
            {
                return Err(Unfounded { request: request.id(), why: killed_reason(target.level()) });
            }
            // Whatever a newer charter does not honour was ended when it came into force.
            let verdict = match (self.charter_named(&request.grant().charter), request.life()) {
                (_, Life::Issued { .. }) => Ok(()),
                (None, _) => Err(Refusal::NoCharter.reason()),
                (Some(charter), Life::Pending { approvals, denials }) => {
                    pending(charter, request, approvals, denials).map_err(|refusal| refusal.reason())
                }
                (Some(charter), Life::Authorized(authorization)) => {
                    authorized(charter, request, authorization)
                }
            };
            verdict.map_err(|why| Unfounded { request: request.id(), why })?;
        }
        Ok(())
    }
}

fn pending(
    charter: &Charter,
    request: &Request,
    approvals: &[Signature],
    denials: &[Signature],
) -> Result<(), Refusal> {
    let signed = SignedGrant::verify(request.with_signatures(&[]), charter)?;
    charter.permits(signed.grant())?;
    let said = |signatures: &[Signature], verdict| {
        signatures.iter().try_for_each(|signature| {
            let signed = SignedVerdict::verify(request.payload(), signature.clone(), charter)?;
            if signed.verdict() == verdict { Ok(()) } else { Err(Refusal::NotAVerdict) }
        })
    };
    said(approvals, Verdict::Approve)?;
    said(denials, Verdict::Deny)
}

fn authorized(
    charter: &Charter,
    request: &Request,
    authorization: &Authorization,
) -> Result<(), &'static str> {
    let grant = request.grant();
    let permit = charter.permits(grant).map_err(super::charter::NotPermitted::reason)?;
    let log = charter.document().log_keys.first().ok_or("LOG_UNKNOWN")?;
    let position = LogPosition { origin: log.origin.clone(), index: authorization.index };
    let approvals = request.with_signatures(&authorization.approvals);
    let claims = Claims::new(grant, &permit, approvals, authorization.iat, position, authorization.status);
    let payload = claims.to_bytes().map_err(|error| error.reason())?;
    strict::judge(charter, &claims, &payload).map_err(|rejection| rejection.reason())?;
    if Digest::of(&payload) != authorization.claims || claims.exp != authorization.exp {
        return Err("CLAIMS_DIFFER");
    }
    charter.accepted_key(&authorization.kid, &grant.profile).map(|_| ()).ok_or("ISSUING_KEY_UNKNOWN")
}
