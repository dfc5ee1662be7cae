//! Strict verification: what a token must show before anybody acts on it.
//!
//! Invariant: acceptance follows from the charter, the token and the time alone. Neither JWKS nor the daemon is asked,
//! so nobody who holds only them can make a token that passes. One implementation serves library, CLI and gate.
//!
//! It has two halves. [`read`] is what no time and no news can change: signatures, quorum, and that the claims follow; a
//! gate may remember it by the token's bytes. [`Accepted::stands`] is the rest: charter, clock, kills, and whether the key is
//! abused; nobody may remember that. [`verify`] is one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    charter::{Basis, Charter, NotPermitted, Permit, TakenAway},
    claims::Claims,
    grant::{Grant, GrantError},
    id::{Audience, PersonId, RequestId},
    kill::{Kills, Subject, Target, killed_reason},
    status::CAPACITY,
    time::SKEW,
};
use crate::jose::{CompactJwt, Digest, GeneralJws, JoseError, Signature, Typ, json};

/// A token at most, in bytes.
pub const MAX_JWT_BYTES: usize = 8_000;
/// Seconds after the newest approval within which a token is minted.
pub const MINT_WITHIN: i64 = 120;

/// What a verifier knows when it judges a token.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The newest charter it holds, verified, with the versions before it that it still keeps.
    pub charter: &'a Charter,
    /// Its own name: the only audience it serves.
    pub audience: &'a Audience,
    /// Its clock, Unix seconds.
    pub now: i64,
    /// Whether it was configured to accept tokens under a development charter.
    pub allow_development: bool,
    /// What has been killed; absent where it cannot know, which the caller has to say to people.
    pub killed: Option<&'a Killed>,
}

/// A verifier's view of kills.
#[derive(Debug, Clone, Default)]
pub struct Killed {
    /// When it was last known to be complete, Unix seconds.
    pub as_of: i64,
    /// Seconds after which it is too old to rely on.
    pub max_stale: i64,
    /// What has been killed, and lifted; one value for all decisions.
    pub kills: Arc<Kills>,
}

/// The `iat` of each token seen: a second token of one jti shows that a key is abused.
///
/// Remembered until no other token of the jti could be valid any more, which is longer than the token itself lives.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    iats: BTreeMap<RequestId, i64>,
    /// When each may be forgotten, Unix seconds.
    ends: BTreeSet<(i64, RequestId)>,
}

/// Seconds between the earliest and the latest time at which a token could be minted on the same approvals.
const MINT_SPAN: i64 = SKEW + MINT_WITHIN + SKEW;

impl Seen {
    fn admit(&mut self, claims: &Claims, now: i64) -> Result<(), Rejection> {
        while let Some((end, jti)) = self.ends.first().copied().filter(|(end, _)| *end < now) {
            self.ends.remove(&(end, jti));
            self.iats.remove(&jti);
        }
        match self.iats.get(&claims.jti) {
            Some(iat) if *iat == claims.iat => Ok(()),
            Some(_) => Err(Rejection::MintedTwice),
            None => {
                self.iats.insert(claims.jti, claims.iat);
                self.ends.insert((claims.exp.saturating_add(MINT_SPAN), claims.jti));
                Ok(())
            }
        }
    }
}

/// A token whose signatures and claims are right. Whether it still counts, [`Accepted::stands`] says at each use.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its claims.
    pub claims: Claims,
    /// The grant that they follow from.
    pub grant: Grant,
    /// Who approved it.
    pub approvers: BTreeSet<PersonId>,
    /// The issuing key that signed it.
    kid: Digest,
    /// The keys that approved.
    approved_by: Vec<Digest>,
}

/// Why a token is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not a token, or not one of this shape.
    #[error("the token is malformed: {0}")]
    Malformed(JoseError),
    /// The charter does not count any more, or not yet.
    #[error("the charter is not in force at this time; fetch the newest")]
    CharterNotInForce,
    /// Granted under an earlier charter, and too long ago for that.
    #[error("the token was granted under an earlier charter, and its time is over")]
    Superseded,
    /// A newer charter took away what it rests on.
    #[error(transparent)]
    TakenAway(#[from] TakenAway),
    /// A development charter, and this is not a development verifier.
    #[error("the charter is marked for development, and this verifier does not accept such")]
    Development,
    /// Signed by a key that the charter does not have for this profile.
    #[error("the charter has no such issuing key for this profile")]
    IssuingKey,
    /// The signature does not verify.
    #[error("the token's signature is not valid")]
    Signature,
    /// For another verifier.
    #[error("the token is for the audience {0}, not for this verifier")]
    Audience(Audience),
    /// The grant inside is malformed.
    #[error("the grant inside the token is malformed")]
    Grant,
    /// The first signature is not the requester's, or a later one not an approval by a known key.
    #[error("the signatures over the grant are not one request and then approvals: {0}")]
    Statements(&'static str),
    /// The charter does not permit the grant.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// Too few distinct persons approved.
    #[error("the approvals do not complete the quorum of the profile")]
    Quorum,
    /// Claims differ from those that follow.
    #[error("the claims are not those that follow from the grant")]
    Claims,
    /// Minted at the wrong time.
    #[error("the token was not minted right after its newest approval, or after the deadline")]
    MintedLate,
    /// Its time has not come or has passed.
    #[error("the token is expired or not valid yet")]
    Time,
    /// Another token of this jti was seen.
    #[error(
        "another token with this jti and another iat was seen: the issuing key may be abused; raise an alarm"
    )]
    MintedTwice,
    /// It was killed, or what it rests on, even if that was lifted after it was minted.
    #[error("{0} was killed, and with it the token")]
    Killed(Target),
    /// The view of kills is too old.
    #[error("the verifier's view of kills is too old to rely on")]
    Stale,
}

impl Rejection {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "TOKEN_MALFORMED",
            Self::CharterNotInForce => "CHARTER_NOT_IN_FORCE",
            Self::Superseded => "CHARTER_SUPERSEDED",
            Self::TakenAway(_) => "TAKEN_AWAY",
            Self::Development => "DEVELOPMENT_CHARTER",
            Self::IssuingKey => "ISSUING_KEY_UNKNOWN",
            Self::Signature => "SIGNATURE_INVALID",
            Self::Audience(_) => "AUDIENCE_MISMATCH",
            Self::Grant => "GRANT_MALFORMED",
            Self::Statements(_) => "STATEMENTS_INVALID",
            Self::NotPermitted(why) => why.reason(),
            Self::Quorum => "QUORUM_NOT_MET",
            Self::Claims => "CLAIMS_DIFFER",
            Self::MintedLate => "MINTED_LATE",
            Self::Time => "TOKEN_TIME",
            Self::MintedTwice => "MINTED_TWICE",
            Self::Killed(target) => killed_reason(target.level()),
            Self::Stale => "KILL_VIEW_STALE",
        }
    }
}

impl From<GrantError> for Rejection {
    fn from(_: GrantError) -> Self {
        Self::Grant
    }
}

/// Judges a token.
pub fn verify(jwt: &str, view: &View<'_>, seen: &mut Seen) -> Result<Accepted, Rejection> {
    view.usable()?;
    let accepted = read(jwt, view.charter, view.audience)?;
    accepted.stands(view, seen)?;
    Ok(accepted)
}

/// Reads a token and verifies all that does not depend on the time: under the version of the charter that it names, which
/// is the newest or one before it that is still held.
pub fn read(jwt: &str, charter: &Charter, audience: &Audience) -> Result<Accepted, Rejection> {
    let token = CompactJwt::parse(jwt, MAX_JWT_BYTES).map_err(Rejection::Malformed)?;
    let claims: Claims = json::parse(token.payload(), MAX_JWT_BYTES).map_err(Rejection::Malformed)?;
    let private = &claims.breakglass;
    let charter = charter.version_named(&private.charter).ok_or(NotPermitted::Charter)?;
    let key = charter.accepted_key(token.kid(), &private.profile).ok_or(Rejection::IssuingKey)?;
    // The algorithm is that of the charter's key; a header that names another one is malformed.
    token.verify(&key.key).map_err(|error| match error {
        JoseError::SignatureInvalid => Rejection::Signature,
        other => Rejection::Malformed(other),
    })?;
    if claims.aud != *audience {
        return Err(Rejection::Audience(claims.aud));
    }
    let (grant, approvers) = judge(charter, &claims, token.payload())?;
    let approvals = claims.breakglass.approvals.signatures.iter().skip(1);
    let approved_by = approvals.map(|approval| approval.header().kid).collect();
    Ok(Accepted { kid: *token.kid(), approved_by, claims, grant, approvers })
}

impl View<'_> {
    /// Whether this verifier may accept anything at all now.
    fn usable(&self) -> Result<(), Rejection> {
        if !self.charter.is_in_force(self.now) {
            return Err(Rejection::CharterNotInForce);
        }
        if self.charter.document().development && !self.allow_development {
            return Err(Rejection::Development);
        }
        Ok(())
    }
}

impl Accepted {
    /// Whether it counts now, for a verifier that knows this. To be asked at every use: only [`read`] may be remembered.
    pub fn stands(&self, view: &View<'_>, seen: &mut Seen) -> Result<(), Rejection> {
        view.usable()?;
        let charter = &self.claims.breakglass.charter;
        let charter = view.charter.version_named(charter).ok_or(NotPermitted::Charter)?;
        if self.claims.aud != *view.audience {
            return Err(Rejection::Audience(self.claims.aud.clone()));
        }
        if self.claims.iat > view.now + SKEW || self.claims.exp <= view.now {
            return Err(Rejection::Time);
        }
        self.is_honoured(view, charter)?;
        self.is_not_killed(view)?;
        seen.admit(&self.claims, view.now)
    }

    /// Granted under an earlier version: for as long as any token of it could live, and unless a later one has taken away
    /// what it rests on.
    fn is_honoured(&self, view: &View<'_>, charter: &Charter) -> Result<(), Rejection> {
        let Some(next) = view.charter.since(charter.digest()).next() else { return Ok(()) };
        let iat = self.claims.iat;
        if view.now >= next.predecessor_until(charter) || !charter.is_in_force(iat) {
            return Err(Rejection::Superseded);
        }
        if charter.document().development && !view.allow_development {
            return Err(Rejection::Development);
        }
        let basis = Basis { grant: &self.grant, kid: &self.kid, approvers: &self.approved_by, iat };
        let mut later = view.charter.since(charter.digest());
        later.try_for_each(|later| later.honours(charter, &basis)).map_err(Rejection::TakenAway)
    }

    fn is_not_killed(&self, view: &View<'_>) -> Result<(), Rejection> {
        let Some(killed) = view.killed else { return Ok(()) };
        // A view from the future is one whose clock was set back since: nobody knows its age.
        if !(-SKEW..=killed.max_stale).contains(&view.now.saturating_sub(killed.as_of)) {
            return Err(Rejection::Stale);
        }
        let stopped = killed.kills.stopped_by(&self.subject(), self.claims.iat);
        stopped.map_or(Ok(()), |target| Err(Rejection::Killed(target)))
    }

    /// What a kill may hit.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        let (grant, approvers) = (&self.grant, self.approved_by.as_slice());
        Subject { id: self.claims.jti, grant, approvers, issuer: Some(&self.kid) }
    }
}

/// What charter and claims decide between them, whatever time it is: signatures, quorum, and that the claims follow.
pub(super) fn judge(
    charter: &Charter,
    claims: &Claims,
    payload: &[u8],
) -> Result<(Grant, BTreeSet<PersonId>), Rejection> {
    let private = &claims.breakglass;
    let grant = Grant::parse(&private.approvals.payload)?;
    let permit = charter.permits(&grant)?;
    permit.in_term(claims.iat)?;
    let approvers = approvers(charter, &grant, &permit, &private.approvals, claims.iat)?;
    let quorums = charter.quorums(&grant.profile).ok_or(Rejection::Quorum)?;
    if !quorums.approve.satisfied_by(&approvers) {
        return Err(Rejection::Quorum);
    }
    if !charter.document().log_keys.iter().any(|log| log.origin == private.log.origin) {
        return Err(Rejection::Claims);
    }
    // The place is the log's choice, like `iat`; that there is one, and in which list, is the charter's.
    let place = claims.status.as_ref().map(|status| status.status_list.idx);
    if permit.lists.is_some() != place.is_some_and(|idx| idx < CAPACITY) {
        return Err(Rejection::Claims);
    }
    let (approvals, log) = (private.approvals.clone(), private.log.clone());
    let expected = Claims::new(&grant, &permit, approvals, claims.iat, log, place);
    if expected.to_bytes().map_err(Rejection::Malformed)? != payload {
        return Err(Rejection::Claims);
    }
    minted_in_time(&grant, &private.approvals, claims.iat)?;
    Ok((grant, approvers))
}

/// Verifies every signature over the grant: exactly one request first, then approvals by distinct persons' devices.
fn approvers(
    charter: &Charter,
    grant: &Grant,
    permit: &Permit<'_>,
    statement: &GeneralJws,
    iat: i64,
) -> Result<BTreeSet<PersonId>, Rejection> {
    let Some((request, approvals)) = statement.signatures.split_first() else {
        return Err(Rejection::Statements("there is none"));
    };
    if request.header().kid != grant.requester_key || request.header().iat != grant.requested_at {
        return Err(Rejection::Statements("the first is not the requester's"));
    }
    request
        .verify(&statement.payload, &permit.requester.key, Typ::Request)
        .map_err(|_| Rejection::Statements("the requester's does not verify"))?;
    let mut persons = BTreeSet::new();
    for approval in approvals {
        let person = approver(charter, grant, permit, statement, approval, iat)?;
        if !persons.insert(person) {
            return Err(Rejection::Statements("one person approves twice"));
        }
    }
    Ok(persons)
}

fn approver(
    charter: &Charter,
    grant: &Grant,
    permit: &Permit<'_>,
    statement: &GeneralJws,
    approval: &Signature,
    iat: i64,
) -> Result<PersonId, Rejection> {
    let header = approval.header();
    let holder =
        charter.holder(&header.kid).ok_or(Rejection::Statements("an approval is by an unknown key"))?;
    approval
        .verify(&statement.payload, &holder.key, Typ::Approval)
        .map_err(|_| Rejection::Statements("an approval does not verify"))?;
    let person =
        holder.custodian(iat).ok_or(Rejection::Statements("an approval is by no custodian in term"))?;
    if permit.excluded.contains(&person) {
        return Err(Rejection::Statements("an approval is by somebody behind the request"));
    }
    if header.station.is_some() && !permit.profile.stations {
        return Err(Rejection::Statements("an approval was given at a station"));
    }
    if header.iat < grant.requested_at - SKEW {
        return Err(Rejection::Statements("an approval is older than the request"));
    }
    Ok(person)
}

/// `iat` lies between the newest approval and 120 s after it, and within the deadline.
fn minted_in_time(grant: &Grant, statement: &GeneralJws, iat: i64) -> Result<(), Rejection> {
    let approvals = statement.signatures.iter().skip(1);
    let newest = approvals.map(|signature| signature.header().iat).max().ok_or(Rejection::Quorum)?;
    let window = newest - SKEW..=newest + MINT_WITHIN + SKEW;
    let before_deadline = iat < grant.expires_at && iat >= grant.requested_at - SKEW;
    if window.contains(&iat) && before_deadline { Ok(()) } else { Err(Rejection::MintedLate) }
}
