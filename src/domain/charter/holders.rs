//! Who holds which key: the map from a `kid` to a principal.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CharterError, Rules,
    document::{Document, Role, Term},
};
use crate::{
    domain::id::{PersonId, PrincipalId},
    jose::{Digest, P256PublicKey},
};

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A PIV device with this serial number.
    Piv {
        /// The device's serial number.
        serial: u32,
    },
    /// A file.
    File,
}

/// A key with the principal it belongs to.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The key.
    pub key: P256PublicKey,
    /// Its kind.
    pub kind: KeyKind,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The persons behind it: the person, or the owners of the tool.
    pub persons: BTreeSet<PersonId>,
    /// What the principal may do.
    pub roles: BTreeSet<Role>,
    /// When the principal's record counts.
    pub term: Term,
}

impl Holder {
    /// Whether the principal has this role at this second.
    #[must_use]
    pub fn has(&self, role: Role, at: i64) -> bool {
        self.roles.contains(&role) && self.term.covers(at)
    }

    /// The custodian whose hardware key this is, if it is one and in term.
    #[must_use]
    pub fn custodian(&self, at: i64) -> Option<PersonId> {
        let is_device = matches!(self.kind, KeyKind::Piv { .. });
        (is_device && self.has(Role::Custodian, at)).then(|| self.principal.as_person())
    }

    /// The recovery custodian whose sealed hardware key this is, if it is one and in term.
    #[must_use]
    pub fn recovery(&self, at: i64) -> Option<PersonId> {
        let is_device = matches!(self.kind, KeyKind::Piv { .. });
        (is_device && self.has(Role::Recovery, at)).then(|| self.principal.as_person())
    }

    /// Who takes part in ceremonies with this key: a custodian or a recovery custodian, in term.
    #[must_use]
    pub fn keeper(&self, at: i64) -> Option<PersonId> {
        self.custodian(at).or_else(|| self.recovery(at))
    }

    /// The duty for which this key signs the first charter that names it; none for keys that approve and recover nothing.
    #[must_use]
    pub fn duty(&self) -> Option<Role> {
        let duties = [Role::Custodian, Role::Recovery].into_iter();
        let mut held = duties.filter(|role| self.roles.contains(role));
        if matches!(self.kind, KeyKind::Piv { .. }) { held.next() } else { None }
    }
}

/// Builds the map; a key in two records, or twice in one, is refused.
pub(super) fn collect(document: &Document) -> Result<BTreeMap<Digest, Holder>, CharterError> {
    let mut holders = BTreeMap::new();
    let mut add = |holder: Holder| match holders.insert(holder.key.thumbprint(), holder) {
        None => Ok(()),
        Some(twin) => Err(CharterError::Content(format!(
            "the key {} appears twice, once for {}: each key belongs to one record",
            twin.key.thumbprint(),
            twin.principal
        ))),
    };
    for person in &document.persons {
        let holder = |key: P256PublicKey, kind| Holder {
            key,
            kind,
            principal: person.id.clone().into(),
            persons: BTreeSet::from([person.id.clone()]),
            roles: person.roles.clone(),
            term: person.term,
        };
        for device in &person.devices {
            add(holder(*device.key(), KeyKind::Piv { serial: device.serial() }))?;
        }
        for key in &person.keys {
            add(holder(*key, KeyKind::File))?;
        }
    }
    for client in &document.clients {
        for key in &client.keys {
            add(Holder {
                key: *key,
                kind: KeyKind::File,
                principal: client.id.clone(),
                persons: client.owners.clone(),
                roles: client.roles.clone(),
                term: client.term,
            })?;
        }
    }
    for verifier in &document.verifiers {
        for key in &verifier.keys {
            add(Holder {
                key: *key,
                kind: KeyKind::File,
                principal: verifier.id.clone(),
                persons: BTreeSet::new(),
                roles: BTreeSet::new(),
                term: Term::default(),
            })?;
        }
    }
    Ok(holders)
}

impl Rules {
    /// Whose key this is.
    #[must_use]
    pub fn holder(&self, kid: &Digest) -> Option<&Holder> {
        self.holders.get(kid)
    }

    /// All keys with their holders.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.values()
    }

    /// Whose TLS key has this SHA-256 of its `SubjectPublicKeyInfo`. Only file keys speak TLS.
    #[must_use]
    pub fn peer(&self, spki: &Digest) -> Option<&Holder> {
        self.holders
            .values()
            .find(|holder| holder.kind == KeyKind::File && Digest::of(&holder.key.spki_der()) == *spki)
    }
}
