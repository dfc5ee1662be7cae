//! Who was not seen for long: what `list`, `station` and `doctor` say of custodians' keys.
//!
//! Invariant: when a key was last seen is the daemon's word, held against the own charter: it names the entry of the log
//! that proves it, and nothing but a reminder rests on it.

use anyhow::Result;

use super::{Session, daemon::Daemon, text};
use crate::{
    client::ClientError,
    domain::{
        charter::{KeyKind, Role, Rules},
        check_in::{Sighting, Watched},
    },
    grpc::v1,
    jose::Digest,
};

/// When the keys of custodians in term were last seen; what the own charter does not list is left out.
pub(super) fn watched(daemon: &Daemon, rules: &Rules) -> Result<Vec<Watched>, ClientError> {
    Ok(daemon.devices()?.iter().filter_map(|device| known(device, rules)).collect())
}

fn known(device: &v1::Device, rules: &Rules) -> Option<Watched> {
    let kid: Digest = device.kid.parse().ok()?;
    let holder = rules.holder(&kid)?;
    let KeyKind::Piv { serial } = holder.kind else { return None };
    let seen = device.seen_at.as_ref().map(|at| Sighting {
        at: at.seconds,
        index: device.seen_index,
        checked_in: device.checked_in_at.as_ref().map(|at| at.seconds),
    });
    Some(Watched { kid, serial, person: holder.principal.as_person(), seen })
}

/// Reminds of keys that were not seen for long, where the own role lets one see that. A reminder is worth no failure.
pub(super) fn remind(
    daemon: &Daemon,
    rules: &Rules,
    own: &Digest,
    now: i64,
    session: &mut Session,
) -> Result<()> {
    let sees = rules.holder(own).is_some_and(|me| me.has(Role::Custodian, now) || me.has(Role::Auditor, now));
    if !sees {
        return Ok(());
    }
    let Ok(watched) = watched(daemon, rules) else { return Ok(()) };
    for device in watched.iter().filter(|device| device.is_due(now)) {
        session.out.say(reminder(device, now))?;
    }
    let overdue = |open: &&v1::OpenReview| open.due.as_ref().is_some_and(|due| due.seconds <= now);
    match daemon.reviews().map(|open| open.iter().filter(overdue).count()) {
        Ok(count @ 1..) => session.out.say(format!(
            "{count} uses of emergency access should have been reviewed by now: breakglass review lists them."
        )),
        _ => Ok(()),
    }
}

/// What to tell the owner, and everybody who may have to rely on him.
pub(super) fn reminder(device: &Watched, now: i64) -> String {
    let (serial, person) = (device.serial, text::safe(device.person.as_str()));
    let since = match device.seen {
        Some(seen) => format!("was not seen for {}", text::duration(now - seen.at)),
        None => "was never seen".to_owned(),
    };
    format!(
        "YubiKey {serial} of {person} {since}: breakglass check-in --serial {serial} shows that it works."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_says_whose_key_it_is_and_what_to_do() {
        let seen = Some(Sighting { at: 1_000, index: 3, checked_in: None });
        let mut device =
            Watched { kid: Digest::of(b"key"), serial: 42, person: "carol".parse().unwrap(), seen };
        let text = reminder(&device, 1_000 + 41 * 86_400);
        assert_eq!(
            text,
            "YubiKey 42 of carol was not seen for 41 days: breakglass check-in --serial 42 shows that it works."
        );
        device.seen = None;
        assert!(reminder(&device, 0).contains("was never seen"));
    }
}
