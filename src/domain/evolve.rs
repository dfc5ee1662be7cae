//! From one state to the next: what an entry means.
//!
//! Invariants: no rule is decided here, only recorded; an entry that cannot follow on the state is an error, and the
//! caller latches, since somebody else has written the log or the code has a fault.

use super::{
    charter::Charter,
    event::{Entry, Event},
    grant::Grant,
    id::RequestId,
    request::{Authorization, Outcome, Request},
    state::State,
    statement::request_of,
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, Signature};

/// An entry that cannot follow on the state before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} does not follow from the log before it: {why}")]
pub struct Inconsistent {
    /// Index of the entry.
    pub index: u64,
    /// What is wrong.
    pub why: String,
}

impl State {
    /// Folds one entry in. On an error the state is not to be used any more.
    pub fn evolve(&mut self, entry: &Entry) -> Result<(), Inconsistent> {
        let index = self.size;
        if entry.at < self.last {
            return Err(Inconsistent {
                index,
                why: format!("its time {} is before {}", entry.at, self.last),
            });
        }
        self.apply(&entry.event, entry.at, index)
            .map_err(|why| Inconsistent { index, why: why.to_owned() })?;
        self.last = entry.at;
        self.size += 1;
        self.forget(entry.at.seconds());
        Ok(())
    }

    fn apply(&mut self, event: &Event, at: Timestamp, index: u64) -> Result<(), &'static str> {
        match event {
            Event::AttestationRecorded { statement, intermediate } => {
                self.evidence.insert(super::evidence::digest(statement, intermediate));
                Ok(())
            }
            Event::CharterAdopted { charter } => self.adopt(charter),
            Event::DaemonStarted { .. } | Event::AttemptsRefused { .. } | Event::SnapshotTaken { .. } => {
                Ok(())
            }
            Event::RequestFiled { request } => self.file(request, at),
            Event::ApprovalRecorded { request_id, signature } => {
                self.step(request_id, |request| request.approved(signature.clone()))
            }
            Event::DenialRecorded { request_id, signature } => {
                self.step(request_id, |request| request.denied(signature.clone()))
            }
            Event::RequestDenied { request_id } => self.close(request_id, Outcome::Denied, at),
            Event::RequestWithdrawn { withdrawal } => self.close(&about(withdrawal)?, Outcome::Withdrawn, at),
            Event::RequestLapsed { request_id } => self.close(request_id, Outcome::Lapsed, at),
            Event::IssuanceAuthorized { request_id, approvals, iat, exp, kid, claims, instance } => {
                let authorization = Authorization {
                    approvals: self.chosen(request_id, approvals)?,
                    iat: *iat,
                    exp: *exp,
                    kid: *kid,
                    claims: *claims,
                    index,
                    instance: instance.clone(),
                    since: at,
                };
                self.cool_down(request_id, *iat);
                self.step(request_id, |request| request.authorized(authorization))
            }
            Event::IssuanceTakenOver { request_id, instance } => {
                self.step(request_id, |request| request.taken_over(instance.clone(), at))
            }
            Event::TokenIssued { request_id, jwt, jwe } => {
                self.step(request_id, |request| request.issued(*jwt, jwe.clone()))
            }
            Event::TokenReleased { redemption } => self.step(&about(redemption)?, Request::released),
            Event::TokenExpired { request_id } => self.close(request_id, Outcome::Expired, at),
            Event::IssuanceFailed { request_id, reason } => {
                self.close(request_id, Outcome::Failed(*reason), at)
            }
        }
    }

    fn adopt(&mut self, statement: &GeneralJws) -> Result<(), &'static str> {
        let digest = Digest::of(&statement.payload);
        let charter =
            Charter::genesis(statement.clone(), digest).map_err(|_| "the charter in it is not valid")?;
        self.charter = Some(std::sync::Arc::new(charter));
        self.evidence.clear();
        Ok(())
    }

    fn file(&mut self, filed: &GeneralJws, at: Timestamp) -> Result<(), &'static str> {
        let grant = Grant::parse(&filed.payload).map_err(|_| "the grant in it is not valid")?;
        let request = Request::file(grant, filed.clone(), at);
        self.deadlines.insert((request.deadline(), request.id()));
        match self.requests.insert(request.id(), request) {
            None => Ok(()),
            Some(_) => Err("the request exists"),
        }
    }

    /// Replaces a live request by its successor.
    fn step(
        &mut self,
        id: &RequestId,
        transition: impl FnOnce(Request) -> Option<Request>,
    ) -> Result<(), &'static str> {
        let request = self.requests.remove(id).ok_or("there is no such live request")?;
        self.deadlines.remove(&(request.deadline(), *id));
        let next = transition(request).ok_or("the request is in another state")?;
        self.deadlines.insert((next.deadline(), *id));
        self.requests.insert(*id, next);
        Ok(())
    }

    fn close(&mut self, id: &RequestId, outcome: Outcome, at: Timestamp) -> Result<(), &'static str> {
        let request = self.requests.remove(id).ok_or("there is no such live request")?;
        self.deadlines.remove(&(request.deadline(), *id));
        let closed = request.closed(outcome, at).ok_or("the request is in another state")?;
        self.evictions.insert((closed.until, *id));
        self.closed.insert(*id, closed);
        Ok(())
    }

    /// The recorded approvals by these keys, in this order.
    fn chosen(&self, id: &RequestId, kids: &[Digest]) -> Result<Vec<Signature>, &'static str> {
        let request = self.requests.get(id).ok_or("there is no such live request")?;
        let super::request::Life::Pending { approvals, .. } = request.life() else {
            return Err("the request is in another state");
        };
        let find = |kid: &Digest| approvals.iter().find(|signature| signature.header().kid == *kid).cloned();
        kids.iter().map(find).collect::<Option<_>>().ok_or("an approval in it was never recorded")
    }

    fn cool_down(&mut self, id: &RequestId, iat: i64) {
        let Some(grant) = self.requests.get(id).map(Request::grant) else { return };
        let profile = self.charter.as_ref().and_then(|charter| charter.profile(&grant.profile));
        if let Some(cooldown) = profile.map(|profile| profile.cooldown).filter(|seconds| *seconds > 0) {
            let until = iat.saturating_add(i64::from(cooldown));
            self.cooldowns.insert((grant.sub.clone(), grant.profile.clone()), until);
        }
    }

    /// Drops what can no longer matter to a decision at or after `now`.
    fn forget(&mut self, now: i64) {
        while let Some((until, id)) = self.evictions.first().copied().filter(|(until, _)| *until < now) {
            self.evictions.remove(&(until, id));
            self.closed.remove(&id);
        }
        self.cooldowns.retain(|_, until| *until > now);
    }
}

fn about(statement: &GeneralJws) -> Result<RequestId, &'static str> {
    request_of(statement).map_err(|_| "the statement in it is not valid")
}
