//! What several daemons say is one view: what any of them shows that was heard lately, and what no log has yet.

use std::sync::Arc;

use breakglass::{
    domain::{
        charter::Charter,
        id::PrincipalId,
        kill::{Kills, Target},
        time::Timestamp,
    },
    gate::{
        clock::Moment,
        view::{Known, View},
    },
    jose::{Digest, GeneralJws, Signature, Typ},
};
use serde_json::json;

use crate::kit::{self, NOW, key};

const MAX_STALE: i64 = 10_000;

const fn at(seconds: i64) -> Moment {
    Moment { wall: (NOW + seconds) * 1000, monotonic: (1_000 + seconds) * 1000 }
}

/// A kill of a requester, by carol.
fn kill(charter: &Charter, id: &str, target: &str) -> GeneralJws {
    let payload = kit::bytes(&json!({"iss": charter.document().iss, "charter": charter.digest(),
        "id": kit::nonce(id), "level": "requester", "target": target, "reason": "Seen where it should not be"}));
    key("carol/1").jws(Typ::Kill, &payload, NOW)
}

/// A lift of a kill, by a quorum.
fn lift(charter: &Charter, id: &str) -> GeneralJws {
    let payload = kit::bytes(&json!({"iss": charter.document().iss, "charter": charter.digest(),
        "kills": [kit::nonce(id)], "epoch": 1}));
    let sign = |by: &str| -> Signature { key(by).state(Typ::Lift, &payload, NOW + 1) };
    GeneralJws { payload: payload.clone(), signatures: vec![sign("alice/1"), sign("bob/1")] }
}

/// What a daemon shows that has recorded these kills.
fn shown(charter: &Charter, kills: &[GeneralJws]) -> Arc<Kills> {
    let mut shown = Kills::default();
    for (epoch, kill) in (1..).zip(kills) {
        shown.learn(kill.clone(), charter, epoch, Timestamp::from_seconds(NOW)).unwrap();
    }
    Arc::new(shown)
}

/// Whether everything of this requester is stopped that was minted at this second.
fn stops(known: &Known, target: &str, now: Moment, iat: i64) -> bool {
    let target = Target::Requester(target.parse::<PrincipalId>().unwrap());
    known.in_force(now, MAX_STALE).any(|kills| kills.stops(&target, NOW + iat))
}

fn two_daemons() -> (Charter, View) {
    let charter = kit::charter();
    let view = View::new(Arc::new(charter.clone()), 2);
    (charter, view)
}

#[test]
fn what_any_daemon_shows_that_was_heard_lately_is_killed() {
    let (charter, view) = two_daemons();
    assert_eq!(view.known().age(at(0)), None, "nobody was heard");
    view.show(0, &shown(&charter, &[kill(&charter, "one", "erin")]));
    assert!(!stops(&view.known(), "erin", at(0), 0), "shown, but not up to a heartbeat");
    view.heard(0, at(0).wall, at(0));
    view.heard(1, at(0).wall - 7_000, at(5));
    let known = view.known();
    assert!(stops(&known, "erin", at(5), 0) && !stops(&known, "dave", at(5), 0));
    assert_eq!((known.age(at(6)), known.ahead(), known.epoch()), (Some(1_000), 12_000, 1));
    // The first falls silent. The other one's view is relied on, which has the lift.
    let mut lifted = Kills::clone(&shown(&charter, &[kill(&charter, "one", "erin")]));
    lifted.learn_lift(lift(&charter, "one"), &charter, Timestamp::from_seconds(NOW + 1)).unwrap();
    view.show(1, &Arc::new(lifted));
    let known = view.known();
    assert!(stops(&known, "erin", at(10), 5), "both are heard, and one shows it as killed");
    assert!(!stops(&known, "erin", at(11), 5), "the one that shows it was not heard for eleven seconds");
    assert!(stops(&known, "erin", at(11), 0), "what was minted before the lift stays dead");
    assert_eq!(known.age(at(20)), Some(15_000));
}

#[test]
fn a_kill_that_no_log_has_is_in_force_until_a_daemon_shows_it_recorded_or_lifted() {
    let (charter, view) = two_daemons();
    view.heard(0, at(0).wall, at(0));
    let changes = view.changes();
    let before = *changes.borrow();
    let (erins, daves) = (kill(&charter, "one", "erin"), kill(&charter, "two", "dave"));
    view.kill(erins.clone(), &charter, at(0)).unwrap();
    view.kill(daves.clone(), &charter, at(0)).unwrap();
    assert_ne!(*changes.borrow(), before, "what is open is judged again");
    let known = view.known();
    assert!(stops(&known, "erin", at(1), 0) && stops(&known, "dave", at(1), 0));
    assert!(stops(&known, "erin", at(100), 0), "whoever told of it may be gone");
    // Nobody without the right.
    let forged = key("mallory").jws(Typ::Kill, &kill(&charter, "three", "hank").payload, NOW);
    assert!(view.kill(forged, &charter, at(0)).is_err());
    assert!(!stops(&view.known(), "hank", at(1), 0));
    // Recorded: from now on it is that daemon's matter, and so is its lift.
    view.show(0, &shown(&charter, std::slice::from_ref(&erins)));
    assert_eq!(view.known().unrecorded.standing().count(), 1);
    assert!(stops(&view.known(), "erin", at(1), 0));
    let mut lifted = Kills::clone(&shown(&charter, std::slice::from_ref(&erins)));
    lifted.learn_lift(lift(&charter, "one"), &charter, Timestamp::from_seconds(NOW + 1)).unwrap();
    view.show(0, &Arc::new(lifted));
    assert!(!stops(&view.known(), "erin", at(1), 5));
    // Told again by a daemon that has not heard of the lift.
    view.kill(erins, &charter, at(2)).unwrap();
    assert!(!stops(&view.known(), "erin", at(2), 5));
    assert!(stops(&view.known(), "dave", at(2), 5));
    assert_eq!(
        Digest::of(&daves.payload),
        Digest::of(&view.known().unrecorded.standing().next().unwrap().statement.payload)
    );
}
