//! Who could approve now, and for how long: the charter's quorums, counted with the keys that were seen lately.

use std::collections::BTreeSet;

use super::checks::Check;
use crate::{
    cli::{readiness, setup::Setup, text},
    domain::{
        charter::{Outlook, Role, Rules},
        check_in::{REMIND_AFTER, Watched},
        id::PersonId,
    },
    jose::Digest,
};

/// Of every profile and of governance, by the daemon's word of when keys were last seen.
pub(super) fn checks(setup: &Setup, now: i64) -> Vec<Check> {
    let charter = &setup.charter;
    let own = setup.file_key().ok().map(|key| key.public.thumbprint());
    let sees = own
        .and_then(|own| charter.holder(&own))
        .is_some_and(|me| [Role::Custodian, Role::Auditor].iter().any(|role| me.has(*role, now)));
    if !sees {
        let next = "custodians and auditors see the forecast";
        return vec![Check::warn(
            "forecast",
            "your role does not let you see when keys were last used",
            next,
        )];
    }
    let watched = setup.connect().and_then(|daemon| Ok(readiness::watched(&daemon, charter)?));
    match watched {
        Ok(watched) => of(charter, &watched, now),
        Err(error) => {
            let next = "the daemon knows when keys were last seen: ask again when it can be reached";
            vec![Check::warn("forecast", text::safe(&format!("{error:#}")), next)]
        }
    }
}

fn of(charter: &Rules, watched: &[Watched], now: i64) -> Vec<Check> {
    // Of whoever's term is still to begin nothing is reported: his key counts from then on.
    let known: BTreeSet<Digest> = watched.iter().map(|key| key.kid).collect();
    let all = charter.holders().map(|holder| holder.key.thumbprint());
    let later = all.filter(|kid| !known.contains(kid));
    let seen = watched.iter().filter(|key| !key.is_due(now)).map(|key| key.kid);
    let keys: BTreeSet<Digest> = seen.chain(later).collect();
    charter.forecast(&keys, now).iter().map(|outlook| check(outlook, charter, now)).collect()
}

fn check(outlook: &Outlook, charter: &Rules, now: i64) -> Check {
    let place = outlook.profile.as_ref().map_or("governance", |profile| profile.as_str());
    let days = REMIND_AFTER / 86_400;
    let (ready, all) = (outlook.ready.len(), outlook.custodians.len());
    let counted =
        format!("{place}: {ready} of {all} custodians seen within {days} days; needs {}", outlook.needs);
    let away: Vec<&str> = outlook.custodians.difference(&outlook.ready).map(PersonId::as_str).collect();
    let ask = match away.as_slice() {
        [] => "add a custodian or a key: breakglass charter draft".to_owned(),
        _ => format!("have them run breakglass check-in: {}", away.join(", ")),
    };
    if !charter.is_in_force(now) {
        return Check::warn(
            "forecast",
            format!("{place}: nothing, under an expired charter"),
            "renew the charter",
        );
    }
    if !outlook.now {
        return Check::warn("forecast", format!("{counted}; those who were seen are too few"), ask);
    }
    let survives = if outlook.survives { "yes" } else { "no" };
    let found = format!("{counted}; survives the loss of any one key: {survives}");
    let end = text::instant(outlook.until);
    if outlook.until < charter.document().expires_at {
        let who: Vec<&str> = outlook.leaving.iter().map(PersonId::as_str).collect();
        let ends = format!(
            "{found}; from {end} on it can no longer be approved: the term of {} ends",
            who.join(", ")
        );
        return Check::warn("forecast", ends, "renew the term in the next charter: breakglass charter draft");
    }
    let found = format!("{found}; until the charter expires ({end})");
    if outlook.survives { Check::ok("forecast", found) } else { Check::warn("forecast", found, ask) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{doctor::checks::Health, fixture},
        domain::check_in::Sighting,
    };

    /// Every key of a custodian, seen at this second.
    fn seen_at(charter: &Rules, at: i64) -> Vec<Watched> {
        let now = charter.document().issued_at;
        let nothing = crate::domain::check_in::Sightings::default();
        let mut watched = nothing.watched(charter, now);
        for key in &mut watched {
            key.seen = Some(Sighting { at, index: 0, checked_in: None });
        }
        watched
    }

    #[test]
    fn who_could_approve_is_said_in_words() {
        let charter = fixture::rules();
        let now = charter.document().issued_at + REMIND_AFTER + 1;
        let mut watched = seen_at(&charter, now);
        let good = of(&charter, &watched, now);
        assert!(good.iter().all(|check| check.health == Health::Ok), "{good:?}");
        assert!(good[0].found.starts_with("governance: "), "{good:?}");
        assert!(good[1].found.contains("survives the loss of any one key: yes; until the charter expires"));

        let first = watched[0].clone();
        for key in watched.iter_mut().filter(|key| key.person != first.person) {
            key.seen = Some(Sighting { at: charter.document().issued_at, index: 0, checked_in: None });
        }
        let bad = of(&charter, &watched, now);
        assert!(bad.iter().all(|check| check.health == Health::Warn), "{bad:?}");
        assert!(
            bad[1].found.contains("too few") && bad[1].next.as_ref().unwrap().contains("check-in"),
            "{bad:?}"
        );
    }
}
