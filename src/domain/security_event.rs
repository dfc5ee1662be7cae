//! Security events: what verifiers are told of tokens and keys that have ended, and when there is something to tell.
//!
//! Invariants: what is due follows from the state alone, so that no queue has to be kept and none can be lost; an event has one
//! id for each verifier, however often it is sent, by which a receiver knows it again; nobody is told of another
//! audience's tokens. What has expired by itself is not told.
//!
//! Specs: RFC 8417 (SET); RFC 9493 (`sub_id`); RFC 9278 (thumbprint URI); CAEP 1.0 (`session-revoked`, `credential-change`).

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    charter::{Charter, IssuingKey, Verifier},
    id::{Issuer, PrincipalId, RequestId},
    kill::Target,
    request::Outcome,
    state::State,
};
use crate::jose::{Digest, JoseError};

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// A token, with its subject; whether somebody handed it in, or it was killed.
    Token { jti: RequestId, sub: PrincipalId, handed_in: bool },
    /// An issuing key.
    Key { kid: Digest },
}

/// One event that a verifier is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its id: the `jti` of the SET.
    pub id: Digest,
    ended: Ended,
    /// When, Unix seconds.
    at: i64,
    verifier: PrincipalId,
    iss: Issuer,
}

#[derive(Serialize)]
struct Claims {
    aud: PrincipalId,
    events: Map<String, Value>,
    iat: i64,
    iss: Issuer,
    jti: Digest,
    sub_id: Value,
}

/// What this verifier is to be told, the oldest first: all that the state remembers, told already or not.
#[must_use]
pub fn due(state: &State, verifier: &Verifier) -> Vec<Due> {
    let Some(charter) = state.charter() else { return Vec::new() };
    let mut found: Vec<Due> =
        tokens(state, charter, verifier).chain(keys(state, charter, verifier)).collect();
    found.sort_by_key(|due| (due.at, due.id));
    found
}

fn tokens<'a>(
    state: &'a State,
    charter: &'a Charter,
    verifier: &'a Verifier,
) -> impl Iterator<Item = Due> + 'a {
    let serves = |profile: &_| charter.profile(profile).is_some_and(|profile| profile.aud == verifier.aud);
    state.all_closed().filter_map(move |(jti, closed)| {
        let ended = matches!(closed.outcome, Outcome::Killed | Outcome::Revoked);
        (ended && closed.issued && serves(&closed.profile)).then(|| {
            let handed_in = closed.outcome == Outcome::Revoked;
            let ended = Ended::Token { jti: *jti, sub: closed.sub.clone(), handed_in };
            Due::new(charter, verifier, ended, closed.at.seconds())
        })
    })
}

fn keys<'a>(
    state: &'a State,
    charter: &'a Charter,
    verifier: &'a Verifier,
) -> impl Iterator<Item = Due> + 'a {
    let profiles = &charter.document().profiles;
    let serves = move |key: &IssuingKey| {
        profiles.iter().any(|profile| profile.aud == verifier.aud && key.profiles.contains(&profile.id))
    };
    charter.document().issuing_keys.iter().filter(move |key| serves(key)).filter_map(move |key| {
        let kid = key.key.thumbprint();
        let killed = state.kills().standing().find(|recorded| recorded.kill.target == Target::Key(kid))?;
        Some(Due::new(charter, verifier, Ended::Key { kid }, killed.at.seconds()))
    })
}

impl Due {
    fn new(charter: &Charter, verifier: &Verifier, ended: Ended, at: i64) -> Self {
        let what = match &ended {
            Ended::Token { jti, .. } => format!("token {jti}"),
            Ended::Key { kid } => format!("key {kid}"),
        };
        let id = Digest::of(format!("security event for {}: {what} at {at}", verifier.id).as_bytes());
        let iss = charter.document().iss.clone();
        Self { id, ended, at, verifier: verifier.id.clone(), iss }
    }

    /// The payload of the SET that this issuer signs at this second.
    pub fn to_bytes(&self, iss: &Issuer, iat: i64) -> Result<Vec<u8>, JoseError> {
        let (name, event, sub_id) = match &self.ended {
            Ended::Token { jti, sub, handed_in } => {
                let reason = if *handed_in { "the token was handed in" } else { "the token was killed" };
                let event = json!({"event_timestamp": self.at,
                    "initiating_entity": if *handed_in { "user" } else { "admin" }, "reason_admin": {"en": reason}});
                let sub_id = json!({"format": "complex", "session": {"format": "opaque", "id": jti},
                    "user": {"format": "iss_sub", "iss": self.iss, "sub": sub}});
                (SESSION_REVOKED, event, sub_id)
            }
            Ended::Key { kid } => {
                let event = json!({"change_type": "revoke", "credential_type": "issuing-key",
                    "event_timestamp": self.at, "initiating_entity": "admin",
                    "reason_admin": {"en": "the issuing key was killed: refuse whatever it has signed"}});
                let uri = format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{kid}");
                (CREDENTIAL_CHANGE, event, json!({"format": "uri", "uri": uri}))
            }
        };
        let events = Map::from_iter([(name.to_owned(), event)]);
        let aud = self.verifier.clone();
        crate::jose::json::canonical(&Claims { aud, events, iat, iss: iss.clone(), jti: self.id, sub_id })
    }
}
