//! The transcript of a ceremony: what was done, when, and who of those present saw it.
//!
//! Invariants: every step was acknowledged by two of those present, and everybody who is named as present has signed the
//! whole with a hardware key; so the charter's own people vouch for it, and the daemon is only its keeper. It holds no
//! secret: facts are public values such as fingerprints.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    charter::Rules,
    exact,
    id::{Issuer, Nonce, PersonId},
    refusal::Refusal,
    statement::verify_signature,
};
use crate::jose::{Digest, GeneralJws, JoseError, Typ, json};

/// A transcript's payload at most, in bytes.
pub const MAX_TRANSCRIPT_BYTES: usize = 24_000;
/// The same with the signatures of everybody present; fits an entry of the log.
pub const MAX_SIGNED_BYTES: usize = 60_000;
/// A name's bytes at most, be it of a step or of a fact.
const MAX_NAME_BYTES: usize = 120;
/// A fact's bytes at most.
const MAX_FACT_BYTES: usize = 512;
/// Steps at most.
const MAX_STEPS: usize = 64;
/// The longest that a ceremony may take, in seconds, interruptions included.
const LONGEST: i64 = 7 * 86_400;

/// Which ceremony it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ceremony {
    /// The first charter, and the keys it lists.
    Genesis,
    /// A scheduled change of an issuing key.
    RotateKey,
    /// A compromised issuing key, replaced at once.
    Panic,
    /// A new custodian.
    EnrolCustodian,
    /// A custodian's new device for a lost one.
    ReplaceDevice,
    /// Custodians or a quorum lost.
    Recover,
}

impl Ceremony {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Genesis,
        Self::RotateKey,
        Self::Panic,
        Self::EnrolCustodian,
        Self::ReplaceDevice,
        Self::Recover,
    ];

    /// Its name in statements, scripts and on paper.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::RotateKey => "rotate-key",
            Self::Panic => "panic",
            Self::EnrolCustodian => "enrol-custodian",
            Self::ReplaceDevice => "replace-device",
            Self::Recover => "recover",
        }
    }
}

/// What the people present sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force when it ended: the new one, where the ceremony made one.
    pub charter: Digest,
    /// Which ceremony.
    pub ceremony: Ceremony,
    /// 128 random bits.
    pub nonce: Nonce,
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// Unix seconds.
    pub began: i64,
    /// Unix seconds.
    pub ended: i64,
    /// Persons of the charter who were present; each signs.
    pub present: BTreeSet<PersonId>,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// Unix seconds.
    pub began: i64,
    /// Unix seconds.
    pub ended: i64,
    /// Who saw it and said so: two persons or more.
    pub acknowledged_by: BTreeSet<PersonId>,
    /// Public values that came up: digests, serial numbers, words read aloud.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// Bytes that are no transcript.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Not strict JSON of the right shape.
    #[error("the transcript is not a strict JSON statement")]
    Json(#[from] JoseError),
    /// It contradicts itself, or says too little.
    #[error("the transcript is refused: {0}")]
    Content(String),
}

impl Transcript {
    /// Parses the exact bytes that were signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let transcript: Self = exact::parse(bytes, MAX_TRANSCRIPT_BYTES)?;
        transcript.check().map_err(TranscriptError::Content)?;
        Ok(transcript)
    }

    /// The bytes to sign: JCS of something that [`Self::parse`] accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TranscriptError> {
        self.check().map_err(TranscriptError::Content)?;
        let bytes = json::canonical(self)?;
        Self::parse(&bytes)?;
        Ok(bytes)
    }

    fn check(&self) -> Result<(), String> {
        if self.present.len() < 2 {
            return Err("fewer than two persons were present".into());
        }
        if self.began < 0 || self.ended < self.began || self.ended - self.began > LONGEST {
            return Err("it ends before it begins, or took more than seven days".into());
        }
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Err(format!("it has 1 to {MAX_STEPS} steps"));
        }
        let mut before = self.began;
        for step in &self.steps {
            self.check_step(step, before)?;
            before = step.ended;
        }
        if before > self.ended { Err("a step ends after the ceremony".into()) } else { Ok(()) }
    }

    fn check_step(&self, step: &Step, before: i64) -> Result<(), String> {
        let refuse = |why: &str| Err(format!("step {:?}: {why}", step.name));
        if step.name.trim().is_empty() || step.name.len() > MAX_NAME_BYTES {
            return refuse("a name has 1 to 120 bytes");
        }
        if step.began < before || step.ended < step.began {
            return refuse("it begins before the step before it has ended, or ends before it begins");
        }
        if step.acknowledged_by.len() < 2 || !step.acknowledged_by.is_subset(&self.present) {
            return refuse("two or more of those present acknowledge each step");
        }
        let fits = |(name, fact): (&String, &String)| {
            (1..=MAX_NAME_BYTES).contains(&name.len()) && fact.len() <= MAX_FACT_BYTES
        };
        if step.facts.iter().all(fits) { Ok(()) } else { refuse("a fact is too long") }
    }
}

/// A transcript under the signatures of everybody who was present.
#[derive(Debug, Clone)]
pub struct SignedTranscript {
    jws: GeneralJws,
    transcript: Transcript,
}

impl SignedTranscript {
    /// Verifies every signature with a hardware key that the charter has, and that nobody is missing.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<Self, Refusal> {
        let (actual, limit) = (jws.to_json().len(), MAX_SIGNED_BYTES);
        if actual > limit {
            return Err(Refusal::Statement(JoseError::TooLong { limit, actual }));
        }
        let transcript = Transcript::parse(&jws.payload)?;
        let mut signed = BTreeSet::new();
        for signature in &jws.signatures {
            verify_signature(signature, &jws.payload, rules, Typ::Transcript)?;
            let header = signature.header();
            let person = rules.holder(&header.kid).and_then(|holder| holder.keeper(header.iat));
            let person = person.ok_or(Refusal::NotACustodian)?;
            if header.station.is_some() {
                return Err(Refusal::StationForbidden);
            }
            if !transcript.present.contains(&person) {
                return Err(Refusal::NotPresent(person.to_string()));
            }
            if !signed.insert(person.clone()) {
                return Err(Refusal::AlreadySigned(person.to_string()));
            }
        }
        if signed == transcript.present {
            return Ok(Self { jws, transcript });
        }
        let missing: Vec<String> = transcript.present.difference(&signed).map(ToString::to_string).collect();
        Err(Refusal::SignaturesMissing(missing.join(", ")))
    }

    /// What was signed.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The signed object.
    #[must_use]
    pub fn jws(&self) -> &GeneralJws {
        &self.jws
    }

    /// The newest time of signing, Unix seconds.
    #[must_use]
    pub fn signed_at(&self) -> i64 {
        self.jws.signatures.iter().map(|signature| signature.header().iat).max().unwrap_or(0)
    }
}
