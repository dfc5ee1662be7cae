//! From one state to the next: what an entry means.
//!
//! Invariants: no rule is decided here, only recorded; an entry that cannot follow on the state is an error, and the
//! caller latches, since somebody else has written the log or the code has a fault.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    charter::{Charter, Device},
    decide::RECORD_WITHIN,
    event::{Entry, Event},
    evidence::Evidence,
    grant::Grant,
    id::RequestId,
    proposal::{Proposal, proposal_of},
    request::{Authorization, Life, Outcome, Request},
    state::{Adopted, State},
    statement::request_of,
    time::Timestamp,
    transcript::Transcript,
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
        self.evolve_knowing(entry, None)
    }

    /// The same, where the caller has already parsed the grant of a request that the entry files.
    pub(super) fn evolve_knowing(&mut self, entry: &Entry, grant: Option<Grant>) -> Result<(), Inconsistent> {
        let index = self.size;
        if entry.at < self.last {
            return Err(Inconsistent {
                index,
                why: format!("its time {} is before {}", entry.at, self.last),
            });
        }
        self.apply(&entry.event, grant, entry.at, index)
            .map_err(|why| Inconsistent { index, why: why.to_owned() })?;
        if let Some(charter) = &self.charter {
            self.sightings.note(entry, index, charter);
        }
        self.last = entry.at;
        self.size += 1;
        self.forget(entry.at.seconds());
        Ok(())
    }

    fn apply(
        &mut self,
        event: &Event,
        grant: Option<Grant>,
        at: Timestamp,
        index: u64,
    ) -> Result<(), &'static str> {
        match event {
            Event::AttestationRecorded { statement, intermediate } => {
                let evidence = Evidence { statement: statement.clone(), intermediate: intermediate.clone() };
                self.evidence.insert(evidence.digest(), evidence);
                Ok(())
            }
            Event::CharterProposed { charter } => self.propose(charter, at),
            Event::CharterSigned { charter, signature } => {
                let proposal = self.proposals.get_mut(charter).ok_or("no such charter is proposed")?;
                proposal.signed(signature.clone());
                Ok(())
            }
            Event::CharterRetracted { retraction } => {
                let digest = proposal_of(retraction).map_err(|_| "the statement in it is not valid")?;
                self.end_proposal(&digest)
            }
            Event::CharterLapsed { charter } => self.end_proposal(charter),
            Event::CharterAdopted { charter } => self.adopt(charter, at, index),
            Event::GenesisAnnounced { announcement, charter } => {
                let signer = announcement.signatures.first().map(|signature| signature.header().kid);
                let by = signer.and_then(|kid| Some(self.charter()?.holder(&kid)?.principal.as_person()));
                self.replacement.announce(announcement, charter, by, at)
            }
            Event::GenesisAlarmed { announcement, day } => self.replacement.alarm(announcement, *day, at),
            Event::GenesisCancelled { cancellation } => self.replacement.cancel(cancellation),
            Event::GenesisReplaced { announcement, genesis } => {
                self.proposals.clear();
                self.keep_evidence();
                self.replacement.end(announcement, genesis, at)
            }
            Event::TranscriptRecorded { transcript } => self.record(transcript),
            Event::KillRecorded { kill, epoch } => self.kill(kill, *epoch, at),
            Event::LiftRecorded { lift } => self.lift(lift, at),
            Event::UsesReported { report, .. } => self.report(report, at),
            Event::KillEnforced { enforced } => self.enforced(enforced),
            Event::RequestSuperseded { request_id } => self.close(request_id, Outcome::Superseded, at),
            Event::CheckedIn { .. }
            | Event::DaemonStarted { .. }
            | Event::AttemptsRefused { .. }
            | Event::SnapshotTaken { .. } => Ok(()),
            Event::IssuingKeyDestroyed { kid, .. } => {
                self.destroyed.insert(*kid).then_some(()).ok_or("that key was destroyed before")
            }
            Event::RequestFiled { request } => self.file(request, grant, at),
            Event::ApprovalRecorded { request_id, signature } => {
                self.step(request_id, |request| request.approved(signature.clone()))
            }
            Event::DenialRecorded { request_id, signature } => {
                self.step(request_id, |request| request.denied(signature.clone()))
            }
            Event::RequestDenied { request_id } => self.close(request_id, Outcome::Denied, at),
            Event::RequestWithdrawn { withdrawal } => self.close(&about(withdrawal)?, Outcome::Withdrawn, at),
            Event::RequestLapsed { request_id } => self.close(request_id, Outcome::Lapsed, at),
            Event::IssuanceAuthorized { request_id, approvals, iat, exp, kid, claims, instance, status } => {
                let authorization = Authorization {
                    approvals: self.chosen(request_id, approvals)?,
                    iat: *iat,
                    exp: *exp,
                    kid: *kid,
                    claims: *claims,
                    index,
                    instance: instance.clone(),
                    since: at,
                    status: *status,
                };
                self.fits(request_id, &authorization)?;
                if let Some(idx) = status {
                    let taken = self.places.take(*idx, *request_id, *exp);
                    taken.ok_or("its place in the status list is another token's")?;
                }
                self.step(request_id, |request| request.authorized(authorization))
            }
            Event::IssuanceMoved { request_id, kid } => self.step(request_id, |request| request.moved(*kid)),
            Event::IssuanceTakenOver { request_id, instance } => {
                self.step(request_id, |request| request.taken_over(instance.clone(), at))
            }
            Event::TokenIssued { request_id, jwt, jwe } => {
                self.step(request_id, |request| request.issued(*jwt, jwe.clone()))?;
                self.cool_down(request_id);
                self.open_review(request_id);
                Ok(())
            }
            Event::TokenReleased { redemption } => {
                let digest = Digest::of(&redemption.payload);
                self.step(&about(redemption)?, |request| request.released(digest))
            }
            Event::TokenRevoked { request_id, .. } => self.close(request_id, Outcome::Revoked, at),
            Event::TokenExpired { request_id } => self.close(request_id, Outcome::Expired, at),
            Event::ReviewRecorded { review } => self.reviewed(review),
            Event::CanaryAuthorized { verifier, kid, iat, exp, claims } => {
                self.canary_authorized((verifier, kid), (*iat, *exp), *claims, index)
            }
            Event::CanaryIssued { verifier, kid, jwe, .. } => self.canary_issued((verifier, kid), jwe),
            Event::VerifierProbed { .. } | Event::HookAnswered { .. } => self.answered(event, at),
            Event::IssuanceFailed { request_id, reason } => {
                self.close(request_id, Outcome::Failed(*reason), at)
            }
        }
    }

    /// Verifies the new version, whoever wrote the entry: rules are the one thing that no log is believed in.
    fn adopt(&mut self, statement: &GeneralJws, at: Timestamp, index: u64) -> Result<(), &'static str> {
        let digest = Digest::of(&statement.payload);
        let adopted = match &self.charter {
            None => Charter::genesis(statement.clone(), digest),
            Some(charter) => charter.successor(statement.clone(), at.seconds()),
        };
        let mut charter =
            adopted.map_err(|_| "the charter in it does not follow, or not enough have signed it")?;
        charter.keep_earlier(|digest| self.index.is_under(digest));
        self.versions.push(Adopted { index, digest });
        self.proposals.clear();
        if self.kills.has_suspended() {
            Arc::make_mut(&mut self.kills).charter_changed();
        }
        self.canaries.retain(|(kid, verifier), _| {
            let document = charter.document();
            document.verifiers.iter().any(|one| one.id == *verifier)
                && document.issuing_keys.iter().any(|key| key.key.thumbprint() == *kid)
        });
        self.forget_probes();
        // Whoever can put a version in force is a quorum, and nothing has to begin anew.
        self.replacement.forget();
        self.reviews.charter_changed(&charter);
        self.charter = Some(Arc::new(charter));
        self.keep_evidence();
        Ok(())
    }

    fn propose(&mut self, statement: &GeneralJws, at: Timestamp) -> Result<(), &'static str> {
        let charter = self.charter().ok_or("no charter is in force")?;
        let proposal =
            Proposal::recorded(charter, statement.clone(), at).ok_or("the charter in it may not follow")?;
        if self.proposals.insert(proposal.rules().digest(), proposal).is_some() {
            return Err("the charter in it is proposed already");
        }
        Ok(())
    }

    fn record(&mut self, statement: &GeneralJws) -> Result<(), &'static str> {
        let transcript =
            Transcript::parse(&statement.payload).map_err(|_| "the transcript in it is not valid")?;
        let until = transcript.ended.saturating_add(RECORD_WITHIN);
        match self.transcripts.insert(Digest::of(&statement.payload), until) {
            None => Ok(()),
            Some(_) => Err("the transcript in it was recorded before"),
        }
    }

    fn end_proposal(&mut self, digest: &Digest) -> Result<(), &'static str> {
        self.proposals.remove(digest).ok_or("no such charter is proposed")?;
        self.keep_evidence();
        Ok(())
    }

    /// Drops evidence that neither the charter in force nor a proposal names.
    fn keep_evidence(&mut self) {
        let rules = self.charter.iter().map(|charter| charter.document());
        let rules = rules.chain(self.proposals.values().map(|proposal| proposal.rules().document()));
        let devices = rules.flat_map(|document| &document.persons).flat_map(|person| &person.devices);
        let named: BTreeSet<Digest> = devices.filter_map(Device::attestation).copied().collect();
        self.evidence.retain(|digest, _| named.contains(digest));
    }

    fn file(&mut self, filed: &GeneralJws, grant: Option<Grant>, at: Timestamp) -> Result<(), &'static str> {
        let parsed = grant.map_or_else(|| Grant::parse(&filed.payload), Ok);
        let grant = parsed.map_err(|_| "the grant in it is not valid")?;
        if self.charter.is_none() {
            return Err("no charter is in force");
        }
        let request = Request::file(grant, filed.clone(), at);
        let id = request.id();
        if self.requests.contains_key(&id) || self.closed.contains_key(&id) {
            return Err("the request was filed before");
        }
        if !self.index.file(id, &request) {
            return Err("a live request uses one of its keys");
        }
        self.requests.insert(id, request);
        Ok(())
    }

    /// Replaces a live request by its successor.
    fn step(
        &mut self,
        id: &RequestId,
        transition: impl FnOnce(Request) -> Option<Request>,
    ) -> Result<(), &'static str> {
        let request = self.requests.remove(id).ok_or("there is no such live request")?;
        self.index.leave(*id, &request);
        let next = transition(request).ok_or("the request is in another state")?;
        self.index.enter(*id, &next);
        self.requests.insert(*id, next);
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        id: &RequestId,
        outcome: Outcome,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let request = self.requests.remove(id).ok_or("there is no such live request")?;
        self.index.end(*id, &request);
        let closed = request.closed(outcome, at).ok_or("the request is in another state")?;
        self.index.close(*id, &closed);
        self.closed.insert(*id, closed);
        Ok(())
    }

    /// The recorded approvals by these keys, in this order.
    fn chosen(&self, id: &RequestId, kids: &[Digest]) -> Result<Vec<Signature>, &'static str> {
        let request = self.requests.get(id).ok_or("there is no such live request")?;
        let Life::Pending { approvals, .. } = request.life() else {
            return Err("the request is in another state");
        };
        let find = |kid: &Digest| approvals.iter().find(|signature| signature.header().kid == *kid).cloned();
        kids.iter().map(find).collect::<Option<_>>().ok_or("an approval in it was never recorded")
    }

    /// What an authorization says of its times follows from its entry and its grant; nobody approves it twice.
    fn fits(&self, id: &RequestId, authorization: &Authorization) -> Result<(), &'static str> {
        let grant = self.requests.get(id).map(Request::grant).ok_or("there is no such live request")?;
        let Authorization { iat, exp, approvals, since, .. } = authorization;
        if *iat != since.seconds() || *exp != iat.saturating_add(i64::from(grant.ttl)) {
            return Err("the token's times are not those of the entry and the grant");
        }
        let kids: BTreeSet<Digest> = approvals.iter().map(|approval| approval.header().kid).collect();
        if kids.len() < 2 || kids.len() != approvals.len() {
            return Err("its approvals are fewer than two, or not distinct");
        }
        Ok(())
    }

    /// From an issuance on; one that fails costs the subject nothing.
    fn cool_down(&mut self, id: &RequestId) {
        let Some((grant, Life::Issued { authorization, .. })) =
            self.requests.get(id).map(|request| (request.grant(), request.life()))
        else {
            return;
        };
        let profile = self.charter_named(&grant.charter).and_then(|charter| charter.profile(&grant.profile));
        let Some(cooldown) = profile.map(|profile| profile.cooldown).filter(|seconds| *seconds > 0) else {
            return;
        };
        let until = authorization.iat.saturating_add(i64::from(cooldown));
        let (sub, profile) = (grant.sub.clone(), grant.profile.clone());
        self.index.warm.insert((until, sub.clone(), profile.clone()));
        if let Some(before) = self.cooldowns.insert((sub.clone(), profile.clone()), until)
            && before != until
        {
            self.index.warm.remove(&(before, sub, profile));
        }
    }

    /// Drops what can no longer matter to a decision at or after `now`.
    fn forget(&mut self, now: i64) {
        while self.index.evictions.first().is_some_and(|(until, _)| *until < now) {
            let Some((_, id)) = self.index.evictions.pop_first() else { return };
            self.gates.forget(&id);
            if let Some(closed) = self.closed.remove(&id) {
                self.index.forget(id, &closed);
            }
        }
        self.transcripts.retain(|_, until| *until > now);
        self.forget_sessions(now);
        self.reviews.forget(now);
        let before = self.canaries.len();
        self.canaries.retain(|_, canary| canary.exp > now);
        if self.canaries.len() != before {
            self.forget_probes();
        }
        if self.kills.has_forgettable(now) {
            Arc::make_mut(&mut self.kills).forget(now);
        }
        self.places.forget(now);
        while self.index.warm.first().is_some_and(|(until, ..)| *until <= now) {
            if let Some((_, sub, profile)) = self.index.warm.pop_first() {
                self.cooldowns.remove(&(sub, profile));
            }
        }
    }
}

fn about(statement: &GeneralJws) -> Result<RequestId, &'static str> {
    request_of(statement).map_err(|_| "the statement in it is not valid")
}
