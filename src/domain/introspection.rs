//! What a verifier that asks is told of a token: whether it counts now, for this verifier, and what it says.
//!
//! Invariants: a token is judged as every strict verifier judges it, by its signature and not by its `jti`, and only then is it
//! looked up in the state; whoever asks is told of tokens of his own audience, and of any other the same as of none. A
//! canary counts for the one verifier it was made for, until its key is killed: without scope and details, so that a probe
//! shows what the verifier believes and opens nothing.
//!
//! Spec: RFC 7662; RFC 9449 section 6.2 and RFC 8705 section 3.2 (`cnf`); RFC 9396 section 9.2 (details).

use serde::Serialize;

use super::{
    canary::{self, CanaryClaims},
    charter::{Charter, IssuingKey, KeyState, Verifier},
    claims::{Actor, Claims},
    detail::Detail,
    grant::{Confirmation, Grant},
    id::{Audience, Incident, RequestId},
    kill::{Kill, Subject},
    request::Life,
    state::State,
    strict::{self, MAX_JWT_BYTES, Rejection, Seen, View},
};
use crate::jose::{CompactJwt, Digest, GeneralJws, json};

/// A token that is what it claims to be, as far as charter and time decide.
#[derive(Debug, Clone)]
pub enum Presented {
    /// An access token.
    Token {
        /// What it says.
        claims: Box<Claims>,
        /// What it follows from.
        grant: Box<Grant>,
        /// The key that signed it.
        kid: Digest,
        /// Digest of its claims' bytes.
        digest: Digest,
    },
    /// A canary.
    Canary {
        /// What it says.
        claims: Box<CanaryClaims>,
        /// The key that signed it.
        kid: Digest,
        /// Digest of its claims' bytes.
        digest: Digest,
    },
}

/// What is told of a token that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    active: bool,
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    scope: String,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<Vec<Detail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<Incident>,
}

/// Judges a token for this verifier by the charter and the time, `now` in Unix seconds; the reason if it is none. Asks no
/// state, since verifying takes its time.
pub fn examine(
    charter: &Charter,
    verifier: &Verifier,
    jwt: &str,
    now: i64,
) -> Result<Presented, &'static str> {
    let token = CompactJwt::parse(jwt, MAX_JWT_BYTES).map_err(|error| error.reason())?;
    match json::parse::<CanaryClaims>(token.payload(), MAX_JWT_BYTES) {
        Ok(claims) => canary(charter, verifier, &token, claims, now),
        Err(_) => examine_for(charter, &verifier.aud, jwt, now),
    }
}

/// The same of an access token, for whoever serves this audience.
fn examine_for(
    charter: &Charter,
    audience: &Audience,
    jwt: &str,
    now: i64,
) -> Result<Presented, &'static str> {
    let token = CompactJwt::parse(jwt, MAX_JWT_BYTES).map_err(|error| error.reason())?;
    // The daemon serves under a development charter, or not: whoever asks it has decided that. Kills are looked up in its
    // state, and one token of each jti is in it.
    let view = View { charter, audience, now, allow_development: true, killed: None };
    let accepted = strict::verify(jwt, &view, &mut Seen::default()).map_err(|why| why.reason())?;
    Ok(Presented::Token {
        claims: Box::new(accepted.claims),
        grant: Box::new(accepted.grant),
        kid: *token.kid(),
        digest: Digest::of(token.payload()),
    })
}

/// Judges an access token that somebody hands in who is no verifier: it counts for its own audience.
pub fn examine_own(charter: &Charter, jwt: &str, now: i64) -> Result<Presented, &'static str> {
    let token = CompactJwt::parse(jwt, MAX_JWT_BYTES).map_err(|error| error.reason())?;
    let claims: Claims = json::parse(token.payload(), MAX_JWT_BYTES).map_err(|error| error.reason())?;
    examine_for(charter, &claims.aud, jwt, now)
}

fn canary(
    charter: &Charter,
    verifier: &Verifier,
    token: &CompactJwt,
    claims: CanaryClaims,
    now: i64,
) -> Result<Presented, &'static str> {
    let accepted = |key: &&IssuingKey| {
        matches!(key.state, KeyState::Active | KeyState::Deactivated) && key.key.thumbprint() == *token.kid()
    };
    let key = charter.document().issuing_keys.iter().find(accepted);
    let key = key.ok_or_else(|| Rejection::IssuingKey.reason())?;
    token.verify(&key.key).map_err(|_| Rejection::Signature.reason())?;
    if claims.breakglass.canary != verifier.id || claims.aud != verifier.aud {
        return Err(Rejection::Audience(claims.aud).reason());
    }
    if claims.exp <= now {
        return Err(Rejection::Time.reason());
    }
    Ok(Presented::Canary { claims: Box::new(claims), kid: *token.kid(), digest: Digest::of(token.payload()) })
}

impl Presented {
    /// Whether the log has it, and nothing has stopped it, `now` in Unix seconds. `unrecorded` are kills in force that the
    /// log has not taken.
    pub fn stands(&self, state: &State, unrecorded: &[GeneralJws], now: i64) -> Result<(), &'static str> {
        if state.replacement().ended().is_some() {
            return Err("CHAIN_ENDED");
        }
        match self {
            Self::Token { claims, grant, kid, digest } => {
                let request = state.request(&claims.jti);
                let issued = request.is_some_and(|request| match request.life() {
                    Life::Issued { authorization, .. } => authorization.claims == *digest,
                    _ => false,
                });
                if !issued {
                    // Never issued, or over: killed, revoked, expired.
                    return Err(state.closed(&claims.jti).map_or("NOT_ISSUED", |_| "ENDED"));
                }
                let approvals = claims.breakglass.approvals.signatures.iter().skip(1);
                let approvers: Vec<Digest> = approvals.map(|approval| approval.header().kid).collect();
                let subject = Subject { id: claims.jti, grant, approvers: &approvers, issuer: Some(kid) };
                state.kills().refuse(&subject, claims.iat).map_err(|why| why.reason())?;
                let mut kills = unrecorded.iter().filter_map(|jws| Kill::parse(&jws.payload).ok());
                if kills.any(|kill| subject.is_hit(&kill.target)) { Err("KILL_UNRECORDED") } else { Ok(()) }
            }
            Self::Canary { claims, kid, digest } => {
                let made = state.canary(&claims.breakglass.canary, kid);
                if made.is_none_or(|canary| canary.claims != *digest) {
                    return Err("NOT_ISSUED");
                }
                if canary::stopped_by(state, kid, now).is_some() {
                    return Err("KEY_KILLED");
                }
                let stops = |kill: &Kill| {
                    [super::kill::Target::All, super::kill::Target::Key(*kid)].contains(&kill.target)
                };
                let mut kills = unrecorded.iter().filter_map(|jws| Kill::parse(&jws.payload).ok());
                if kills.any(|kill| stops(&kill)) { Err("KILL_UNRECORDED") } else { Ok(()) }
            }
        }
    }

    /// The request that it came of; none for a canary.
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Token { claims, .. } => Some(claims.jti),
            Self::Canary { .. } => None,
        }
    }

    /// What is told of it.
    #[must_use]
    pub fn told(&self) -> Told {
        match self {
            Self::Token { claims, .. } => Told {
                active: true,
                iss: claims.iss.to_string(),
                sub: claims.sub.to_string(),
                aud: claims.aud.to_string(),
                client_id: claims.client_id.to_string(),
                iat: claims.iat,
                nbf: claims.nbf,
                exp: claims.exp,
                jti: claims.jti.to_string(),
                scope: claims.scope.clone(),
                token_type: match claims.cnf {
                    Confirmation::Jkt(_) => "DPoP",
                    Confirmation::Certificate(_) => "Bearer",
                },
                authorization_details: Some(claims.authorization_details.clone()),
                act: claims.act.clone(),
                cnf: Some(claims.cnf),
                txn: Some(claims.txn.clone()),
            },
            Self::Canary { claims, .. } => Told {
                active: true,
                iss: claims.iss.to_string(),
                sub: claims.sub.clone(),
                aud: claims.aud.to_string(),
                client_id: claims.client_id.clone(),
                iat: claims.iat,
                nbf: claims.nbf,
                exp: claims.exp,
                jti: claims.jti.to_string(),
                scope: claims.scope.clone(),
                token_type: "Bearer",
                authorization_details: None,
                act: None,
                cnf: None,
                txn: None,
            },
        }
    }
}
