//! The signatures of a charter.
//!
//! Genesis is signed by every hardware key of every custodian and recovery custodian it names, so by the governance quorum
//! as well. Each key
//! is counted once: what is counted is a set of persons, found through a set of keys.

use std::collections::BTreeSet;

use super::{CharterError, KeyKind, Rules};
use crate::jose::{Digest, GeneralJws, Typ};

pub(super) fn verify_genesis(rules: &Rules, statement: &GeneralJws) -> Result<(), CharterError> {
    if rules.document.version != 1 {
        return Err(CharterError::Signatures("only version 1 can be pinned as genesis".into()));
    }
    let signed = verified_kids(rules, statement)?;
    let missing: Vec<String> = rules
        .holders()
        .filter(|holder| holder.duty().is_some())
        .filter(|holder| !signed.contains(&holder.key.thumbprint()))
        .map(|holder| match holder.kind {
            KeyKind::Piv { serial } => format!("{} (device {serial})", holder.principal),
            KeyKind::File => holder.principal.to_string(),
        })
        .collect();
    if !missing.is_empty() {
        return Err(CharterError::Signatures(format!(
            "every custodian's device signs the first charter that names it; missing: {}",
            missing.join(", ")
        )));
    }
    let persons = signed
        .iter()
        .filter_map(|kid| rules.holder(kid))
        .map(|holder| holder.principal.as_person())
        .collect();
    if !rules.governance.satisfied_by(&persons) {
        return Err(CharterError::Signatures("the governance formula is not satisfied".into()));
    }
    Ok(())
}

/// The keys that signed, each verified; an unknown key or a second signature of one is refused, not skipped.
fn verified_kids(rules: &Rules, statement: &GeneralJws) -> Result<BTreeSet<Digest>, CharterError> {
    let mut kids = BTreeSet::new();
    for signature in &statement.signatures {
        let header = signature.header();
        let holder = rules.holder(&header.kid).filter(|holder| matches!(holder.kind, KeyKind::Piv { .. }));
        let Some(holder) = holder else {
            return Err(CharterError::Signatures(format!(
                "{} is no custodian's device of this charter",
                header.kid
            )));
        };
        if header.station.is_some() {
            return Err(CharterError::Signatures(format!(
                "{} signed at a station, which charters do not allow",
                holder.principal
            )));
        }
        signature.verify(&statement.payload, &holder.key, Typ::Charter)?;
        if !kids.insert(header.kid) {
            return Err(CharterError::Signatures(format!("{} signed twice with one key", holder.principal)));
        }
    }
    Ok(kids)
}
