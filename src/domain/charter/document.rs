//! The members of a charter, as they stand in its signed bytes.
//!
//! Here is only shape; `check` says which documents are charters, `Charter` is a document that passed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::firmware::Firmware;
use super::outside::{KillLevel, Receipts, Review, Verifier};
use super::policy::AttestationPolicy;
use crate::{
    domain::{
        detail::Rule,
        id::{Audience, GroupId, Issuer, Nonce, PersonId, PrincipalId, ProfileId},
        quorum::Formula,
    },
    jose::{Digest, Ed25519PublicKey, IssuingPublicKey, P256PublicKey},
    tlog::Origin,
};

/// The signed rules: who may do what, with which keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// 1 for genesis, then one more each time.
    pub version: u32,
    /// Digest of the charter before it; absent at genesis only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The chain in whose place this first version begins another, since no quorum of it was left. At genesis only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// 128 random bits.
    pub nonce: Nonce,
    /// The issuer of its tokens.
    pub iss: Issuer,
    /// Whether this is for development: scripts may enter PINs, attestation is optional, strict verifiers refuse unless told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub development: bool,
    /// Valid from, Unix seconds.
    pub issued_at: i64,
    /// Valid until, Unix seconds.
    pub expires_at: i64,
    /// One record for each person.
    pub persons: Vec<Person>,
    /// Tools, each with the persons who answer for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Client>,
    /// Named groups of persons, for formulas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<GroupId, BTreeSet<PersonId>>,
    /// The kinds of access that can be asked for.
    pub profiles: Vec<Profile>,
    /// Who may change the charter.
    pub governance: Formula,
    /// Whose sealed devices may put a next version in force when governance cannot: recovery custodians. Absent: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Formula>,
    /// Whether this version is put in force by the recovery formula of the one before it, and not by its governance. Said
    /// here, so that whoever signs or follows it knows, and so that only one formula counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_recovery: bool,
    /// Keys in the HSM that sign tokens.
    pub issuing_keys: Vec<IssuingKey>,
    /// Keys that sign status lists and security events, never tokens; the first one signs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operational_keys: Vec<OperationalKey>,
    /// Keys that sign checkpoints of the audit log.
    pub log_keys: Vec<LogKey>,
    /// The daemons, by the SHA-256 of their TLS public keys.
    pub daemons: Vec<DaemonKey>,
    /// What is demanded of hardware keys.
    pub attestation: AttestationPolicy,
    /// Who accepts tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<Verifier>,
    /// Who may kill besides custodians with their hardware keys, by level.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kill_rights: BTreeMap<KillLevel, BTreeSet<PrincipalId>>,
    /// Which copies outside are demanded before anything is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Receipts>,
}

/// A chain that nobody can continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// Digest of its version 1.
    pub genesis: Digest,
    /// Its last version.
    pub version: u32,
}

/// What a principal may do besides what formulas give it. In the order of the texts, which is that of signed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the log.
    Auditor,
    /// Approves and denies, with a hardware key.
    Custodian,
    /// Keeps a sealed hardware key, for the day when too many custodians are lost. Counts in the recovery formula only.
    Recovery,
    /// Files requests.
    Requester,
}

impl Role {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Custodian => "custodian",
            Self::Recovery => "recovery custodian",
            Self::Requester => "requester",
        }
    }
}

/// From when until when somebody's record counts, Unix seconds; absent sides are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// First second of the term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// First second after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

impl Term {
    /// Whether the term covers this second.
    #[must_use]
    pub fn covers(&self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    fn is_always(&self) -> bool {
        *self == Self::default()
    }
}

/// A natural person, with all roles and keys in one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The id by which formulas, grants and the log name this person.
    pub id: PersonId,
    /// The name to show.
    pub name: String,
    /// What this person may do.
    pub roles: BTreeSet<Role>,
    /// When.
    #[serde(default, skip_serializing_if = "Term::is_always")]
    pub term: Term,
    /// Hardware keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// File keys, for TLS and for the statements of a requester.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<P256PublicKey>,
    /// SHA-256 of client certificates to which a token may be bound (`x5t#S256`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub certificates: BTreeSet<Digest>,
}

/// A tool that files requests or reads the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The id, distinct from all persons'.
    pub id: PrincipalId,
    /// The persons who answer for it; none of them counts towards a quorum on what it files.
    pub owners: BTreeSet<PersonId>,
    /// What it may do; never `custodian`.
    pub roles: BTreeSet<Role>,
    /// For whom it may file, besides itself.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub subjects: BTreeSet<PersonId>,
    /// When.
    #[serde(default, skip_serializing_if = "Term::is_always")]
    pub term: Term,
    /// File keys, for TLS and statements.
    pub keys: Vec<P256PublicKey>,
    /// SHA-256 of client certificates to which a token may be bound (`x5t#S256`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub certificates: BTreeSet<Digest>,
}

/// A custodian's hardware key. `WebAuthn` will be a second kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Device {
    /// A YubiKey's PIV application, slot 9c.
    Piv {
        /// The public key in slot 9c.
        key: P256PublicKey,
        /// The device's serial number: one device belongs to one person.
        serial: u32,
        /// Its firmware.
        firmware: Firmware,
        /// Digest of the attestation evidence, which is recorded beside the charter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attestation: Option<Digest>,
    },
}

impl Device {
    /// The device's public key.
    #[must_use]
    pub fn key(&self) -> &P256PublicKey {
        let Self::Piv { key, .. } = self;
        key
    }

    /// Digest of the evidence for it.
    #[must_use]
    pub fn attestation(&self) -> Option<&Digest> {
        let Self::Piv { attestation, .. } = self;
        attestation.as_ref()
    }

    /// The device's serial number.
    #[must_use]
    pub fn serial(&self) -> u32 {
        let Self::Piv { serial, .. } = self;
        *serial
    }
}

/// Which key a requester signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequesterKey {
    /// An enrolled file key.
    File,
    /// A hardware key.
    Piv,
}

/// One kind of access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// What it is for, in a sentence.
    pub description: String,
    /// Who must approve.
    pub quorum: Formula,
    /// Who must deny to end a request; without it a single denial does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials: Option<Formula>,
    /// The one audience of its tokens.
    pub aud: Audience,
    /// What may be asked for.
    pub authorization_details: Vec<Rule>,
    /// Seconds that a token may live.
    pub max_ttl: u32,
    /// Seconds that a request may wait for approvals.
    pub approval_window: u32,
    /// Seconds after an issuance in which the same subject is refused; enforced by the daemon only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown: u32,
    /// Which kind of key the requester signs with.
    pub requester_key: RequesterKey,
    /// Whether approvals given at a station count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stations: bool,
    /// What has to follow each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Whether its tokens have a place in the status list, where any verifier can look up whether they were killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where a key is in its life (NIST SP 800-57 part 1, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Made and announced, not yet signing.
    PreActive,
    /// Signing.
    Active,
    /// Not signing for now; what it signed is refused meanwhile.
    Suspended,
    /// No longer signing; what it signed is still accepted until it expires.
    Deactivated,
    /// Not to be believed.
    Compromised,
    /// Gone.
    Destroyed,
}

impl KeyState {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }
}

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuingKey {
    /// Its public half with its algorithm; its thumbprint is the `kid`.
    pub key: IssuingPublicKey,
    /// Which profiles it signs for.
    pub profiles: BTreeSet<ProfileId>,
    /// Where it is in its life.
    pub state: KeyState,
}

/// A key that signs what is said *about* tokens: under an issuer of its own, so that nothing it signs passes for a token
/// at a verifier that looks at little else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationalKey {
    /// The issuer of what it signs, which is not that of tokens.
    pub iss: Issuer,
    /// Its public half: ES256.
    pub key: P256PublicKey,
}

/// A key that signs checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKey {
    /// The log's origin line.
    pub origin: Origin,
    /// Its public half.
    pub key: Ed25519PublicKey,
}

/// A daemon, as TLS shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonKey {
    /// A name for people.
    pub id: PrincipalId,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: Digest,
}
