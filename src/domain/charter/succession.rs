//! From one version to the next: which documents may follow a charter, and whose signatures put one in force.
//!
//! Version N+1 needs the governance formula of N by keys of N, and that of N+1 by keys of N+1, each by persons whose term
//! covers the second of their signature; and every custodian's device that N+1 names and N did not. A version that says so
//! (`by_recovery`) needs the recovery formula of N instead of its governance, never a mixture. Invariants: keys and
//! persons are sets, so nobody counts twice; a signature that does not belong is refused, never passed over; whether N
//! has expired does not matter, or nothing could follow it.

use std::collections::BTreeSet;

use super::{Charter, CharterError, Holder, KeyKind, MAX_CHARTER_BYTES, Rules, recovery};
use crate::{
    domain::{id::PersonId, quorum::Quorum, time::SKEW},
    jose::{Digest, GeneralJws, JoseError, Signature, Typ},
};

/// Seconds after its `issued_at` in which a charter can be signed: consent does not keep for ever.
pub const SIGNING_WINDOW: i64 = 7 * 86_400;

/// Who has signed a successor so far, every signature verified.
#[derive(Debug, Clone)]
pub struct Tally {
    /// In the order of their times.
    signed: Vec<Signed>,
    missing_devices: Vec<(PersonId, u32)>,
    missing_old: String,
    missing_new: String,
    complete_at: Option<i64>,
    by_recovery: bool,
}

#[derive(Debug, Clone)]
struct Signed {
    kid: Digest,
    iat: i64,
    /// Whom it counts for under the version in force, and under the one proposed.
    old: Option<PersonId>,
    new: Option<PersonId>,
}

impl Tally {
    /// Custodians' devices that have to sign because no version before named them, and have not.
    #[must_use]
    pub fn missing_devices(&self) -> &[(PersonId, u32)] {
        &self.missing_devices
    }

    /// Who is still needed for the formula of the version in force, governance or recovery; empty if nobody.
    #[must_use]
    pub fn missing_old(&self) -> &str {
        &self.missing_old
    }

    /// Who is still needed for the governance formula of the version proposed; empty if nobody.
    #[must_use]
    pub fn missing_new(&self) -> &str {
        &self.missing_new
    }

    /// When the signatures sufficed, Unix seconds; none if they do not yet.
    #[must_use]
    pub const fn complete_at(&self) -> Option<i64> {
        self.complete_at
    }

    /// The time of the newest signature, Unix seconds.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.signed.last().map(|one| one.iat)
    }

    /// The keys that have signed.
    pub fn kids(&self) -> impl Iterator<Item = &Digest> {
        self.signed.iter().map(|signed| &signed.kid)
    }

    /// What is missing, in words; empty if nothing.
    #[must_use]
    pub fn missing(&self) -> String {
        let mut parts = Vec::new();
        if !self.missing_old.is_empty() {
            let whose =
                if self.by_recovery { "by the recovery custodians" } else { "by the version in force" };
            parts.push(format!("{whose}: {}", self.missing_old));
        }
        if !self.missing_new.is_empty() {
            parts.push(format!("by the new version: {}", self.missing_new));
        }
        if !self.missing_devices.is_empty() {
            let devices: Vec<String> = self
                .missing_devices
                .iter()
                .map(|(person, serial)| format!("{person} with device {serial}"))
                .collect();
            parts.push(format!("new devices: {}", devices.join(", ")));
        }
        parts.join("; ")
    }
}

impl Charter {
    /// The next version, in force once signed. `at` is the time by which it was signed: that of the log entry, or the
    /// verifier's now (Unix seconds).
    pub fn successor(&self, statement: GeneralJws, at: i64) -> Result<Self, CharterError> {
        let actual = statement.to_json().len();
        if actual > MAX_CHARTER_BYTES {
            return Err(JoseError::TooLong { limit: MAX_CHARTER_BYTES, actual }.into());
        }
        let rules = self.draft(&statement.payload, at)?;
        let tally = self.tally(&rules, &statement, at)?;
        match tally.complete_at {
            Some(effective_from) => Ok(self.followed_by(rules, statement, effective_from)),
            None => Err(CharterError::Incomplete(tally.missing())),
        }
    }

    /// A document that may follow this charter, once enough people have signed it.
    pub fn draft(&self, payload: &[u8], at: i64) -> Result<Rules, CharterError> {
        let rules = Rules::parse(payload)?;
        self.precedes(&rules)?;
        let (own, next) = (self.document(), rules.document());
        if next.iss != own.iss {
            return Err(CharterError::Issuer);
        }
        if next.issued_at < own.issued_at {
            return Err(CharterError::Times("it was issued before the version that it follows".into()));
        }
        if next.issued_at > at.saturating_add(SKEW) {
            return Err(CharterError::Times("it is issued in the future".into()));
        }
        self.lineage().check(&rules)?;
        if next.by_recovery {
            recovery::confined(self, &rules)?;
        }
        Ok(rules)
    }

    fn precedes(&self, next: &Rules) -> Result<(), CharterError> {
        let (own, found) = (self.document().version, next.document().version);
        let previous = next.document().previous;
        let fork = |version| CharterError::Fork { version };
        if found == own && next.digest() != self.digest() {
            return Err(fork(own));
        }
        if Some(found) != own.checked_add(1) {
            return Err(CharterError::Version { in_force: own, found });
        }
        if previous == Some(self.digest()) { Ok(()) } else { Err(fork(own)) }
    }

    /// Verifies every signature over a draft, and says what is still missing.
    pub fn tally(&self, next: &Rules, statement: &GeneralJws, at: i64) -> Result<Tally, CharterError> {
        let mut kids = BTreeSet::new();
        let mut signed = Vec::new();
        for signature in &statement.signatures {
            let one = self.signed(next, &statement.payload, signature, at)?;
            if !kids.insert(one.kid) {
                return Err(CharterError::Signatures(format!("the key {} signed twice", one.kid)));
            }
            signed.push(one);
        }
        signed.sort_by_key(|one| (one.iat, one.kid));
        let in_force = self.deciding(next)?;
        let demanded = self.demanded(next);
        let complete = |signed: &[Signed]| {
            demanded.iter().all(|holder| has_signed(signed, holder))
                && in_force.satisfied_by(&persons(signed, |one| &one.old))
                && next.governance().satisfied_by(&persons(signed, |one| &one.new))
        };
        // More signatures never undo a quorum, so the first prefix that suffices can be searched for.
        let lengths: Vec<usize> = (0..=signed.len()).collect();
        let first = lengths.partition_point(|&length| !complete(signed.get(..length).unwrap_or(&[])));
        let complete_at = lengths
            .get(first)
            .map(|length| length.checked_sub(1).and_then(|at| signed.get(at)).map_or(0, |one| one.iat));
        let missing_devices = demanded
            .iter()
            .filter(|holder| !has_signed(&signed, holder))
            .filter_map(|holder| match holder.kind {
                KeyKind::Piv { serial } => Some((holder.principal.as_person(), serial)),
                KeyKind::File => None,
            })
            .collect();
        Ok(Tally {
            missing_old: in_force.missing(&persons(&signed, |one| &one.old)),
            missing_new: next.governance().missing(&persons(&signed, |one| &one.new)),
            signed,
            missing_devices,
            complete_at,
            by_recovery: next.document().by_recovery,
        })
    }

    /// The formula of this version that puts the next in force: exactly one, and the next says which.
    fn deciding(&self, next: &Rules) -> Result<&Quorum, CharterError> {
        if next.document().by_recovery {
            self.recovery().ok_or_else(recovery::nobody)
        } else {
            Ok(self.governance())
        }
    }

    /// One signature: by a hardware key of either version, not at a station, at a sane time.
    fn signed(
        &self,
        next: &Rules,
        payload: &[u8],
        signature: &Signature,
        at: i64,
    ) -> Result<Signed, CharterError> {
        let header = signature.header();
        let (kid, iat) = (header.kid, header.iat);
        let device = |rules: &Rules| {
            rules.holder(&kid).filter(|holder| matches!(holder.kind, KeyKind::Piv { .. })).cloned()
        };
        let (old, new) = (device(self), device(next));
        let Some(holder) = old.as_ref().or(new.as_ref()) else {
            return Err(CharterError::Signatures(format!(
                "{kid} is no hardware key of this version or the one before it"
            )));
        };
        if header.station.is_some() {
            return Err(CharterError::Signatures(format!(
                "{} signed at a station, which charters do not allow",
                holder.principal
            )));
        }
        let issued_at = next.document().issued_at;
        let last = issued_at.saturating_add(SIGNING_WINDOW).min(next.document().expires_at - 1);
        if !(issued_at - SKEW..=last.min(at.saturating_add(SKEW))).contains(&iat) {
            return Err(CharterError::Times(format!(
                "{} signed at {iat} (Unix seconds); a charter is signed within {} days after it was issued, and not in the future",
                holder.principal,
                SIGNING_WINDOW / 86_400
            )));
        }
        signature.verify(payload, &holder.key, Typ::Charter)?;
        let counted = |holder: &Holder| {
            if next.document().by_recovery { holder.recovery(iat) } else { holder.custodian(iat) }
        };
        let old = old.as_ref().and_then(counted);
        Ok(Signed { kid, iat, old, new: new.as_ref().and_then(|holder| holder.custodian(iat)) })
    }

    /// Devices that the next version names for a duty, and this one does not.
    fn demanded<'a>(&self, next: &'a Rules) -> Vec<&'a Holder> {
        let before = |holder: &Holder| self.holder(&holder.key.thumbprint()).and_then(Holder::duty);
        next.holders().filter(|holder| holder.duty().is_some() && holder.duty() != before(holder)).collect()
    }
}

fn has_signed(signed: &[Signed], holder: &Holder) -> bool {
    let kid = holder.key.thumbprint();
    signed.iter().any(|one| one.kid == kid)
}

fn persons(signed: &[Signed], of: impl Fn(&Signed) -> &Option<PersonId>) -> BTreeSet<PersonId> {
    signed.iter().filter_map(|one| of(one).clone()).collect()
}
