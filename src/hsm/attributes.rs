//! The attributes that a private key really has, beside those that it should have.
//!
//! Invariants: each attribute is read by itself, so that one which a device does not know hides no other; what was not
//! read is said to be not reported, never assumed. A key was born in the device if `CKA_LOCAL`, `CKA_NEVER_EXTRACTABLE`
//! and `CKA_ALWAYS_SENSITIVE` are all true: an imported key also calls itself sensitive and not extractable.
//! Spec: PKCS #11 v3.0 section 4.9, table 28.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use serde::Serialize;

use super::template;
use crate::jose::TokenAlg;

/// One attribute: what it should be, and what the device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// PKCS#11 name, such as `CKA_SENSITIVE`.
    pub name: &'static str,
    /// The value that a good key has.
    pub wanted: bool,
    /// The value that was read; `None` if the device does not report it.
    pub read: Option<bool>,
}

/// What was read about one private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributeReport {
    /// All boolean attributes that matter.
    pub flags: Vec<Expected>,
    /// `CKA_ALLOWED_MECHANISMS` by name; `None` if the device does not report it.
    pub allowed_mechanisms: Option<Vec<String>>,
    /// Whether the only allowed mechanism is the one that this program uses; `None` as above.
    pub only_our_mechanism: Option<bool>,
}

const WANTED: [(&str, AttributeType, bool); 15] = [
    ("CKA_TOKEN", AttributeType::Token, true),
    ("CKA_PRIVATE", AttributeType::Private, true),
    ("CKA_SENSITIVE", AttributeType::Sensitive, true),
    ("CKA_EXTRACTABLE", AttributeType::Extractable, false),
    ("CKA_LOCAL", AttributeType::Local, true),
    ("CKA_NEVER_EXTRACTABLE", AttributeType::NeverExtractable, true),
    ("CKA_ALWAYS_SENSITIVE", AttributeType::AlwaysSensitive, true),
    ("CKA_SIGN", AttributeType::Sign, true),
    ("CKA_SIGN_RECOVER", AttributeType::SignRecover, false),
    ("CKA_DECRYPT", AttributeType::Decrypt, false),
    ("CKA_UNWRAP", AttributeType::Unwrap, false),
    ("CKA_DERIVE", AttributeType::Derive, false),
    ("CKA_MODIFIABLE", AttributeType::Modifiable, false),
    ("CKA_COPYABLE", AttributeType::Copyable, false),
    ("CKA_DESTROYABLE", AttributeType::Destroyable, true),
];

impl AttributeReport {
    pub(crate) fn read(session: &Session, key: ObjectHandle, alg: TokenAlg) -> Self {
        let flags = WANTED
            .iter()
            .map(|&(name, kind, wanted)| Expected { name, wanted, read: read_flag(session, key, kind) })
            .collect();
        let mechanisms = read_mechanisms(session, key);
        Self {
            flags,
            only_our_mechanism: mechanisms.as_ref().map(|list| *list == [template::allowed(alg)]),
            allowed_mechanisms: mechanisms.map(|list| list.iter().map(ToString::to_string).collect()),
        }
    }

    /// Attributes that were read and differ from what a good key has, as `NAME=value`.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let flags = self.flags.iter().filter_map(|flag| {
            let read = flag.read.filter(|read| *read != flag.wanted)?;
            Some(format!("{}={read}", flag.name))
        });
        let mechanisms = (self.only_our_mechanism == Some(false)).then(|| {
            format!(
                "CKA_ALLOWED_MECHANISMS={}",
                self.allowed_mechanisms.clone().unwrap_or_default().join(",")
            )
        });
        flags.chain(mechanisms).collect()
    }

    /// Attributes that the device does not report, so that nothing is known about them.
    #[must_use]
    pub fn not_reported(&self) -> Vec<&'static str> {
        let flags = self.flags.iter().filter(|flag| flag.read.is_none()).map(|flag| flag.name);
        flags.chain(self.only_our_mechanism.is_none().then_some("CKA_ALLOWED_MECHANISMS")).collect()
    }

    /// Whether the device testifies that the key was born in it and never left.
    #[must_use]
    pub fn born_in_device(&self) -> bool {
        ["CKA_LOCAL", "CKA_NEVER_EXTRACTABLE", "CKA_ALWAYS_SENSITIVE"]
            .iter()
            .all(|name| self.flags.iter().any(|flag| flag.name == *name && flag.read == Some(true)))
    }
}

fn read_flag(session: &Session, key: ObjectHandle, kind: AttributeType) -> Option<bool> {
    match session.get_attributes(key, &[kind]).ok()?.first()? {
        Attribute::Token(value)
        | Attribute::Private(value)
        | Attribute::Sensitive(value)
        | Attribute::Extractable(value)
        | Attribute::Local(value)
        | Attribute::NeverExtractable(value)
        | Attribute::AlwaysSensitive(value)
        | Attribute::Sign(value)
        | Attribute::SignRecover(value)
        | Attribute::Decrypt(value)
        | Attribute::Unwrap(value)
        | Attribute::Derive(value)
        | Attribute::Modifiable(value)
        | Attribute::Copyable(value)
        | Attribute::Destroyable(value) => Some(*value),
        _ => None,
    }
}

/// The algorithm of an RSA key, as far as it is known: the device says what the key may be used with.
pub(crate) fn rsa_alg(session: &Session, key: ObjectHandle) -> TokenAlg {
    match read_mechanisms(session, key) {
        Some(list) if list == [template::allowed(TokenAlg::Ps256)] => TokenAlg::Ps256,
        _ => TokenAlg::Rs256,
    }
}

fn read_mechanisms(session: &Session, key: ObjectHandle) -> Option<Vec<MechanismType>> {
    match session.get_attributes(key, &[AttributeType::AllowedMechanisms]).ok()?.into_iter().next()? {
        Attribute::AllowedMechanisms(list) => Some(list),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: Option<(&str, Option<bool>)>) -> AttributeReport {
        let flags = WANTED
            .iter()
            .map(|&(name, _, wanted)| {
                let read =
                    change.filter(|(which, _)| *which == name).map_or(Some(wanted), |(_, value)| value);
                Expected { name, wanted, read }
            })
            .collect();
        AttributeReport {
            flags,
            allowed_mechanisms: Some(vec!["CKM_ECDSA".into()]),
            only_our_mechanism: Some(true),
        }
    }

    #[test]
    fn a_good_key_has_no_violations() {
        let good = report(None);
        assert!(good.violations().is_empty() && good.not_reported().is_empty() && good.born_in_device());
    }

    #[test]
    fn each_wrong_attribute_is_named() {
        for (name, _, wanted) in WANTED {
            assert_eq!(report(Some((name, Some(!wanted)))).violations(), [format!("{name}={}", !wanted)]);
        }
    }

    #[test]
    fn an_unreported_attribute_is_no_evidence() {
        let silent = report(Some(("CKA_LOCAL", None)));
        assert_eq!(silent.not_reported(), ["CKA_LOCAL"]);
        assert!(silent.violations().is_empty() && !silent.born_in_device());
    }

    #[test]
    fn a_second_mechanism_is_a_violation() {
        let mut two = report(None);
        two.only_our_mechanism = Some(false);
        two.allowed_mechanisms = Some(vec!["CKM_ECDSA".into(), "CKM_ECDSA_SHA1".into()]);
        assert_eq!(two.violations(), ["CKA_ALLOWED_MECHANISMS=CKM_ECDSA,CKM_ECDSA_SHA1"]);
    }
}
