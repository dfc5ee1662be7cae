//! Canaries: tokens without rights, by which a verifier shows whether it still accepts an issuing key.
//!
//! They are needed when a key is killed, at a time when nothing can be signed with it any more; so each pair of an active key and a
//! verifier that can be probed gets one as soon as a charter names both. The governance quorum that signed this charter is the
//! quorum of its canaries: this is the one exception to tokens being short-lived and bound to a key. Invariants: the claims
//! are a function of the charter, the pair, `iat` and the log position; they carry no scope, no details, no approvals and
//! a subject that no person or tool can have, so every strict verifier refuses them.

use serde::{Deserialize, Serialize};

use super::{
    charter::{Charter, IssuingKey, KeyState, Verifier},
    claims::LogPosition,
    id::{Audience, Issuer, PrincipalId},
    kill::Target,
    state::State,
};
use crate::jose::{Digest, JoseError, json};

/// Subject and client of every canary. No person or tool is called so: the charter refuses it.
pub const SUBJECT: &str = "breakglass-canary";

/// Seconds by which a canary outlives its charter: a key may be killed when the charter has expired.
const AFTER_CHARTER: i64 = 30 * 86_400;

/// A canary, authorized and perhaps signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Who is to be shown it.
    pub verifier: PrincipalId,
    /// The issuing key that signs it.
    pub kid: Digest,
    /// The charter that names both.
    pub charter: Digest,
    /// `iat`, Unix seconds.
    pub iat: i64,
    /// `exp`, Unix seconds.
    pub exp: i64,
    /// Digest of the claims' bytes.
    pub claims: Digest,
    /// The entry that authorized it.
    pub index: u64,
    /// The token, encrypted to the daemon's canary key; absent until it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwe: Option<String>,
}

/// The payload of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryClaims {
    /// Issuer.
    pub iss: Issuer,
    /// [`SUBJECT`].
    pub sub: String,
    /// The verifier's audience.
    pub aud: Audience,
    /// [`SUBJECT`].
    pub client_id: String,
    /// When it was authorized, Unix seconds.
    pub iat: i64,
    /// The same as `iat`.
    pub nbf: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
    /// Follows from charter, key, verifier and log position.
    pub jti: Digest,
    /// Empty: it allows nothing.
    pub scope: String,
    /// What only Breakglass knows.
    pub breakglass: CanaryMark,
}

/// The private claim of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryMark {
    /// The verifier it is for.
    pub canary: PrincipalId,
    /// The charter that demands it.
    pub charter: Digest,
    /// Where the log says so.
    pub log: LogPosition,
}

impl CanaryClaims {
    /// The claims that follow.
    #[must_use]
    pub fn new(charter: &Charter, verifier: &Verifier, kid: &Digest, iat: i64, log: LogPosition) -> Self {
        let digest = charter.digest();
        let id = &verifier.id;
        let name = format!("canary of {kid} for {id} under {digest} at {} {}", log.origin, log.index);
        Self {
            iss: charter.document().iss.clone(),
            sub: SUBJECT.to_owned(),
            aud: verifier.aud.clone(),
            client_id: SUBJECT.to_owned(),
            iat,
            nbf: iat,
            exp: charter.document().expires_at.saturating_add(AFTER_CHARTER),
            jti: Digest::of(name.as_bytes()),
            scope: String::new(),
            breakglass: CanaryMark { canary: id.clone(), charter: digest, log },
        }
    }

    /// The bytes that are signed: JCS.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        json::canonical(self)
    }
}

/// The verifier and the active key, if the charter in force wants a canary of the two.
#[must_use]
pub fn pair<'a>(
    charter: &'a Charter,
    verifier: &PrincipalId,
    kid: &Digest,
) -> Option<(&'a Verifier, &'a IssuingKey)> {
    wanted(charter).find(|(one, key)| one.id == *verifier && key.key.thumbprint() == *kid)
}

/// Every verifier that can be probed, with every active key of a profile that it serves.
fn wanted(charter: &Charter) -> impl Iterator<Item = (&Verifier, &IssuingKey)> {
    let document = charter.document();
    let active = document.issuing_keys.iter().filter(|key| key.state == KeyState::Active);
    let serves = |verifier: &Verifier, key: &IssuingKey| {
        let mut profiles = document.profiles.iter();
        profiles.any(|profile| profile.aud == verifier.aud && key.profiles.contains(&profile.id))
    };
    active.flat_map(move |key| {
        let verifiers = document.verifiers.iter().filter(|verifier| verifier.probe.is_some());
        verifiers.filter(move |verifier| serves(verifier, key)).map(move |verifier| (verifier, key))
    })
}

/// What stops canaries of this key at this second, if anything: the key was killed, or everything.
#[must_use]
pub fn stopped_by(state: &State, kid: &Digest, at: i64) -> Option<Target> {
    [Target::All, Target::Key(*kid)].into_iter().find(|target| state.kills.stops(target, at))
}

/// The pairs that have no canary under the charter in force yet.
#[must_use]
pub fn due(state: &State) -> Vec<(PrincipalId, Digest)> {
    let Some(charter) = state.charter() else { return Vec::new() };
    let has = |verifier: &PrincipalId, kid: &Digest| {
        state.canary(verifier, kid).is_some_and(|canary| canary.charter == charter.digest())
    };
    wanted(charter)
        .map(|(verifier, key)| (verifier.id.clone(), key.key.thumbprint()))
        .filter(|(verifier, kid)| !has(verifier, kid) && !state.is_destroyed(kid))
        .collect()
}

impl State {
    pub(super) fn canary_authorized(
        &mut self,
        (verifier, kid): (&PrincipalId, &Digest),
        (iat, exp): (i64, i64),
        claims: Digest,
        index: u64,
    ) -> Result<(), &'static str> {
        let charter = self.charter().ok_or("no charter is in force")?.digest();
        let (verifier, kid) = (verifier.clone(), *kid);
        let canary = Canary { verifier, kid, charter, iat, exp, claims, index, jwe: None };
        self.canaries.insert((canary.kid, canary.verifier.clone()), canary);
        Ok(())
    }

    pub(super) fn canary_issued(
        &mut self,
        (verifier, kid): (&PrincipalId, &Digest),
        jwe: &str,
    ) -> Result<(), &'static str> {
        let canary = self.canaries.get_mut(&(*kid, verifier.clone()));
        canary.ok_or("no such canary was authorized")?.jwe = Some(jwe.to_owned());
        Ok(())
    }
}
