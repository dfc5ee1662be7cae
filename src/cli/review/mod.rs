//! A request as the custodian's own tool sees it: parsed and verified from the bytes, with the own charter.
//!
//! Invariant: a `Reviewed` request carries its requester's valid signature, is permitted by the charter, and every
//! approval and denial listed in it was verified. Nothing in it was taken on the daemon's word.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::exit::Problem;
use crate::{
    domain::{
        charter::{Charter, KeyKind, Permit, Rules},
        grant::Grant,
        id::{PersonId, RequestId},
        statement::{MAX_STATEMENT_BYTES, SignedGrant, SignedVerdict, Verdict},
        strict::MINT_WITHIN,
    },
    jose::{Digest, GeneralJws},
};

/// One custodian's word on a request.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) person: PersonId,
    pub(crate) verdict: Verdict,
    /// By the custodian's clock, Unix seconds.
    pub(crate) at: i64,
    pub(crate) kid: Digest,
    pub(crate) serial: Option<u32>,
    pub(crate) station: Option<String>,
}

/// The rules that a request was asked under: those in force, or of an earlier version under which it may still live.
pub(crate) fn rules_of<'a>(charter: &'a Charter, jws: &[u8]) -> &'a Rules {
    let named = GeneralJws::parse(jws, MAX_STATEMENT_BYTES)
        .ok()
        .and_then(|jws| Grant::parse(&jws.payload).ok())
        .and_then(|grant| charter.version_named(&grant.charter));
    named.unwrap_or(charter)
}

/// A verified request.
#[derive(Debug, Clone)]
pub(crate) struct Reviewed<'a> {
    pub(crate) id: RequestId,
    pub(crate) signed: SignedGrant,
    pub(crate) permit: Permit<'a>,
    pub(crate) said: Vec<Said>,
}

impl<'a> Reviewed<'a> {
    /// Verifies what the daemon sent for this id.
    pub(crate) fn new(rules: &'a Rules, jws: &[u8], id: &RequestId) -> Result<Self> {
        Self::check(rules, jws, id).map_err(|error| {
            let message = format!("request {id} does not verify under your charter: do not approve it");
            Problem::unverified("REQUEST_UNVERIFIED", message).because(error).into()
        })
    }

    fn check(rules: &'a Rules, jws: &[u8], id: &RequestId) -> Result<Self> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES)?;
        if Grant::id_of(&jws.payload) != *id {
            anyhow::bail!("the daemon answered with another request than the one asked for");
        }
        let Some((request, rest)) = jws.signatures.split_first() else {
            anyhow::bail!("the request is not signed");
        };
        let filed = GeneralJws { payload: jws.payload.clone(), signatures: vec![request.clone()] };
        let signed = SignedGrant::verify(filed, rules)?;
        let permit = rules.permits(signed.grant())?;
        let mut said = Vec::new();
        for signature in rest {
            let verdict = SignedVerdict::verify(&jws.payload, signature.clone(), rules)
                .context("a custodian's signature on the request does not verify")?;
            let header = signature.header();
            let holder = rules.holder(&header.kid);
            let Some(holder) = holder.filter(|holder| holder.custodian(header.iat).is_some()) else {
                anyhow::bail!("one of the signatures is by no custodian in term");
            };
            said.push(Said {
                person: holder.principal.as_person(),
                verdict: verdict.verdict(),
                at: header.iat,
                kid: header.kid,
                serial: match holder.kind {
                    KeyKind::Piv { serial } => Some(serial),
                    KeyKind::File => None,
                },
                station: header.station.clone(),
            });
        }
        Ok(Self { id: *id, signed, permit, said })
    }

    pub(crate) fn grant(&self) -> &Grant {
        self.signed.grant()
    }

    /// The bytes that a verdict is signed over.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.signed.jws().payload
    }

    /// Persons whose approval counts.
    pub(crate) fn approvers(&self) -> BTreeSet<PersonId> {
        let approvals = self.said.iter().filter(|said| said.verdict == Verdict::Approve);
        approvals
            .map(|said| said.person.clone())
            .filter(|person| !self.permit.excluded.contains(person))
            .collect()
    }

    /// Whether the quorum is complete, but its newest approval too old to mint on: then one of it is given again.
    fn is_stale(&self, rules: &Rules, now: i64) -> bool {
        let quorums = rules.quorums(&self.permit.profile.id);
        let complete = quorums.is_some_and(|quorums| quorums.approve.satisfied_by(&self.approvers()));
        complete
            && self.said.iter().map(|said| said.at).max().is_some_and(|newest| now > newest + MINT_WITHIN)
    }

    /// Why this custodian's verdict would not count, said before a PIN is asked for.
    pub(crate) fn eligible(
        &self,
        rules: &Rules,
        person: &PersonId,
        verdict: Verdict,
        station: bool,
        now: i64,
    ) -> Result<(), Problem> {
        let refuse = |reason, why: String| Err(Problem::refused(reason, why));
        if self.grant().expires_at <= now {
            return refuse(
                "DEADLINE_PASSED",
                "the deadline for approvals has passed; a new request is needed".into(),
            );
        }
        if self.said.iter().any(|said| said.person == *person && said.verdict == Verdict::Deny) {
            return refuse("ALREADY_SIGNED", format!("{person} has denied this request already"));
        }
        if verdict == Verdict::Deny {
            return Ok(());
        }
        if self.permit.excluded.contains(person) {
            return refuse(
                "SELF_APPROVAL",
                format!("{person} stands behind this request and cannot approve it; another custodian must"),
            );
        }
        let said_before = self.said.iter().any(|said| said.person == *person);
        if said_before && !self.is_stale(rules, now) {
            let message = format!("{person} has approved this request already; each person counts once");
            return refuse("ALREADY_SIGNED", message);
        }
        let seats = rules.quorums(&self.permit.profile.id).map(|quorums| quorums.approve.persons());
        if !seats.is_some_and(|persons| persons.contains(person)) {
            let profile = &self.permit.profile.id;
            return refuse("NO_SEAT", format!("{person} has no seat in the quorum of profile {profile}"));
        }
        if station && !self.permit.profile.stations {
            return refuse(
                "STATION_FORBIDDEN",
                "this profile does not accept approvals given at a station; approve on your own machine"
                    .into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
