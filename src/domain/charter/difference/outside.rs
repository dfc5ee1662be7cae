//! Verifiers, kill rights, copies outside and reviews.

use super::{Changes, list, strength::as_strong};
use crate::domain::{
    charter::{Document, KillLevel, Probe, Receipts, Review, Sink, Verifier, Witness},
    quorum::Quorum,
};
use crate::jose::{Digest, P256PublicKey};

/// A profile's demand with its formula resolved.
pub(super) type Reviewed<'a> = (Option<&'a Review>, Option<&'a Quorum>);

pub(super) fn verifiers(changes: &mut Changes, both: (&[Verifier], &[Verifier])) {
    changes.records(
        both,
        |verifier| &verifier.id,
        "verifiers",
        |changes, old, new| match (old, new) {
            (Some(old), Some(new)) => verifier(changes, old, new),
            // What nobody knows of, no kill reaches.
            (Some(gone), None) => {
                changes
                    .add(true, format!("forgets the verifier {}: no kill is proven there any more", gone.id));
            }
            (
                None,
                Some(Verifier { id, aud, probe, longest_session, revocation_hook, keys, secret, events }),
            ) => {
                let text = format!(
                    "adds the verifier {id} for {aud}, {}; {}; {}{}{}",
                    shown(probe.as_ref()),
                    sessions(*longest_session, revocation_hook.as_ref()),
                    owned(keys.iter().map(|key| key.thumbprint().to_string())),
                    secret.map_or_else(String::new, |secret| format!("; {}", asks(Some(secret)))),
                    events.as_ref().map_or_else(String::new, |url| format!("; {}", told(Some(url)))),
                );
                changes.add(*longest_session > 0, text);
            }
            (None, None) => {}
        },
    );
}

fn verifier(changes: &mut Changes, before: &Verifier, after: &Verifier) {
    let Verifier { id, aud, probe, longest_session, revocation_hook, keys, secret, events } = before;
    changes.member(
        aud,
        &after.aud,
        |_, _| true,
        |old, new| format!("{id} verifies for {new} instead of {old}"),
    );
    changes.member(
        probe,
        &after.probe,
        |_, _| true,
        |old, new| format!("{id} is {} (it was {})", shown(new.as_ref()), shown(old.as_ref())),
    );
    changes.member(
        &(*longest_session, revocation_hook),
        &(after.longest_session, &after.revocation_hook),
        |old, new| new.0 > old.0 || old.1 != new.1,
        |old, new| {
            format!("{id} {} (it was: {})", sessions(new.0, new.1.as_ref()), sessions(old.0, old.1.as_ref()))
        },
    );
    changes.records(
        (keys, &after.keys),
        P256PublicKey::thumbprint,
        &format!("keys of {id}"),
        |changes, old, new| match (old, new) {
            (Some(gone), None) => {
                changes.add(false, format!("takes the key {} from {id}", gone.thumbprint()));
            }
            (None, Some(new)) => changes.add(true, format!("gives {id} the key {}", new.thumbprint())),
            _ => {}
        },
    );
    // Whoever has a new secret sees claims of tokens; and who is not told any more goes on accepting.
    changes.member(
        secret,
        &after.secret,
        |_, _| true,
        |old, new| format!("{id} {} (it was: {})", asks(*new), asks(*old)),
    );
    changes.member(
        events,
        &after.events,
        |_, _| true,
        |old, new| format!("{id} {} (it was: {})", told(new.as_ref()), told(old.as_ref())),
    );
}

fn asks(secret: Option<Digest>) -> String {
    secret.map_or_else(
        || "cannot ask the daemon about tokens".to_owned(),
        |digest| format!("asks the daemon about tokens with the secret of digest {digest}"),
    )
}

fn told(events: Option<&impl ToString>) -> String {
    events.map_or_else(
        || "is sent no security events".to_owned(),
        |url| format!("is sent security events at {}", url.to_string()),
    )
}

fn shown(probe: Option<&Probe>) -> String {
    match probe {
        None => "never shown a token".into(),
        Some(Probe { url, body: None }) => format!("shown tokens at {url}"),
        Some(Probe { url, body: Some(body) }) => format!("shown tokens at {url} as {body:?}"),
    }
}

fn sessions(longest: u32, hook: Option<&impl ToString>) -> String {
    let lasts =
        if longest == 0 { "keeps no sessions".to_owned() } else { format!("keeps sessions for {longest} s") };
    hook.map_or_else(|| lasts.clone(), |hook| format!("{lasts}, ended at {}", hook.to_string()))
}

fn owned(keys: impl Iterator<Item = String>) -> String {
    format!("keys: {}", list(keys))
}

pub(super) fn kill_rights(changes: &mut Changes, before: &Document, after: &Document) {
    let pairs = |document: &Document| -> Vec<(KillLevel, String)> {
        let rights = document.kill_rights.iter();
        rights.flat_map(|(level, who)| who.iter().map(|id| (*level, id.to_string()))).collect()
    };
    // More people who can stop everything, or fewer: either may be what an attacker wants.
    changes.values(&pairs(before), &pairs(after), (true, true), |gained, (level, who)| {
        let may = if gained { "may" } else { "may no longer" };
        format!("{who} {may} kill at level {}", level.as_str())
    });
}

pub(super) fn receipts(changes: &mut Changes, before: Option<&Receipts>, after: Option<&Receipts>) {
    let describe = |receipts: Option<&Receipts>| {
        receipts.map_or_else(
            || "no copy outside".to_owned(),
            |Receipts { threshold, witnesses, sinks }| {
                let witnesses = witnesses
                    .iter()
                    .map(|Witness { name, key }| format!("witness {name} ({})", key.thumbprint()));
                let sinks = sinks.iter().map(|Sink { id, key }| format!("sink {id} ({})", key.thumbprint()));
                format!("receipts of {threshold} of {}", list(witnesses.chain(sinks)))
            },
        )
    };
    changes.member(
        &before,
        &after,
        |_, _| true,
        |old, new| {
            format!("demands {} before anything is signed (it was: {})", describe(*new), describe(*old))
        },
    );
}

/// What has to follow a use: weaker is later, or by others, or not at all.
pub(super) fn review(changes: &mut Changes, id: &str, before: Reviewed<'_>, after: Reviewed<'_>) {
    let formula = |(_, quorum): Reviewed<'_>| quorum.map(Quorum::formula).cloned();
    let within = |(review, _): Reviewed<'_>| review.map(|review| review.within);
    if formula(before) == formula(after) && within(before) == within(after) {
        return;
    }
    let describe = |reviewed: Reviewed<'_>| match reviewed {
        (Some(Review { within, .. }), Some(by)) => format!("within {within} s by {}", by.describe()),
        _ => "none".to_owned(),
    };
    let weakens = match (before, after) {
        ((Some(old), Some(one)), (Some(new), Some(other))) => {
            new.within > old.within || !as_strong(other, one)
        }
        ((before, _), _) => before.is_some(),
    };
    changes.add(
        weakens,
        format!("changes the review of each use of {id} from {} to {}", describe(before), describe(after)),
    );
}
