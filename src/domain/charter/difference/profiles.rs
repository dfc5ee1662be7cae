//! Profiles, and the formulas of who must agree.

use super::{Changes, list, outside, strength::as_strong};
use crate::domain::{
    charter::{Charter, Profile, RequesterKey, Rules},
    detail::Rule,
    quorum::Quorum,
};

/// The formula by which something is allowed: weaker is what fewer or other people satisfy.
pub(super) fn quorum(changes: &mut Changes, what: &str, before: &Quorum, after: &Quorum) {
    if before.formula() == after.formula() {
        return; // Members that join or leave a group have lines of their own.
    }
    let (stronger, weaker) = (as_strong(after, before), as_strong(before, after));
    let verb = match (stronger, weaker) {
        (true, true) => "rewrites",
        (true, false) => "raises",
        (false, true) => "lowers",
        (false, false) => "changes",
    };
    changes.add(!stronger, format!("{verb} {what} from {} to {}", before.describe(), after.describe()));
}

/// The formula of the recovery custodians: without one, nobody can go past governance.
pub(super) fn recovery(changes: &mut Changes, before: Option<&Quorum>, after: Option<&Quorum>) {
    match (before, after) {
        (Some(before), Some(after)) => quorum(changes, "recovery", before, after),
        (Some(gone), None) => {
            changes.add(false, format!("ends recovery, which was by {}", gone.describe()));
        }
        (None, Some(new)) => {
            let text = "lets sealed devices replace the custodians without governance: recovery by";
            changes.add(true, format!("{text} {}", new.describe()));
        }
        (None, None) => {}
    }
}

/// The formula by which something is refused: weaker is what more people are needed for.
fn denials(changes: &mut Changes, id: &str, before: Option<&Quorum>, after: Option<&Quorum>) {
    if before.map(Quorum::formula) == after.map(Quorum::formula) {
        return;
    }
    let weakens = match (before, after) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(after)) => !as_strong(before, after),
    };
    let describe =
        |quorum: Option<&Quorum>| quorum.map_or_else(|| "any one custodian".into(), Quorum::describe);
    changes.add(weakens, format!("changes denials of {id} from {} to {}", describe(before), describe(after)));
}

pub(super) fn profiles(changes: &mut Changes, before: &Charter, after: &Rules) {
    let both = (before.document().profiles.as_slice(), after.document().profiles.as_slice());
    changes.records(
        both,
        |profile| &profile.id,
        "profiles",
        |changes, old, new| match (old, new) {
            (Some(old), Some(new)) => {
                if let (Some(one), Some(other)) = (before.quorums(&old.id), after.quorums(&new.id)) {
                    quorum(changes, old.id.as_str(), &one.approve, &other.approve);
                    denials(changes, old.id.as_str(), one.deny.as_ref(), other.deny.as_ref());
                    let (before, after) = (old.review.as_ref(), new.review.as_ref());
                    let quorums = (one.review.as_ref(), other.review.as_ref());
                    outside::review(changes, old.id.as_str(), (before, quorums.0), (after, quorums.1));
                }
                profile(changes, old, new);
            }
            (Some(gone), None) => changes.add(false, format!("removes the profile {}", gone.id)),
            (None, Some(new)) => {
                let approvals = after.quorums(&new.id).map(|quorums| quorums.approve.describe());
                let text = format!(
                    "adds the profile {} at {}: {}; for at most {} s; approved by {}",
                    new.id,
                    new.aud,
                    list(new.authorization_details.iter().map(rule)),
                    new.max_ttl,
                    approvals.unwrap_or_default()
                );
                changes.add(true, text);
            }
            (None, None) => {}
        },
    );
}

fn profile(changes: &mut Changes, before: &Profile, after: &Profile) {
    let Profile {
        id,
        description,
        quorum: _,
        denials: _,
        aud,
        authorization_details,
        max_ttl,
        approval_window,
        cooldown,
        requester_key,
        stations,
        review: _,
        status,
    } = before;
    changes.member(
        description,
        &after.description,
        |_, _| true,
        |old, new| format!("describes {id} as {new:?} instead of {old:?}"),
    );
    changes.member(aud, &after.aud, |_, _| true, |old, new| format!("{id} is for {new} instead of {old}"));
    changes.records(
        (authorization_details, &after.authorization_details),
        rule,
        &format!("what {id} allows"),
        |changes, old, new| match (old, new) {
            (Some(old), None) => changes.add(false, format!("{id} no longer allows {}", rule(old))),
            (None, Some(new)) => changes.add(true, format!("{id} allows {}", rule(new))),
            _ => {}
        },
    );
    let mut seconds = |what: &str, before: u32, after: u32, weaker: fn(&u32, &u32) -> bool| {
        changes.member(&before, &after, weaker, |old, new| {
            let verb = if new > old { "lengthens" } else { "shortens" };
            format!("{verb} {what} of {id} from {old} s to {new} s")
        });
    };
    seconds("the longest life of tokens", *max_ttl, after.max_ttl, |old, new| new > old);
    seconds("the wait for approvals", *approval_window, after.approval_window, |old, new| new > old);
    seconds("the cooldown", *cooldown, after.cooldown, |old, new| new < old);
    changes.member(
        requester_key,
        &after.requester_key,
        |_, new| *new == RequesterKey::File,
        |_, new| {
            let with = match new {
                RequesterKey::File => "a file key instead of a hardware key",
                RequesterKey::Piv => "a hardware key instead of a file key",
            };
            format!("{id} is asked for with {with}")
        },
    );
    changes.member(
        stations,
        &after.stations,
        |_, new| *new,
        |_, new| {
            let count = if *new { "count" } else { "no longer count" };
            format!("approvals of {id} given at a station {count}")
        },
    );
    changes.member(
        status,
        &after.status,
        |_, new| !*new,
        |_, new| {
            let have = if *new { "have a place" } else { "have no place any more" };
            format!("tokens of {id} {have} in the status list")
        },
    );
}

fn rule(rule: &Rule) -> String {
    let Rule { kind, actions, locations, identifiers } = rule;
    let only = if identifiers.is_empty() { String::new() } else { format!(", only {}", list(identifiers)) };
    format!("{} on {}{only} ({kind})", list(actions), list(locations))
}
