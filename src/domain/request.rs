//! The life of one request.
//!
//! Invariants: each state carries what is true only there; transitions consume the request, so none can be used twice;
//! what is closed keeps no more than it takes to refuse its bytes again.
//!
//! Pending → Authorized → Issued → Expired or Revoked, or Denied, Withdrawn, Lapsed, Superseded, Failed, and Killed from any.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    event::Failure,
    grant::{Grant, GrantError},
    id::{InstanceId, PrincipalId, ProfileId, RequestId},
    kill::Subject,
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, Signature};

/// A live request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Request {
    /// Follows from the filed bytes; asked for too often to hash them each time.
    id: RequestId,
    grant: Grant,
    filed: GeneralJws,
    filed_at: Timestamp,
    life: Life,
}

/// What a snapshot holds of a request: the grant is parsed again from the signed bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    filed: GeneralJws,
    filed_at: Timestamp,
    life: Life,
}

impl From<Request> for Stored {
    fn from(request: Request) -> Self {
        Self { filed: request.filed, filed_at: request.filed_at, life: request.life }
    }
}

impl TryFrom<Stored> for Request {
    type Error = GrantError;
    fn try_from(stored: Stored) -> Result<Self, GrantError> {
        let grant = Grant::parse(&stored.filed.payload)?;
        let id = Grant::id_of(&stored.filed.payload);
        Ok(Self { id, grant, filed: stored.filed, filed_at: stored.filed_at, life: stored.life })
    }
}

/// The state of a live request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Life {
    /// Waits for custodians.
    Pending {
        /// In the order of arrival; one for each person.
        approvals: Vec<Signature>,
        /// In the order of arrival; one for each person.
        denials: Vec<Signature>,
    },
    /// The quorum is complete, the signature is missing.
    Authorized(Authorization),
    /// Signed; can be redeemed until it expires.
    Issued {
        /// What was authorized.
        authorization: Authorization,
        /// Digest of the compact JWT.
        jwt: Digest,
        /// The JWT, encrypted to the redeem key.
        jwe: String,
        /// How often it was redeemed.
        releases: u32,
        /// Digests of the redemptions, so that none is used twice by whoever saw it.
        redemptions: BTreeSet<Digest>,
    },
}

/// What the log fixed when the quorum was complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// The approvals that go into the token.
    pub approvals: Vec<Signature>,
    /// `iat` of the token, Unix seconds.
    pub iat: i64,
    /// `exp` of the token, Unix seconds.
    pub exp: i64,
    /// The issuing key.
    pub kid: Digest,
    /// Digest of the claims' bytes.
    pub claims: Digest,
    /// Index of the entry.
    pub index: u64,
    /// The process that works on it.
    pub instance: InstanceId,
    /// Since when.
    pub since: Timestamp,
    /// The token's place in the status list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By custodians.
    Denied,
    /// By its requester.
    Withdrawn,
    /// By its deadline.
    Lapsed,
    /// By a new charter.
    Superseded,
    /// Issued, and over.
    Expired,
    /// Authorized, but never issued.
    Failed(Failure),
    /// Stopped, whatever state it was in.
    Killed,
    /// Issued, and handed in by somebody who had the token.
    Revoked,
}

impl Outcome {
    /// The word for people and errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Lapsed => "lapsed",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Failed(_) => "failed",
            Self::Killed => "killed",
            Self::Revoked => "revoked",
        }
    }
}

/// What is left of a request that ended: enough to refuse its bytes and to say what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// For whom it was.
    pub sub: PrincipalId,
    /// Who filed it.
    pub client_id: PrincipalId,
    /// Under which profile.
    pub profile: ProfileId,
    /// Unix seconds after which equal bytes are refused for their own deadline.
    pub until: i64,
    /// Whether it had a token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub issued: bool,
}

impl Request {
    /// A new request.
    #[must_use]
    pub fn file(grant: Grant, filed: GeneralJws, filed_at: Timestamp) -> Self {
        let id = Grant::id_of(&filed.payload);
        Self {
            id,
            grant,
            filed,
            filed_at,
            life: Life::Pending { approvals: Vec::new(), denials: Vec::new() },
        }
    }

    /// What is asked.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The id, which is the grant's digest.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The grant's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.filed.payload
    }

    /// When it was filed.
    #[must_use]
    pub fn filed_at(&self) -> Timestamp {
        self.filed_at
    }

    /// Its state.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// The state's name for people and errors.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.life {
            Life::Pending { .. } => "pending",
            Life::Authorized(_) => "authorized",
            Life::Issued { .. } => "issued",
        }
    }

    /// Unix seconds at which its state ends by itself.
    #[must_use]
    pub fn deadline(&self) -> i64 {
        match &self.life {
            Life::Pending { .. } => self.grant.expires_at,
            Life::Authorized(authorization) | Life::Issued { authorization, .. } => authorization.exp,
        }
    }

    /// The grant under the requester's signature and those of the custodians given, in that order.
    #[must_use]
    pub fn with_signatures(&self, custodians: &[Signature]) -> GeneralJws {
        let signatures = self.filed.signatures.iter().chain(custodians).cloned().collect();
        GeneralJws { payload: self.filed.payload.clone(), signatures }
    }

    /// All that has been signed so far.
    #[must_use]
    pub fn statement(&self) -> GeneralJws {
        match &self.life {
            Life::Pending { approvals, denials } => {
                let signatures: Vec<Signature> = approvals.iter().chain(denials).cloned().collect();
                self.with_signatures(&signatures)
            }
            Life::Authorized(authorization) | Life::Issued { authorization, .. } => {
                self.with_signatures(&authorization.approvals)
            }
        }
    }

    /// The keys whose approvals it has, or was authorized upon.
    pub fn approvers(&self) -> impl Iterator<Item = Digest> {
        let approvals = match &self.life {
            Life::Pending { approvals, .. } => approvals,
            Life::Authorized(authorization) | Life::Issued { authorization, .. } => &authorization.approvals,
        };
        approvals.iter().map(|approval| approval.header().kid)
    }

    /// What a kill may hit of it, with its [`Self::approvers`].
    #[must_use]
    pub fn subject<'a>(&'a self, approvers: &'a [Digest]) -> Subject<'a> {
        let issuer = match &self.life {
            Life::Pending { .. } => None,
            Life::Authorized(authorization) | Life::Issued { authorization, .. } => Some(&authorization.kid),
        };
        Subject { id: self.id, grant: &self.grant, approvers, issuer }
    }

    /// Another approval; a newer one by the same key takes the place of the older.
    #[must_use]
    pub(super) fn approved(mut self, signature: Signature) -> Option<Self> {
        let Life::Pending { approvals, .. } = &mut self.life else { return None };
        approvals.retain(|old| old.header().kid != signature.header().kid);
        approvals.push(signature);
        Some(self)
    }

    /// Another denial.
    #[must_use]
    pub(super) fn denied(mut self, signature: Signature) -> Option<Self> {
        let Life::Pending { denials, .. } = &mut self.life else { return None };
        denials.push(signature);
        Some(self)
    }

    /// The quorum is complete.
    #[must_use]
    pub(super) fn authorized(self, authorization: Authorization) -> Option<Self> {
        match self.life {
            Life::Pending { .. } => Some(Self { life: Life::Authorized(authorization), ..self }),
            _ => None,
        }
    }

    /// Another process works on it.
    #[must_use]
    pub(super) fn taken_over(mut self, instance: InstanceId, since: Timestamp) -> Option<Self> {
        let Life::Authorized(authorization) = &mut self.life else { return None };
        authorization.instance = instance;
        authorization.since = since;
        Some(self)
    }

    /// Another key signs for it.
    #[must_use]
    pub(super) fn moved(mut self, kid: Digest) -> Option<Self> {
        let Life::Authorized(authorization) = &mut self.life else { return None };
        authorization.kid = kid;
        Some(self)
    }

    /// The HSM signed.
    #[must_use]
    pub(super) fn issued(self, jwt: Digest, jwe: String) -> Option<Self> {
        match self.life {
            Life::Authorized(authorization) => {
                let redemptions = BTreeSet::new();
                Some(Self {
                    life: Life::Issued { authorization, jwt, jwe, releases: 0, redemptions },
                    ..self
                })
            }
            _ => None,
        }
    }

    /// It was redeemed once more.
    #[must_use]
    pub(super) fn released(mut self, redemption: Digest) -> Option<Self> {
        let Life::Issued { releases, redemptions, .. } = &mut self.life else { return None };
        *releases = releases.saturating_add(1);
        redemptions.insert(redemption).then_some(self)
    }

    /// It ended.
    #[must_use]
    pub(super) fn closed(self, outcome: Outcome, at: Timestamp) -> Option<Closed> {
        let fits = match outcome {
            Outcome::Denied | Outcome::Withdrawn | Outcome::Lapsed | Outcome::Superseded => {
                matches!(self.life, Life::Pending { .. })
            }
            Outcome::Failed(_) => matches!(self.life, Life::Authorized(_)),
            Outcome::Expired | Outcome::Revoked => matches!(self.life, Life::Issued { .. }),
            Outcome::Killed => true,
        };
        let until = self.grant.dead_after();
        let issued = matches!(self.life, Life::Issued { .. });
        let Grant { sub, client_id, profile, .. } = self.grant;
        fits.then_some(Closed { outcome, at, sub, client_id, profile, until, issued })
    }
}
