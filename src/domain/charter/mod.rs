//! The charter: the signed rules of who may do what, with which keys.
//!
//! Invariants: `Rules` were checked as a whole (`check`, `availability`); a `Charter` is rules whose signatures were
//! verified as well: version 1 against a pinned digest (`signatures`), each later one against the version before it
//! (`succession`). Neither can be had otherwise, so whoever holds one need not ask again. The one exception is what a
//! snapshot holds (`stored`), which the engine verifies from the log before it serves.

mod availability;
mod chain;
mod check;
mod difference;
mod document;
mod error;
mod firmware;
mod forecast;
mod holders;
mod honours;
mod lineage;
mod outside;
mod permits;
mod policy;
mod recovery;
mod signatures;
mod stored;
mod succession;

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

pub use chain::{Follower, Memory, Seen, Versions, verify_chain};
pub(crate) use check::MAX_TOKEN_BYTES;
pub use difference::{Change, difference};
pub use document::{
    Client, DaemonKey, Device, Document, IssuingKey, KeyState, LogKey, OperationalKey, Person, Profile,
    Replaced, RequesterKey, Role, Term,
};
pub use error::CharterError;
pub use firmware::Firmware;
pub use forecast::Outlook;
pub use holders::{Holder, KeyKind};
pub use honours::{Basis, TakenAway};
pub use lineage::Lineage;
pub use outside::{KillLevel, Probe, Receipts, Review, Sink, Verifier, Witness};
pub use permits::{NotPermitted, Permit};
pub use policy::{Advisory, AdvisoryId, AttestationPolicy};
pub(in crate::domain) use stored::StoredCharter;
pub use succession::{SIGNING_WINDOW, Tally};

use super::{
    exact,
    id::{PersonId, ProfileId},
    quorum::Quorum,
};
use crate::jose::{Digest, GeneralJws, JoseError};

/// A charter's JWS at most, in bytes: with its envelope it has to fit one log entry.
pub const MAX_CHARTER_BYTES: usize = 60_000;

/// A document that passed every check but that of its signatures.
#[derive(Debug, Clone)]
pub struct Rules {
    document: Document,
    digest: Digest,
    holders: BTreeMap<Digest, Holder>,
    quorums: BTreeMap<ProfileId, ProfileQuorums>,
    governance: Quorum,
    recovery: Option<Quorum>,
}

/// The formulas of a profile, resolved.
#[derive(Debug, Clone)]
pub struct ProfileQuorums {
    /// Who must approve.
    pub approve: Quorum,
    /// Who must deny; a single denial suffices where there is none.
    pub deny: Option<Quorum>,
    /// Who must review each use, where that is demanded.
    pub review: Option<Quorum>,
}

impl Rules {
    /// Parses and checks a charter's payload.
    pub fn parse(payload: &[u8]) -> Result<Self, CharterError> {
        let document: Document = exact::parse(payload, MAX_CHARTER_BYTES)?;
        check::check(document, Digest::of(payload))
    }

    /// The members as they were signed.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// SHA-256 of the payload: the charter's name in every statement.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The person with this id.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.document.persons.iter().find(|person| person.id == *id)
    }

    /// The profile with this id.
    #[must_use]
    pub fn profile(&self, id: &ProfileId) -> Option<&Profile> {
        self.document.profiles.iter().find(|profile| profile.id == *id)
    }

    /// The resolved formulas of a profile.
    #[must_use]
    pub fn quorums(&self, id: &ProfileId) -> Option<&ProfileQuorums> {
        self.quorums.get(id)
    }

    /// The formula by which the charter itself is changed.
    #[must_use]
    pub fn governance(&self) -> &Quorum {
        &self.governance
    }

    /// The formula by which the recovery custodians change who the custodians are, if there are any.
    #[must_use]
    pub fn recovery(&self) -> Option<&Quorum> {
        self.recovery.as_ref()
    }

    /// Whether statements under this charter still count.
    #[must_use]
    pub fn is_in_force(&self, at: i64) -> bool {
        self.document.issued_at - super::time::SKEW <= at && at < self.document.expires_at
    }

    /// The key that signs tokens of this profile now: the first active one.
    #[must_use]
    pub fn issuing_key(&self, profile: &ProfileId) -> Option<&IssuingKey> {
        let mut keys = self.document.issuing_keys.iter();
        keys.find(|key| key.state == KeyState::Active && key.profiles.contains(profile))
    }

    /// Bytes of the longest signature that a token of this profile may get; 0 if no key signs for it.
    #[must_use]
    pub fn longest_signature(&self, profile: &ProfileId) -> usize {
        let signing = self.document.issuing_keys.iter();
        let signing = signing.filter(|key| key.state == KeyState::Active && key.profiles.contains(profile));
        signing.map(|key| key.key.signature_bytes()).max().unwrap_or_default()
    }

    /// A key whose tokens of this profile verifiers may accept.
    #[must_use]
    pub fn accepted_key(&self, kid: &Digest, profile: &ProfileId) -> Option<&IssuingKey> {
        let mut keys = self.document.issuing_keys.iter();
        keys.find(|key| {
            matches!(key.state, KeyState::Active | KeyState::Deactivated)
                && key.key.thumbprint() == *kid
                && key.profiles.contains(profile)
        })
    }
}

/// Rules with the signatures that put them in force.
#[derive(Debug, Clone)]
pub struct Charter {
    rules: Rules,
    statement: GeneralJws,
    lineage: Lineage,
    effective_from: i64,
    /// Versions before this one under which something may still live: oldest first, without gaps.
    earlier: Vec<Arc<Charter>>,
}

impl Charter {
    /// Accepts version 1, whose digest was pinned beforehand (read aloud at genesis).
    pub fn genesis(statement: GeneralJws, pinned: Digest) -> Result<Self, CharterError> {
        let actual = statement.to_json().len();
        if actual > MAX_CHARTER_BYTES {
            return Err(JoseError::TooLong { limit: MAX_CHARTER_BYTES, actual }.into());
        }
        let rules = Rules::parse(&statement.payload)?;
        if rules.digest != pinned {
            return Err(CharterError::NotPinned { expected: pinned, found: rules.digest });
        }
        signatures::verify_genesis(&rules, &statement)?;
        let lineage = Lineage::of(&rules);
        let effective_from = rules.document.issued_at;
        Ok(Self { rules, statement, lineage, effective_from, earlier: Vec::new() })
    }

    /// The signed object, as it is stored and served.
    #[must_use]
    pub fn statement(&self) -> &GeneralJws {
        &self.statement
    }
}

impl Deref for Charter {
    type Target = Rules;
    fn deref(&self) -> &Rules {
        &self.rules
    }
}

impl PartialEq for Charter {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Charter {}
