//! Places in the status list: in the token, in the log, and what the list says of them.

use breakglass::{
    domain::{
        Command,
        claims::Claims,
        event::{Entry, Event},
        id::RequestId,
        kill::{SignedKill, Target},
        replay::Replay,
        state::State,
        status::{self, CAPACITY},
        strict::{Seen, View, verify},
    },
    jose::{Digest, Typ},
};
use serde_json::{Value, json};

use crate::kit::{AUD, Log, NOW, bytes, charter_of, document, grant_named, key, patch};

fn furnished() -> Value {
    let mut document = document();
    document["profiles"][0]["status"] = json!(true);
    let keys = json!([{"iss": "https://breakglass.example.test/ops", "key": key("ops/1").jwk()}]);
    patch(document, json!({"operational_keys": keys}))
}

/// A token of this name, issued within a few seconds of `at`.
fn token(log: &mut Log, name: &str, at: i64) -> (RequestId, String) {
    let times = json!({"requested_at": at, "expires_at": at + 600});
    let id = log.file(&patch(grant_named(&log.charter(), name), times), "erin/file").unwrap();
    log.approve(&id, "alice/1", at + 1).unwrap();
    log.approve(&id, "bob/1", at + 2).unwrap();
    let jwt = log.issue(&id, at + 3).unwrap();
    (id, jwt)
}

fn place(log: &Log, id: &RequestId) -> u32 {
    log.claims(id).status.unwrap().status_list.idx
}

fn judge(log: &Log, jwt: &str, at: i64) -> Result<(), &'static str> {
    let (charter, audience) = (log.charter(), AUD.parse().unwrap());
    let view =
        View { charter: &charter, audience: &audience, now: at, allow_development: true, killed: None };
    verify(jwt, &view, &mut Seen::default()).map(|_| ()).map_err(|why| why.reason())
}

fn bit(bits: &[u8], idx: u32) -> u8 {
    bits[idx as usize / 8] >> (idx % 8) & 1
}

#[test]
fn a_token_has_the_place_that_the_log_gave_it_and_no_other_shape() {
    let mut log = Log::new(&charter_of(&furnished()));
    let (id, jwt) = token(&mut log, "one", NOW);
    let claims = log.claims(&id);
    let idx = claims.status.clone().unwrap().status_list.idx;
    assert_eq!(
        claims.status.clone().unwrap().status_list.uri,
        "https://breakglass.example.test/ops/statuslist"
    );
    assert_eq!(log.authorization(&id).status, Some(idx));
    assert_eq!(judge(&log, &jwt, NOW + 4), Ok(()));
    // Who holds the issuing key can sign these; the claims do not follow.
    let minted = |status: Value| {
        let claims = serde_json::to_value::<&Claims>(&claims).unwrap();
        key("hsm/1").jwt(&bytes(&patch(claims, json!({"status": status}))))
    };
    let uri = "https://breakglass.example.test/ops/statuslist";
    for status in [
        Value::Null,
        json!({"status_list": {"idx": CAPACITY, "uri": uri}}),
        json!({"status_list": {"idx": idx, "uri": "https://mallory.example.test/statuslist"}}),
    ] {
        assert_eq!(judge(&log, &minted(status.clone()), NOW + 4), Err("CLAIMS_DIFFER"), "{status}");
    }
    // Nor may a token have one whose profile has none.
    let mut plain = Log::new(&crate::kit::charter());
    let (id, jwt) = token(&mut plain, "one", NOW);
    assert_eq!((plain.claims(&id).status, judge(&plain, &jwt, NOW + 4)), (None, Ok(())));
    let claims = serde_json::to_value(plain.claims(&id)).unwrap();
    let status = json!({"status": {"status_list": {"idx": 7, "uri": uri}}});
    let jwt = key("hsm/1").jwt(&bytes(&patch(claims, status)));
    assert_eq!(judge(&plain, &jwt, NOW + 4), Err("CLAIMS_DIFFER"));
}

#[test]
fn the_list_says_of_each_place_whether_its_token_counts() {
    let mut log = Log::new(&charter_of(&furnished()));
    let (one, _) = token(&mut log, "one", NOW);
    let (other, _) = token(&mut log, "other", NOW + 10);
    let (a, b) = (place(&log, &one), place(&log, &other));
    let list = |log: &Log, unrecorded: &[Target]| status::list(&log.state, unrecorded, NOW + 20);
    let bits = list(&log, &[]);
    assert_eq!((bits.len(), bits.iter().all(|byte| *byte == 0)), (16_384, true));
    for (hit, says) in [
        (Target::Jti(one), (1, 0)),
        (Target::Request(other), (0, 1)),
        (Target::All, (1, 1)),
        (Target::Key(key("hsm/1").kid()), (1, 1)),
        (Target::Key(key("hsm/2").kid()), (0, 0)),
    ] {
        let bits = list(&log, std::slice::from_ref(&hit));
        assert_eq!((bit(&bits, a), bit(&bits, b)), says, "{hit:?}");
        assert_eq!(bits.iter().map(|byte| byte.count_ones()).sum::<u32>(), u32::from(says.0 + says.1));
    }
    log.run(&Command::Revoke { request: one, by: None }, (NOW + 15) * 1000).unwrap();
    let bits = list(&log, &[]);
    assert_eq!((bit(&bits, a), bit(&bits, b)), (1, 0));
    let snapshot = log.state.to_snapshot().unwrap();
    let restored = State::from_snapshot(&snapshot).unwrap();
    assert_eq!(restored, log.state);
    assert_eq!(status::list(&restored, &[], NOW + 20), bits);
}

#[test]
fn a_place_is_one_tokens_and_rests_before_it_is_anothers() {
    let mut log = Log::new(&charter_of(&furnished()));
    let (id, _) = token(&mut log, "one", NOW);
    let signed = log.state.request(&id).unwrap().statement();
    let taken = place(&log, &id);
    // The same bytes would lead to the same place, were it free.
    assert_eq!(State::default().places().choose(&signed), Some(taken));
    let second = log.state.places().choose(&signed).unwrap();
    assert_ne!(second, taken);
    // It expires after a minute, and rests for ten.
    for (at, free) in [(NOW + 70, false), (NOW + 661, false), (NOW + 662, true)] {
        log.run(&Command::Start { version: "x".into() }, at * 1000).unwrap();
        assert_eq!(log.state.places().is_empty(), free, "{}", at - NOW);
    }
    assert_eq!(log.state.places().choose(&signed), Some(taken));
}

#[test]
fn places_are_spread_and_nobody_can_tell_the_next() {
    let mut log = Log::new(&charter_of(&furnished()));
    let places: std::collections::BTreeSet<u32> = (0..20)
        .map(|number: i64| {
            let (id, _) = token(&mut log, &number.to_string(), NOW + 4 * number);
            place(&log, &id)
        })
        .collect();
    assert_eq!(places.len(), 20);
    let quarters: std::collections::BTreeSet<u32> = places.iter().map(|idx| idx / (CAPACITY / 4)).collect();
    assert_eq!(quarters.len(), 4, "{places:?}");
}

/// What verifiers are told follows from the state: of tokens that ended before their time, of their own audience.
#[test]
fn security_events_are_due_for_issued_tokens_of_ones_own_audience() {
    let verifiers =
        json!([{"id": "vault", "aud": AUD}, {"id": "writer", "aud": "https://write.example.test"}]);
    let mut log = Log::new(&charter_of(&patch(furnished(), json!({"verifiers": verifiers}))));
    let due = |log: &Log| {
        let charter = log.charter();
        let told = |verifier| breakglass::domain::security_event::due(&log.state, verifier).len();
        let counts: Vec<usize> = charter.document().verifiers.iter().map(told).collect();
        counts
    };
    let (one, _) = token(&mut log, "one", NOW);
    let (_two, _) = token(&mut log, "two", NOW + 10);
    let times = json!({"requested_at": NOW + 20, "expires_at": NOW + 620});
    log.file(&patch(grant_named(&log.charter(), "pending"), times), "erin/file").unwrap();
    assert_eq!(due(&log), [0, 0]);
    log.run(&Command::Revoke { request: one, by: None }, (NOW + 21) * 1000).unwrap();
    assert_eq!(due(&log), [1, 0]);
    let kill = |level: &str, target: &str| {
        let charter = log.charter();
        let payload = json!({"iss": charter.document().iss, "charter": charter.digest(),
            "id": crate::kit::nonce(level), "level": level, "target": target, "reason": "a test"});
        let jws = key("alice/1").jws(Typ::Kill, &bytes(&payload), NOW + 22);
        Command::Kill(Box::new(SignedKill::verify(jws, &charter, Typ::Kill).unwrap()))
    };
    let (requester, issuer) = (kill("requester", "erin"), kill("key", &key("hsm/1").kid().to_string()));
    // Ends the other token and what was pending, of which nobody had a token.
    log.run(&requester, (NOW + 22) * 1000).unwrap();
    assert_eq!(due(&log), [2, 0]);
    // The key signs for both audiences.
    log.run(&issuer, (NOW + 23) * 1000).unwrap();
    assert_eq!(due(&log), [3, 1]);
    let restored = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, log.state);
}

/// Another place in the entry is another decision: the auditor finds it, and two tokens cannot be given one.
#[test]
fn a_forged_place_is_found_by_the_auditor_and_by_the_fold() {
    let mut log = Log::new(&charter_of(&furnished()));
    let (one, _) = token(&mut log, "one", NOW);
    let (other, _) = token(&mut log, "other", NOW + 10);
    let (first, second) = (place(&log, &one), place(&log, &other));
    let replayed = |entries: &[Vec<u8>]| {
        let mut replay = Replay::new(log.pinned);
        entries.iter().try_for_each(|bytes| replay.next(bytes).map(|_| ())).map_err(|why| why.to_string())
    };
    assert_eq!(replayed(&log.entries), Ok(()));
    let forge = |to: u32| -> Vec<Vec<u8>> {
        let change = |bytes: &Vec<u8>| {
            let mut entry = Entry::parse(bytes).unwrap();
            match &mut entry.event {
                Event::IssuanceAuthorized { request_id, status, .. } if *request_id == other => {
                    *status = Some(to);
                    entry.to_bytes().unwrap()
                }
                _ => bytes.clone(),
            }
        };
        log.entries.iter().map(change).collect()
    };
    assert_eq!(replayed(&forge(second)), Ok(()));
    assert!(replayed(&forge((second + 1) % CAPACITY)).unwrap_err().contains("decide otherwise"));
    let folded = |entries: &[Vec<u8>]| {
        let mut state = State::default();
        entries.iter().try_for_each(|bytes| state.evolve(&Entry::parse(bytes).unwrap()))
    };
    assert!(folded(&log.entries).is_ok());
    for to in [first, CAPACITY] {
        let why = folded(&forge(to)).unwrap_err().why;
        assert!(why.contains("another token's"), "{why}");
    }
    assert_ne!(Digest::of(&forge(first).concat()), Digest::of(&log.entries.concat()));
}
