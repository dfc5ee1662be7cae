//! The signed statements: an acknowledgement of kills, and a report of uses.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::GateRefusal;
use crate::{
    domain::{
        charter::Rules,
        exact,
        id::{GateId, Issuer, RequestId},
        kill::Head,
        refusal::Refusal,
        statement::SignedAbout,
    },
    jose::{Digest, GeneralJws, JoseError, Typ},
};

/// Kills that one acknowledgement names at most.
pub const MAX_ACKED: usize = 64;
/// Uses in one report at most.
pub const MAX_USES: usize = 64;
/// Payload of either at most, in bytes.
const MAX_BYTES: usize = 20_000;
/// What was used, in bytes at most.
const MAX_WHAT: usize = 200;

/// What a gate says when it enforces kills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the newest charter that the gate holds.
    pub charter: Digest,
    /// The gate's own name among those that hold its key.
    pub gate: GateId,
    /// SHA-256 of the payloads of the kills that it has come to enforce.
    pub kills: BTreeSet<Digest>,
    /// The kill epoch of its view.
    pub epoch: u64,
    /// The head of the chain that it has followed.
    pub head: Head,
}

/// An acknowledgement under a gate's signature.
pub type SignedAck = SignedAbout<Ack>;

/// What a gate says of the tokens that it let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseReport {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the newest charter that the gate holds.
    pub charter: Digest,
    /// The gate's own name among those that hold its key.
    pub gate: GateId,
    /// Higher with each report of this gate.
    pub seq: u64,
    /// What was used.
    pub uses: Vec<Use>,
}

/// Uses of one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The token.
    pub jti: RequestId,
    /// The first of these uses, Unix seconds by the gate's clock.
    pub from: i64,
    /// The last of them.
    pub until: i64,
    /// How many. None, where it says how a connection that had passed was cut: when it began and ended, and in `what` why.
    pub count: u64,
    /// For what, in words: what the first of them asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// A report of uses under a gate's signature.
pub type SignedUses = SignedAbout<UseReport>;

impl Ack {
    /// Verifies an acknowledgement by a verifier of this charter.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<SignedAck, Refusal> {
        let signed = SignedAck::verify_within(jws, rules, Typ::Ack, MAX_BYTES)?;
        rules.verifier_of(&signed.kid())?;
        let ack: &Self = signed.about();
        if ack.iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        if ack.kills.len() > MAX_ACKED {
            return Err(GateRefusal::Shape("an acknowledgement names 64 kills at most").into());
        }
        Ok(signed)
    }
}

impl UseReport {
    /// Parses the exact bytes that were signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, JoseError> {
        exact::parse(bytes, MAX_BYTES)
    }

    /// Verifies a report by a verifier of this charter.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<SignedUses, Refusal> {
        let signed = SignedUses::verify_within(jws, rules, Typ::Use, MAX_BYTES)?;
        rules.verifier_of(&signed.kid())?;
        let report: &Self = signed.about();
        if report.iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        report.check()?;
        Ok(signed)
    }

    fn check(&self) -> Result<(), GateRefusal> {
        if !(1..=MAX_USES).contains(&self.uses.len()) {
            return Err(GateRefusal::Shape("a report holds 1 to 64 uses"));
        }
        for one in &self.uses {
            if one.from > one.until || one.from < 0 {
                return Err(GateRefusal::Shape("a use ends after it begins"));
            }
            if one.count == 0 && one.what.is_none() {
                return Err(GateRefusal::Shape("a use has a count, or says how it was cut"));
            }
            if one.what.as_ref().is_some_and(|what| what.is_empty() || what.len() > MAX_WHAT) {
                return Err(GateRefusal::Shape("what was used is said in 1 to 200 bytes"));
            }
        }
        Ok(())
    }
}
