//! Keys of the service, and what is demanded of those of people.

use super::{Changes, list};
use crate::{
    domain::charter::{AttestationPolicy, DaemonKey, IssuingKey, KeyState, LogKey, OperationalKey},
    jose::Digest,
};

pub(super) fn issuing(changes: &mut Changes, both: (&[IssuingKey], &[IssuingKey])) {
    changes.records(
        both,
        |key| key.key.thumbprint(),
        "issuing keys",
        |changes, before, after| match (before, after) {
            (Some(before), Some(after)) => {
                let IssuingKey { key, profiles, state } = before;
                let kid = key.thumbprint();
                changes.member(
                    key,
                    &after.key,
                    |_, _| true,
                    |old, new| format!("issuing key {kid} signs {} (it was {})", new.alg(), old.alg()),
                );
                // What a suspended key has signed is refused; of a deactivated one it is accepted.
                let revives = |old: &KeyState, new: &KeyState| match new {
                    KeyState::Active | KeyState::PreActive => true,
                    KeyState::Deactivated => *old == KeyState::Suspended,
                    KeyState::Suspended | KeyState::Compromised | KeyState::Destroyed => false,
                };
                changes.member(state, &after.state, revives, |old, new| {
                    format!("issuing key {kid} becomes {} (it was {})", new.as_str(), old.as_str())
                });
                changes.values(profiles, &after.profiles, (true, false), |gained, profile| {
                    let signs = if gained { "signs" } else { "no longer signs" };
                    format!("issuing key {kid} {signs} for {profile}")
                });
            }
            (Some(gone), None) => {
                let kid = gone.key.thumbprint();
                changes.add(false, format!("removes issuing key {kid}: all it signed is refused at once"));
            }
            (None, Some(IssuingKey { key, profiles, state })) => {
                let text = format!(
                    "adds issuing key {} ({}), {}, for {}",
                    key.thumbprint(),
                    key.alg(),
                    state.as_str(),
                    list(profiles)
                );
                changes.add(true, text);
            }
            (None, None) => {}
        },
    );
}

pub(super) fn operational(changes: &mut Changes, both: (&[OperationalKey], &[OperationalKey])) {
    changes.records(
        both,
        |key| key.key.thumbprint(),
        "operational keys",
        |changes, before, after| match (before, after) {
            (Some(OperationalKey { iss: old, key }), Some(OperationalKey { iss: new, .. })) if old != new => {
                let kid = key.thumbprint();
                changes.add(true, format!("operational key {kid} signs as {new} (it was {old})"));
            }
            (Some(gone), None) => {
                changes.add(false, format!("removes operational key {}", gone.key.thumbprint()));
            }
            (None, Some(OperationalKey { iss, key })) => {
                changes.add(
                    true,
                    format!(
                        "adds operational key {}, which signs status lists and events as {iss}",
                        key.thumbprint()
                    ),
                );
            }
            _ => {}
        },
    );
}

pub(super) fn logs(changes: &mut Changes, both: (&[LogKey], &[LogKey])) {
    changes.records(
        both,
        |log| log.origin.to_string(),
        "log keys",
        |changes, before, after| match (before, after) {
            (Some(LogKey { origin, key: old }), Some(LogKey { key: new, .. })) if old != new => {
                changes.add(true, format!("changes the key of log {origin} to {}", new.thumbprint()));
            }
            (Some(gone), None) => changes.add(true, format!("removes the log {}", gone.origin)),
            (None, Some(new)) => {
                changes.add(true, format!("adds the log {} with key {}", new.origin, new.key.thumbprint()));
            }
            _ => {}
        },
    );
}

pub(super) fn daemons(changes: &mut Changes, both: (&[DaemonKey], &[DaemonKey])) {
    changes.records(
        both,
        |daemon| &daemon.id,
        "daemons",
        |changes, before, after| match (before, after) {
            (Some(DaemonKey { id, spki: old }), Some(DaemonKey { spki: new, .. })) if old != new => {
                changes.add(true, format!("changes the key of daemon {id} to {new}"));
            }
            (Some(gone), None) => changes.add(false, format!("removes the daemon {}", gone.id)),
            (None, Some(new)) => {
                changes.add(true, format!("adds the daemon {} with key {}", new.id, new.spki));
            }
            _ => {}
        },
    );
}

pub(super) fn attestation(changes: &mut Changes, (before, after): (&AttestationPolicy, &AttestationPolicy)) {
    let AttestationPolicy { roots, intermediates, minimum_firmware, advisories } = before;
    let named = |what, gained: bool, der: &String| {
        format!(
            "{} an attestation {what}: {}",
            if gained { "adds" } else { "removes" },
            Digest::of(der.as_bytes())
        )
    };
    // Without any root nothing is demanded at all.
    let all_gone = after.roots.is_empty();
    changes.records(
        (roots, &after.roots),
        |root| root,
        "attestation roots",
        |changes, old, new| match (old, new) {
            (Some(root), None) => changes.add(all_gone, named("root", false, root)),
            (None, Some(root)) => changes.add(true, named("root", true, root)),
            _ => {}
        },
    );
    changes.values(intermediates, &after.intermediates, (true, false), |gained, der| {
        named("intermediate", gained, der)
    });
    changes.values(advisories, &after.advisories, (false, true), |gained, advisory| {
        let verb = if gained { "refuses" } else { "accepts again" };
        format!("{verb} devices that {advisory} affects")
    });
    changes.member(
        minimum_firmware,
        &after.minimum_firmware,
        |old, new| new < old,
        |old, new| {
            let say = |firmware: &Option<_>| {
                firmware.map_or_else(
                    || "any".to_owned(),
                    |firmware: crate::domain::charter::Firmware| firmware.to_string(),
                )
            };
            format!("changes the oldest firmware of devices from {} to {}", say(old), say(new))
        },
    );
}
