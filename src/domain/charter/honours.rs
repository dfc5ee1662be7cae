//! What a later version takes away from what an earlier one granted.
//!
//! A token outlives the charter it was minted under by at most the longest ttl, so that a change of rules does not end an
//! incident's access by accident. But whom or what the new version removes, it removes at once: one function, used when
//! a version is adopted and by every strict verifier.

use crate::{
    domain::{
        grant::{Confirmation, Grant},
        id::PrincipalId,
    },
    jose::Digest,
};

use super::{Holder, KeyState, Rules, document::Role};

/// What a token or an authorization rests on, besides the charter it was made under.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// What was asked.
    pub grant: &'a Grant,
    /// The issuing key.
    pub kid: &'a Digest,
    /// The keys that approved.
    pub approvers: &'a [Digest],
    /// When it was minted, Unix seconds.
    pub iat: i64,
}

/// What a later version took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakenAway {
    /// The issuing key is compromised, suspended, destroyed, or not listed any more.
    #[error("a newer charter does not accept the issuing key any more")]
    IssuingKey,
    /// A device that approved is nobody's, or its holder no custodian any more.
    #[error("a newer charter removed a custodian or device that approved")]
    Approver,
    /// The requester, `sub` or the certificate is not in it any more.
    #[error("a newer charter removed the requester, the key that asked, or the subject")]
    Requester,
    /// There is no such profile any more.
    #[error("a newer charter removed the profile")]
    Profile,
}

impl Rules {
    /// Whether this later version leaves standing what was granted under an earlier one.
    pub fn honours(&self, earlier: &Self, basis: &Basis<'_>) -> Result<(), TakenAway> {
        let Basis { grant, kid, approvers, iat } = *basis;
        let accepted = |state| matches!(state, KeyState::Active | KeyState::Deactivated);
        let mut keys = self.document().issuing_keys.iter();
        if !keys.any(|key| key.key.thumbprint() == *kid && accepted(key.state)) {
            return Err(TakenAway::IssuingKey);
        }
        let person = |rules: &Self, kid| rules.holder(kid).and_then(|holder| holder.custodian(iat));
        if !approvers
            .iter()
            .all(|kid| person(self, kid).is_some() && person(self, kid) == person(earlier, kid))
        {
            return Err(TakenAway::Approver);
        }
        let principal =
            |holder: &Holder| holder.principal == grant.client_id && holder.has(Role::Requester, iat);
        let asks = self.holder(&grant.requester_key).is_some_and(principal);
        if !asks || !self.keeps_subject(earlier, &grant.sub, iat) || !self.keeps_certificate(grant) {
            return Err(TakenAway::Requester);
        }
        if self.profile(&grant.profile).is_none() {
            return Err(TakenAway::Profile);
        }
        Ok(())
    }

    fn keeps_subject(&self, earlier: &Self, sub: &PrincipalId, iat: i64) -> bool {
        let sub = sub.as_person();
        let asks = |rules: &Self| {
            rules
                .person(&sub)
                .is_some_and(|person| person.roles.contains(&Role::Requester) && person.term.covers(iat))
        };
        earlier.person(&sub).is_none() || asks(self)
    }

    fn keeps_certificate(&self, grant: &Grant) -> bool {
        match &grant.cnf {
            Confirmation::Jkt(_) => true,
            Confirmation::Certificate(digest) => self.has_certificate(grant, digest),
        }
    }
}
