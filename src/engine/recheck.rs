//! What a daemon asks of its own log before it goes on with it: does everything that is still live rest on signatures?
//!
//! The fold believes what it reads, for it was decided before it was written; but whoever has the database can write,
//! too, and hashes are no secret. So nothing is counted or signed on the strength of an entry alone: the statements of
//! live requests are verified again at start, and an authorization must have its quorum. What is closed is the
//! auditor's to check (`domain::replay`).

use std::collections::BTreeSet;

use super::EngineError;
use crate::{
    domain::{
        Refusal, State,
        charter::Charter,
        request::{Authorization, Life, Request},
        statement::{SignedGrant, SignedVerdict},
    },
    jose::GeneralJws,
};

/// Refuses a state whose live requests were not made by the people they name. What is issued already cannot do harm
/// any more: verifiers judge it by the same statements.
pub(super) fn live_requests(state: &State) -> Result<(), EngineError> {
    let Some(charter) = state.charter() else { return Ok(()) };
    let refuse = |id, what: &str, why: String| {
        EngineError::Start(format!(
            "{what} {id} {why}; somebody has written into the log: keep the file, and run breakglass audit verify"
        ))
    };
    for request in state.requests() {
        let id = request.id();
        let authorization = match request.life() {
            Life::Pending { .. } => None,
            Life::Authorized(authorization) => Some(authorization),
            Life::Issued { .. } => continue,
        };
        signatures(charter, request).map_err(|error| {
            refuse(id, "a signature in the live request", format!("does not hold: {error}"))
        })?;
        if !authorization.is_none_or(|authorization| has_quorum(charter, request, authorization)) {
            return Err(refuse(id, "the live request", "was authorized without a quorum".into()));
        }
    }
    Ok(())
}

/// The requester's signature, and all that custodians gave.
fn signatures(charter: &Charter, request: &Request) -> Result<(), Refusal> {
    let GeneralJws { payload, mut signatures } = request.statement();
    let verdicts = signatures.split_off(signatures.len().min(1));
    SignedGrant::verify(GeneralJws { payload: payload.clone(), signatures }, charter)?;
    verdicts.into_iter().try_for_each(|verdict| SignedVerdict::verify(&payload, verdict, charter).map(drop))
}

fn has_quorum(charter: &Charter, request: &Request, authorization: &Authorization) -> bool {
    let grant = request.grant();
    let (Ok(permit), Some(quorums)) = (charter.permits(grant), charter.quorums(&grant.profile)) else {
        return false;
    };
    let holders =
        authorization.approvals.iter().filter_map(|approval| charter.holder(&approval.header().kid));
    let persons = holders.filter_map(|holder| holder.custodian(authorization.iat));
    let counted: BTreeSet<_> = persons.filter(|person| !permit.excluded.contains(person)).collect();
    quorums.approve.satisfied_by(&counted)
}
