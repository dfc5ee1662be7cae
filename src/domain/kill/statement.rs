//! The signed statements: a kill under one signature, a lift under those of a quorum.
//!
//! `iat` stands in the header, as in every statement. A kill's is recorded and not judged: at two in the morning a wrong
//! clock must not keep anybody from killing, and its id already keeps it from being used twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{KillRefusal, Target};
use crate::{
    domain::{
        charter::{KeyKind, KillLevel, Rules},
        exact,
        grant::{MAX_GRANT_BYTES, Reason},
        id::{Issuer, KillId, PersonId},
        refusal::Refusal,
        statement::{SignedAbout, verify_signature},
    },
    jose::{Digest, GeneralJws, JoseError, Typ, json},
};

/// Kills that one lift may name.
pub const MAX_LIFTED: usize = 24;
/// Keys that one lift may take the kill right from.
const MAX_SUSPENDED: usize = 24;
/// Seconds in which the signatures of a lift are collected.
pub const LIFT_WITHIN: i64 = 86_400;

/// What a custodian signs to stop something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members", into = "Members")]
pub struct Kill {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of a version of the charter: the newest that the signer knew.
    pub charter: Digest,
    /// Its own id.
    pub id: KillId,
    /// What it stops.
    pub target: Target,
    /// Why, for those who read the log.
    pub reason: Reason,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    iss: Issuer,
    charter: Digest,
    id: KillId,
    level: KillLevel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    reason: Reason,
}

impl TryFrom<Members> for Kill {
    type Error = String;
    fn try_from(members: Members) -> Result<Self, String> {
        let Members { iss, charter, id, level, target, reason } = members;
        Ok(Self { iss, charter, id, target: Target::new(level, target.as_deref())?, reason })
    }
}

impl From<Kill> for Members {
    fn from(kill: Kill) -> Self {
        let Kill { iss, charter, id, target, reason } = kill;
        Self { iss, charter, id, level: target.level(), target: target.name(), reason }
    }
}

impl Kill {
    /// Parses the exact bytes that were signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, JoseError> {
        exact::parse(bytes, MAX_GRANT_BYTES)
    }

    /// The bytes to sign: JCS of something that [`Self::parse`] accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        let bytes = json::canonical(self)?;
        Self::parse(&bytes)?;
        Ok(bytes)
    }
}

/// A kill under its signature.
pub type SignedKill = SignedAbout<Kill>;

/// What a quorum signs to end kills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force.
    pub charter: Digest,
    /// The kills that it ends, and no others.
    pub kills: BTreeSet<KillId>,
    /// The kill epoch: whoever signed knew of every kill before, and a kill after makes the lift void.
    pub epoch: u64,
    /// Keys that lose the right to kill, until the next charter.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub suspend: BTreeSet<Digest>,
}

impl Lift {
    /// Parses the exact bytes that were signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, JoseError> {
        let lift: Self = exact::parse(bytes, MAX_GRANT_BYTES)?;
        if !(1..=MAX_LIFTED).contains(&lift.kills.len()) || lift.suspend.len() > MAX_SUSPENDED {
            return Err(JoseError::JsonShape {
                detail: format!("a lift names 1 to {MAX_LIFTED} kills and at most {MAX_SUSPENDED} keys"),
            });
        }
        Ok(lift)
    }

    /// The bytes to sign: JCS of something that [`Self::parse`] accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        let bytes = json::canonical(self)?;
        Self::parse(&bytes)?;
        Ok(bytes)
    }
}

/// A lift under one signature or more, all of them verified.
#[derive(Debug, Clone)]
pub struct SignedLift {
    jws: GeneralJws,
    lift: Lift,
    /// By key: when it signed.
    signed: BTreeMap<Digest, i64>,
    base: Digest,
}

impl SignedLift {
    /// Verifies every signature: by hardware keys of the charter, each once, none at a station.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<Self, Refusal> {
        let lift = Lift::parse(&jws.payload)?;
        let mut signed = BTreeMap::new();
        for signature in &jws.signatures {
            verify_signature(signature, &jws.payload, rules, Typ::Lift)?;
            let header = signature.header();
            let is_device = |kind| matches!(kind, KeyKind::Piv { .. });
            let holder = rules.holder(&header.kid).filter(|holder| is_device(holder.kind));
            let holder = holder.ok_or(Refusal::NotACustodian)?;
            if header.station.is_some() {
                return Err(KillRefusal::LiftAtStation(holder.principal.to_string()).into());
            }
            if signed.insert(header.kid, header.iat).is_some() {
                return Err(KillRefusal::SignedTwice(holder.principal.to_string()).into());
            }
        }
        Ok(Self { jws, lift, signed, base: rules.digest() })
    }

    /// What was signed.
    #[must_use]
    pub fn lift(&self) -> &Lift {
        &self.lift
    }

    /// The signed object.
    #[must_use]
    pub fn jws(&self) -> &GeneralJws {
        &self.jws
    }

    /// Digest of the version by which it was verified.
    #[must_use]
    pub fn base(&self) -> Digest {
        self.base
    }

    /// The oldest and the newest time of signing, Unix seconds; none without signatures.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        Some((*self.signed.values().min()?, *self.signed.values().max()?))
    }

    /// The custodians who signed while in term, and the recovery custodians.
    #[must_use]
    pub fn persons(&self, rules: &Rules) -> (BTreeSet<PersonId>, BTreeSet<PersonId>) {
        let held = self.signed.iter().filter_map(|(kid, iat)| Some((rules.holder(kid)?, *iat)));
        let (mut custodians, mut recovery) = (BTreeSet::new(), BTreeSet::new());
        for (holder, iat) in held {
            custodians.extend(holder.custodian(iat));
            recovery.extend(holder.recovery(iat));
        }
        (custodians, recovery)
    }
}
