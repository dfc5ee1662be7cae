//! A request as the API shows it: the signed bytes as they are, and the daemon's view of them beside.
//!
//! Nothing secret is shown: the encrypted JWT leaves by `Redeem` alone.

use std::collections::BTreeSet;

use super::list::{closed_state, live_state};
use crate::domain::charter::Charter;
use crate::domain::event;
use crate::domain::gate::{RequestUses, UsedAt};
use crate::domain::id::{PersonId, RequestId};
use crate::domain::request::{Authorization, Closed, Life, Outcome, Request};
use crate::engine::Setback;
use crate::grpc::time::{instant, seconds};
use crate::grpc::v1;
use crate::jose::Signature;

/// A live request. `now` is in Unix seconds.
pub(super) fn live(request: &Request, charter: &Charter, now: i64) -> v1::Request {
    let grant = request.grant();
    let mut view = v1::Request {
        request_id: request.id().to_string(),
        jws: request.statement().to_json(),
        filed_at: Some(instant(request.filed_at())),
        deadline: Some(seconds(request.deadline())),
        profile: grant.profile.to_string(),
        subject: grant.sub.to_string(),
        client_id: grant.client_id.to_string(),
        ..v1::Request::default()
    };
    view.set_state(live_state(request.life()));
    match request.life() {
        Life::Pending { approvals, denials } => {
            view.missing = Some(missing(request, approvals, denials, charter, now));
        }
        Life::Authorized(authorization) => view.issuance = Some(issuance(request.id(), authorization, 0)),
        Life::Issued { authorization, releases, .. } => {
            view.issuance = Some(issuance(request.id(), authorization, *releases));
        }
    }
    view
}

/// A request that ended.
pub(super) fn closed(id: RequestId, closed: &Closed) -> v1::Request {
    v1::Request {
        request_id: id.to_string(),
        state: closed_state(closed.outcome).into(),
        ended_at: Some(instant(closed.at)),
        profile: closed.profile.to_string(),
        subject: closed.sub.to_string(),
        client_id: closed.client_id.to_string(),
        failure: match closed.outcome {
            Outcome::Failed(why) => Some(failure(why)),
            Outcome::Killed => Some(v1::Failure {
                reason: "KILLED".to_owned(),
                message: "It was killed; what is killed, by whom and why, says GetKills.".to_owned(),
            }),
            _ => None,
        },
        ..v1::Request::default()
    }
}

/// Adds who used its token.
pub(super) fn used(view: &mut v1::Request, uses: &RequestUses) {
    view.use_count = uses.total;
    let place = |place: &UsedAt| v1::TokenUse {
        verifier: place.verifier.to_string(),
        gate: place.gate.to_string(),
        first: Some(seconds(place.first)),
        last: Some(seconds(place.last)),
        count: place.count,
        what: place.what.iter().cloned().collect(),
    };
    view.uses = uses.places.iter().map(place).collect();
}

fn missing(
    request: &Request,
    approvals: &[Signature],
    denials: &[Signature],
    charter: &Charter,
    now: i64,
) -> v1::Missing {
    let (approved, denied) = (signers(charter, approvals), signers(charter, denials));
    let mut view =
        v1::Missing { approved_by: names(&approved), denied_by: names(&denied), ..v1::Missing::default() };
    let permit = charter.permits(request.grant());
    let (Ok(permit), Some(quorums)) = (permit, charter.quorums(&request.grant().profile)) else {
        return view;
    };
    let mut out: BTreeSet<PersonId> = quorums.approve.persons().clone();
    let able: BTreeSet<PersonId> = charter
        .holders()
        .filter_map(|holder| holder.custodian(now))
        .filter(|person| !permit.excluded.contains(person) && !denied.contains(person))
        .collect();
    let silent = able.iter().filter(|person| out.contains(person) && !approved.contains(person));
    view.may_approve = silent.map(ToString::to_string).collect();
    out.retain(|person| !able.contains(person));
    view.in_words = quorums.approve.missing_without(&approved, &out);
    view
}

fn signers(charter: &Charter, signatures: &[Signature]) -> BTreeSet<PersonId> {
    let holders = signatures.iter().filter_map(|signature| charter.holder(&signature.header().kid));
    holders.flat_map(|holder| holder.persons.iter().cloned()).collect()
}

fn names(persons: &BTreeSet<PersonId>) -> Vec<String> {
    persons.iter().map(ToString::to_string).collect()
}

fn issuance(id: RequestId, authorization: &Authorization, releases: u32) -> v1::Issuance {
    v1::Issuance {
        jti: id.to_string(),
        issued_at: Some(seconds(authorization.iat)),
        expires_at: Some(seconds(authorization.exp)),
        kid: authorization.kid.to_string(),
        log_index: authorization.index,
        releases,
    }
}

/// What holds an authorized request up.
pub(super) fn setback(setback: Setback) -> v1::Failure {
    v1::Failure { reason: setback.reason.to_owned(), message: format!("{setback}.") }
}

fn failure(why: event::Failure) -> v1::Failure {
    let (reason, message) = match why {
        event::Failure::Expired => {
            ("ISSUANCE_EXPIRED", "The signing device did not sign before the token would have expired.")
        }
        event::Failure::SignatureInvalid => (
            "ISSUANCE_SIGNATURE_INVALID",
            "What the signing device made does not verify with the charter's key.",
        ),
        event::Failure::Superseded => (
            "ISSUANCE_SUPERSEDED",
            "A new charter removed a key, a custodian, the requester or the profile that the token rested on.",
        ),
        event::Failure::NoKey => {
            ("ISSUANCE_NO_KEY", "The charter has no active issuing key for this profile any more.")
        }
    };
    v1::Failure { reason: reason.to_owned(), message: message.to_owned() }
}
