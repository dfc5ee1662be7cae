//! The claims of a token: a function of grant, charter, approvals, `iat`, log position and place in the status list, and of
//! nothing else.
//!
//! Invariant: whoever has these six computes the same bytes, so a verifier needs to believe none of the claims.
//! Specs: RFC 9068 (profile), 9396 (details), 8693 (`act`), 8176 (`amr`), 7800 (`cnf`), 8417 (`txn`).

use serde::{Deserialize, Serialize};

use super::{
    charter::{KeyKind, Permit},
    detail::{self, Detail},
    grant::{Confirmation, Grant},
    id::{Audience, Incident, Issuer, PrincipalId, ProfileId, RequestId},
    status::{self, Place, Status},
};
use crate::{
    jose::{Digest, GeneralJws, JoseError, json},
    tlog::Origin,
};

/// Authentication context of every token: a quorum of people approved this very grant.
const ACR: &str = "urn:breakglass:acr:quorum";

/// The payload of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Issuer.
    pub iss: Issuer,
    /// Who gets access.
    pub sub: PrincipalId,
    /// The one audience.
    pub aud: Audience,
    /// Who asked.
    pub client_id: PrincipalId,
    /// When it was minted, Unix seconds.
    pub iat: i64,
    /// The same as `iat`.
    pub nbf: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
    /// The request's id.
    pub jti: RequestId,
    /// `type:action` words.
    pub scope: String,
    /// What it allows.
    pub authorization_details: Vec<Detail>,
    /// The tool that acts for `sub`, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// Always the quorum's context class.
    pub acr: String,
    /// How the requester authenticated.
    pub amr: Vec<String>,
    /// The key it is bound to.
    pub cnf: Confirmation,
    /// The session: the request.
    pub sid: RequestId,
    /// The transaction: the incident.
    pub txn: Incident,
    /// Where the status list has it, under profiles that ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What only Breakglass knows.
    pub breakglass: Private,
}

/// The party that acts for `sub`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The tool.
    pub sub: PrincipalId,
}

/// The private claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Private {
    /// Under which profile.
    pub profile: ProfileId,
    /// For which incident.
    pub incident: Incident,
    /// Whether it is a rehearsal.
    pub drill: bool,
    /// Under which charter.
    pub charter: Digest,
    /// The grant, signed by the requester and by the custodians.
    pub approvals: GeneralJws,
    /// Where the log says so.
    pub log: LogPosition,
}

/// The entry that authorized the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// Which log.
    pub origin: Origin,
    /// Which entry, from 0.
    pub index: u64,
}

impl Claims {
    /// The claims that follow. `status` is the token's place in the status list; without meaning where the profile has none.
    #[must_use]
    pub fn new(
        grant: &Grant,
        permit: &Permit<'_>,
        approvals: GeneralJws,
        iat: i64,
        log: LogPosition,
        status: Option<u32>,
    ) -> Self {
        let jti = Grant::id_of(&approvals.payload);
        let acts = grant.sub != grant.client_id;
        let amr: &[&str] = match permit.requester.kind {
            KeyKind::File => &["swk"],
            KeyKind::Piv { .. } => &["hwk", "pin", "user"],
        };
        Self {
            iss: grant.iss.clone(),
            sub: grant.sub.clone(),
            aud: grant.aud.clone(),
            client_id: grant.client_id.clone(),
            iat,
            nbf: iat,
            exp: iat.saturating_add(i64::from(grant.ttl)),
            jti,
            scope: detail::scope(&grant.authorization_details),
            authorization_details: grant.authorization_details.clone(),
            act: acts.then(|| Actor { sub: grant.client_id.clone() }),
            acr: ACR.to_owned(),
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            cnf: grant.cnf,
            sid: jti,
            txn: grant.incident.clone(),
            status: status
                .zip(permit.lists)
                .map(|(idx, issuer)| Status { status_list: Place { idx, uri: status::uri(issuer) } }),
            breakglass: Private {
                profile: grant.profile.clone(),
                incident: grant.incident.clone(),
                drill: grant.drill,
                charter: grant.charter,
                approvals,
                log,
            },
        }
    }

    /// The bytes that are signed: JCS.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        json::canonical(self)
    }
}

/// What the base64url of this many bytes takes.
const fn encoded(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// An upper bound for the bytes of a token, from those of its claims with the request alone, the approvals to come, and
/// those of the issuing key's signature.
#[must_use]
pub fn token_bytes(claims: usize, approvals: usize, stations: bool, signature: usize) -> usize {
    /// `{"alg":"ES256","kid":"…","typ":"at+jwt"}`; the names of all algorithms have five letters.
    const HEADER: usize = 82;
    /// Of an approval, which is always ES256.
    const SIGNATURE: usize = 86;
    /// `{"alg":"ES256","iat":…,"kid":"…","typ":"breakglass-approval+jws"}`; a year has at most four digits, so an
    /// instant at most twelve.
    const APPROVAL: usize = 124;
    /// `"station":"…",`.
    const STATION: usize = 77;
    /// `,{"protected":"…","signature":"…"}`.
    const AROUND: usize = 32;
    let header = if stations { APPROVAL + STATION } else { APPROVAL };
    let statement = encoded(header) + SIGNATURE + AROUND;
    encoded(HEADER) + encoded(claims + approvals * statement) + encoded(signature) + 2
}

/// The most bytes that the token of this request can have, with an issuing key whose signatures have so many bytes.
pub fn largest_token(
    grant: &Grant,
    permit: &Permit<'_>,
    request: &GeneralJws,
    origin: &Origin,
    approvals: usize,
    signature: usize,
) -> Result<usize, JoseError> {
    // The longest numbers there can be; the rest of the claims is known already.
    let log = LogPosition { origin: origin.clone(), index: (1 << 53) - 1 };
    let latest = grant.expires_at.max(grant.requested_at);
    let last = Some(status::CAPACITY - 1);
    let claims = Claims::new(grant, permit, request.clone(), latest, log, last).to_bytes()?;
    Ok(token_bytes(claims.len(), approvals, permit.profile.stations, signature))
}
