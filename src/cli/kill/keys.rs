//! What a kill of an issuing key means for the HSM: its destruction, which no lift undoes.
//!
//! Invariant: it is said before the touch, from the own charter alone, and afterwards what the daemon says of it.

use serde_json::{Value, json};

use super::known::Known;
use crate::{
    cli::{daemon::Daemon, text},
    domain::{
        charter::{IssuingKey, KeyState, Rules},
        kill::Target,
    },
    jose::Digest,
};

/// A killed issuing key, and what of it the daemon says.
pub(super) struct Ending {
    kid: Digest,
    /// The reason of the last failure to destroy it, or an empty text; none where it is in no device any more.
    pending: Option<String>,
}

impl Ending {
    /// Of every issuing key whose kill stands; none where the daemon does not say.
    pub(super) fn ask(daemon: &Daemon, known: &Known, rules: &Rules) -> Option<Vec<Self>> {
        let keys = rules.document().issuing_keys.iter().map(|key| key.key.thumbprint());
        let killed: Vec<Digest> = keys.filter(|kid| known.kills.stands(&Target::Key(*kid))).collect();
        if killed.is_empty() {
            return Some(Vec::new());
        }
        let pending = daemon.describe().ok()?.to_destroy;
        let of = |kid: Digest| {
            let pending = pending.iter().find(|one| one.kid == kid.to_string());
            Self { kid, pending: pending.map(|one| one.reason.clone()) }
        };
        Some(killed.into_iter().map(of).collect())
    }

    pub(super) fn line(&self) -> String {
        let kid = self.kid;
        match &self.pending {
            None => format!("Issuing key {kid} is destroyed. A lift does not bring it back."),
            Some(reason) if reason.is_empty() => {
                format!(
                    "Issuing key {kid}: destruction in the HSM is pending. A lift before it keeps the key."
                )
            }
            Some(reason) => format!(
                "Issuing key {kid}: destruction in the HSM is PENDING, and tried again; the last attempt: {}",
                text::safe(reason)
            ),
        }
    }

    pub(super) fn json(&self) -> Value {
        let destruction = if self.pending.is_some() { "pending" } else { "done" };
        let reason = self.pending.as_ref().filter(|reason| !reason.is_empty());
        json!({"kid": self.kid, "destruction": destruction, "reason": reason})
    }
}

/// What to say before the touch; nothing, if the target is no issuing key.
pub(super) fn warning(target: &Target, rules: &Rules) -> Option<String> {
    let Target::Key(kid) = target else { return None };
    let keys = &rules.document().issuing_keys;
    let key = keys.iter().find(|key| key.key.thumbprint() == *kid)?;
    let others = keys.iter().filter(|other| *other != key && other.state == KeyState::Active);
    let left: Vec<String> = rules
        .document()
        .profiles
        .iter()
        .filter(|profile| key.state == KeyState::Active && key.profiles.contains(&profile.id))
        .filter(|profile| !others.clone().any(|other| other.profiles.contains(&profile.id)))
        .map(|profile| profile.id.to_string())
        .collect();
    let next = match left.as_slice() {
        [] if key.state != KeyState::Active => "It signs nothing now.".to_owned(),
        [] => format!("From then on {} signs.", listed(others)),
        profiles => format!(
            "No other key issues tokens of {}: nobody gets any until a charter names a new key (scripts/ceremony-panic).",
            profiles.join(", ")
        ),
    };
    Some(format!(
        "This DESTROYS the issuing key {kid} in the HSM, as soon as the daemon reaches it, and no lift brings a destroyed key back.\n{next}"
    ))
}

fn listed<'a>(keys: impl Iterator<Item = &'a IssuingKey>) -> String {
    let kids: Vec<String> = keys.map(|key| key.key.thumbprint().to_string()).collect();
    kids.join(", ")
}
