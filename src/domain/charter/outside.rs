//! What stands outside the daemon: verifiers, those who may kill without being custodians, and who keeps copies of the log.
//!
//! Here are shape and rules. What is named here acts elsewhere: a charter only says who it is and how to reach it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    CharterError,
    document::{Document, OperationalKey},
};
use crate::{
    domain::{
        id::{Audience, Endpoint, PrincipalId},
        quorum::Formula,
    },
    jose::{Digest, Ed25519PublicKey, P256PublicKey},
    tlog::Origin,
};

/// A body in which a verifier gets a JWT, in bytes at most.
const MAX_BODY_BYTES: usize = 2_000;
/// Where the JWT stands in a body.
const PLACE: &str = "{jwt}";
const MAX_VERIFIERS: usize = 64;
/// One that signs, one that follows it, and one for a bad day.
const MAX_OPERATIONAL_KEYS: usize = 3;
const MAX_RECEIPTS: usize = 16;
const MAX_SESSION: u32 = 30 * 86_400;
const MAX_REVIEW: u32 = 30 * 86_400;

/// Somebody who accepts tokens, as far as it is known: what a kill has to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Its id, distinct from all persons' and tools'.
    pub id: PrincipalId,
    /// The audience whose tokens it accepts: that of one profile at least.
    pub aud: Audience,
    /// How to have it look at a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Seconds that a session of its own outlives the token that began it; absent if it looks at the token each time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub longest_session: u32,
    /// Where its sessions can be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_hook: Option<Endpoint>,
    /// Its own keys, for TLS and statements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<P256PublicKey>,
    /// SHA-256 of the text of the secret with which it asks the daemon about tokens; the secret is 256 random bits, so that
    /// nobody guesses it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Digest>,
    /// Where security events are pushed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Endpoint>,
}

/// How to show a verifier a JWT: a POST of the body, or a GET with it as bearer token where there is no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Where.
    pub url: Endpoint,
    /// JSON with `{jwt}` where the JWT goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What a kill can be aimed at. In the order of the texts, which is that of signed maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KillLevel {
    /// Everything: a lockdown.
    All,
    /// One token.
    Jti,
    /// An issuing key.
    Key,
    /// A profile.
    Profile,
    /// One request.
    Request,
    /// Everything of one requester.
    Requester,
}

impl KillLevel {
    /// All of them.
    pub const EVERY: [Self; 6] =
        [Self::All, Self::Jti, Self::Key, Self::Profile, Self::Request, Self::Requester];

    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Jti => "jti",
            Self::Key => "key",
            Self::Profile => "profile",
            Self::Request => "request",
            Self::Requester => "requester",
        }
    }
}

/// Copies outside that have to exist before the HSM signs: `threshold` receipts of witnesses and sinks together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// How many receipts suffice.
    pub threshold: u32,
    /// Who cosigns checkpoints (C2SP tlog-cosignature).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<Witness>,
    /// Who takes entries, and signs for a checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<Sink>,
}

/// A witness, by the name and key of its cosignatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its name in signature lines.
    pub name: Origin,
    /// Its key.
    pub key: Ed25519PublicKey,
}

/// Another host that keeps entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// Its id, distinct from all other principals'.
    pub id: PrincipalId,
    /// The key with which it signs receipts.
    pub key: P256PublicKey,
}

/// What has to follow a use of emergency access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Seconds after the token was issued.
    pub within: u32,
    /// Who has to have reviewed it.
    pub by: Formula,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn refuse<T>(why: String) -> Result<T, CharterError> {
    Err(CharterError::Content(why))
}

/// The rules for all of it that need no formula.
pub(super) fn check(document: &Document) -> Result<(), CharterError> {
    if document.verifiers.len() > MAX_VERIFIERS {
        return refuse(format!("at most {MAX_VERIFIERS} verifiers"));
    }
    for verifier in &document.verifiers {
        self::verifier(document, verifier)?;
    }
    operational(document)?;
    kill_rights(document)?;
    document.receipts.as_ref().map_or(Ok(()), receipts)
}

fn verifier(document: &Document, verifier: &Verifier) -> Result<(), CharterError> {
    let Verifier { id, aud, probe, longest_session, revocation_hook, .. } = verifier;
    let mut served = document.profiles.iter().filter(|profile| profile.aud == *aud).peekable();
    if served.peek().is_none() {
        return refuse(format!("verifier {id} is for {aud}, which is the audience of no profile"));
    }
    if *longest_session > MAX_SESSION {
        return refuse(format!("verifier {id}: its longest session is 30 days at most"));
    }
    if let Some(body) = probe.as_ref().and_then(|probe| probe.body.as_ref()) {
        let places = body.matches(PLACE).count();
        if places != 1 || body.len() > MAX_BODY_BYTES {
            return refuse(format!(
                "verifier {id}: the body of its probe has {PLACE} in it once, and {MAX_BODY_BYTES} bytes at most"
            ));
        }
    }
    // A session that outlives the token is access that no kill of a token ends.
    match served.find(|profile| *longest_session > profile.max_ttl) {
        Some(profile) if revocation_hook.is_none() => refuse(format!(
            "verifier {id} keeps sessions for {longest_session} s, longer than a token of {} lives ({} s), and names no revocation_hook to end them",
            profile.id, profile.max_ttl
        )),
        _ => Ok(()),
    }
}

/// What is said about tokens is said under another issuer than theirs, by a key that signs nothing else.
fn operational(document: &Document) -> Result<(), CharterError> {
    let keys = &document.operational_keys;
    if keys.len() > MAX_OPERATIONAL_KEYS {
        return refuse(format!("at most {MAX_OPERATIONAL_KEYS} operational keys"));
    }
    if keys.iter().any(|key| key.iss == document.iss) {
        return refuse(
            "an operational key has another issuer than tokens have: a lax verifier could take what it signs for one".into(),
        );
    }
    if let (Some(first), true) = (keys.first(), keys.windows(2).any(differ)) {
        return refuse(format!("all operational keys have one issuer, that of the first: {}", first.iss));
    }
    if !keys.is_empty() {
        return Ok(());
    }
    if let Some(profile) = document.profiles.iter().find(|profile| profile.status) {
        return refuse(format!(
            "profile {} needs a status list, and no operational key would sign it",
            profile.id
        ));
    }
    match document.verifiers.iter().find(|verifier| verifier.events.is_some()) {
        Some(verifier) => refuse(format!(
            "verifier {} is sent security events, and no operational key would sign them",
            verifier.id
        )),
        None => Ok(()),
    }
}

fn differ(pair: &[OperationalKey]) -> bool {
    matches!(pair, [one, other] if one.iss != other.iss)
}

fn kill_rights(document: &Document) -> Result<(), CharterError> {
    let persons: BTreeSet<PrincipalId> =
        document.persons.iter().map(|person| person.id.clone().into()).collect();
    let known =
        |id: &PrincipalId| persons.contains(id) || document.clients.iter().any(|client| client.id == *id);
    for (level, principals) in &document.kill_rights {
        if principals.is_empty() {
            return refuse(format!("kill right {} names nobody; leave it out", level.as_str()));
        }
        if let Some(stranger) = principals.iter().find(|id| !known(id)) {
            return refuse(format!(
                "{stranger} may kill at level {}, but is no person or tool of this charter",
                level.as_str()
            ));
        }
    }
    Ok(())
}

fn receipts(receipts: &Receipts) -> Result<(), CharterError> {
    let Receipts { threshold, witnesses, sinks } = receipts;
    let names: BTreeSet<_> = witnesses.iter().map(|witness| witness.name.to_string()).collect();
    let keys: BTreeSet<_> = witnesses.iter().map(|witness| witness.key).collect();
    if names.len() < witnesses.len() || keys.len() < witnesses.len() {
        return refuse("two witnesses share a name or a key: one of them would count twice".into());
    }
    let all = witnesses.len().saturating_add(sinks.len());
    if all > MAX_RECEIPTS || !(1..=all).contains(&usize::try_from(*threshold).unwrap_or(usize::MAX)) {
        return refuse(format!(
            "receipts: the threshold is 1 to the number of witnesses and sinks ({all}), which is {MAX_RECEIPTS} at most"
        ));
    }
    Ok(())
}

/// How long a review may take.
pub(super) fn review(profile: &super::Profile) -> Result<(), CharterError> {
    match &profile.review {
        Some(review) if !(1..=MAX_REVIEW).contains(&review.within) => {
            refuse(format!("profile {}: a review is within 1 second to 30 days", profile.id))
        }
        _ => Ok(()),
    }
}
