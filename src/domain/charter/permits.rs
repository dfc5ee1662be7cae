//! What a charter permits a grant to ask: one function, used when a request is filed and by every strict verifier.

use std::collections::BTreeSet;

use super::{
    KeyKind, Rules,
    document::{Client, Person, Profile, RequesterKey, Role, Term},
    holders::Holder,
};
use crate::{
    domain::{
        detail,
        grant::{Confirmation, Grant},
        id::{Issuer, PersonId, PrincipalId},
    },
    jose::Digest,
};

/// What follows from a permitted grant.
#[derive(Debug, Clone)]
pub struct Permit<'a> {
    /// The profile it is under.
    pub profile: &'a Profile,
    /// The holder of the key that signs the request.
    pub requester: &'a Holder,
    /// Persons who do not count towards the quorum: those behind the signature, `sub`, `act` and the `cnf` key.
    pub excluded: BTreeSet<PersonId>,
    /// The issuer of the status list in which the token has a place, if the profile asks for that.
    pub lists: Option<&'a Issuer>,
    /// When the requester and `sub` may ask at all.
    terms: [Term; 2],
}

impl Permit<'_> {
    /// Whether the requester and `sub` are still in term: both when they ask and when the token is minted.
    pub fn in_term(&self, at: i64) -> Result<(), NotPermitted> {
        if self.terms.iter().all(|term| term.covers(at)) { Ok(()) } else { Err(NotPermitted::Requester) }
    }
}

/// Why a grant is not permitted. Each has a stable reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// Under another charter.
    #[error("the grant names another charter than the one in force; fetch the charter and ask again")]
    Charter,
    /// Receipts from outside are demanded.
    #[error(
        "the charter demands receipts of witnesses or sinks, which this version cannot collect: nothing is issued under it"
    )]
    Receipts,
    /// For another issuer.
    #[error("the grant names another issuer")]
    Issuer,
    /// No such profile.
    #[error("the charter has no such profile")]
    Profile,
    /// The audience is not the profile's.
    #[error("the audience is not that of the profile")]
    Audience,
    /// Not all details are allowed.
    #[error("the profile does not allow all of the authorization_details")]
    Details,
    /// Too long a life.
    #[error("ttl is longer than the profile allows")]
    Ttl,
    /// Too long a wait.
    #[error("the deadline for approvals is further away than the profile allows")]
    Window,
    /// The key is nobody's, or its holder may not ask.
    #[error("the key that signs the request belongs to no requester in term, or sub is out of term")]
    Requester,
    /// The wrong kind of key.
    #[error("the profile demands another kind of requester key")]
    KeyKind,
    /// `client_id` is not whom the key belongs to.
    #[error("client_id is not the holder of the key that signs the request")]
    ClientId,
    /// `sub` is not somebody the client may file for.
    #[error("this client may not file for this sub")]
    Subject,
    /// The cnf key is an enrolled key, or the certificate is not the subject's.
    #[error("cnf must be a fresh key, or an enrolled client certificate of sub or client_id")]
    Confirmation,
    /// The redeem key is an enrolled key or the cnf key.
    #[error("the redeem key must be fresh, and another than the cnf key")]
    RedeemKey,
}

impl NotPermitted {
    /// The stable reason that clients see.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Charter => "CHARTER_MISMATCH",
            Self::Receipts => "RECEIPTS_UNAVAILABLE",
            Self::Issuer => "ISSUER_MISMATCH",
            Self::Profile => "PROFILE_UNKNOWN",
            Self::Audience => "AUDIENCE_NOT_ALLOWED",
            Self::Details => "DETAILS_NOT_ALLOWED",
            Self::Ttl => "TTL_TOO_LONG",
            Self::Window => "WINDOW_TOO_LONG",
            Self::Requester => "REQUESTER_UNKNOWN",
            Self::KeyKind => "REQUESTER_KEY_KIND",
            Self::ClientId => "CLIENT_ID_MISMATCH",
            Self::Subject => "SUBJECT_NOT_ALLOWED",
            Self::Confirmation => "CNF_NOT_ALLOWED",
            Self::RedeemKey => "REDEEM_KEY_NOT_FRESH",
        }
    }
}

impl Rules {
    /// Whether the charter permits this grant; terms are judged at the time of asking, which the requester states: the
    /// caller judges them again at a time that he knows ([`Permit::in_term`]).
    pub fn permits(&self, grant: &Grant) -> Result<Permit<'_>, NotPermitted> {
        let refuse_unless = |ok: bool, why| if ok { Ok(()) } else { Err(why) };
        refuse_unless(grant.charter == self.digest, NotPermitted::Charter)?;
        // Neither daemon nor verifier could tell whether they exist, so nothing may pass for receipted.
        refuse_unless(self.document.receipts.is_none(), NotPermitted::Receipts)?;
        refuse_unless(grant.iss == self.document.iss, NotPermitted::Issuer)?;
        let profile = self.profile(&grant.profile).ok_or(NotPermitted::Profile)?;
        refuse_unless(grant.aud == profile.aud, NotPermitted::Audience)?;
        refuse_unless(
            detail::allowed(&grant.authorization_details, &profile.authorization_details),
            NotPermitted::Details,
        )?;
        refuse_unless(grant.ttl <= profile.max_ttl, NotPermitted::Ttl)?;
        let window = grant.expires_at.saturating_sub(grant.requested_at);
        refuse_unless(window <= i64::from(profile.approval_window), NotPermitted::Window)?;
        let requester = self.holder(&grant.requester_key).ok_or(NotPermitted::Requester)?;
        refuse_unless(requester.roles.contains(&Role::Requester), NotPermitted::Requester)?;
        let kind = match requester.kind {
            KeyKind::File => RequesterKey::File,
            KeyKind::Piv { .. } => RequesterKey::Piv,
        };
        refuse_unless(kind == profile.requester_key, NotPermitted::KeyKind)?;
        refuse_unless(grant.client_id == requester.principal, NotPermitted::ClientId)?;
        let subject = self.subject(grant)?;
        self.confirmation(grant)?;
        let excluded = requester.persons.iter().chain(subject.map(|person| &person.id)).cloned().collect();
        let terms = [requester.term, subject.map_or(requester.term, |person| person.term)];
        let operational = self.document.operational_keys.first().filter(|_| profile.status);
        let lists = operational.map(|key| &key.iss);
        let permit = Permit { profile, requester, excluded, lists, terms };
        permit.in_term(grant.requested_at)?;
        Ok(permit)
    }

    /// The person that `sub` is, unless the client files for itself.
    fn subject(&self, grant: &Grant) -> Result<Option<&Person>, NotPermitted> {
        let person = grant.sub.as_person();
        if grant.sub == grant.client_id {
            return Ok(self.person(&person));
        }
        let client = self.client(&grant.client_id).ok_or(NotPermitted::Subject)?;
        let record = self.person(&person).ok_or(NotPermitted::Subject)?;
        let may = client.subjects.contains(&person) && record.roles.contains(&Role::Requester);
        if may { Ok(Some(record)) } else { Err(NotPermitted::Subject) }
    }

    fn client(&self, id: &PrincipalId) -> Option<&Client> {
        self.document.clients.iter().find(|client| client.id == *id)
    }

    fn confirmation(&self, grant: &Grant) -> Result<(), NotPermitted> {
        let redeem = grant.redeem_key.thumbprint();
        if self.is_enrolled(&redeem) || grant.cnf == Confirmation::Jkt(redeem) {
            return Err(NotPermitted::RedeemKey);
        }
        let ok = match grant.cnf {
            Confirmation::Jkt(thumbprint) => !self.is_enrolled(&thumbprint),
            Confirmation::Certificate(digest) => self.has_certificate(grant, &digest),
        };
        if ok { Ok(()) } else { Err(NotPermitted::Confirmation) }
    }

    fn is_enrolled(&self, thumbprint: &Digest) -> bool {
        let issuing = self.document.issuing_keys.iter().any(|key| key.key.thumbprint() == *thumbprint);
        let operational =
            self.document.operational_keys.iter().any(|key| key.key.thumbprint() == *thumbprint);
        issuing || operational || self.holders.contains_key(thumbprint)
    }

    /// The certificate is the subject's or the client's, whose persons are excluded from the quorum anyway.
    pub(super) fn has_certificate(&self, grant: &Grant, digest: &Digest) -> bool {
        let of_client =
            self.client(&grant.client_id).is_some_and(|client| client.certificates.contains(digest));
        let of_subject =
            self.person(&grant.sub.as_person()).is_some_and(|person| person.certificates.contains(digest));
        of_client || of_subject
    }
}
