//! Check-ins: who may say "I can reach my key", that each is taken once, and what the log shows of a device besides.

use breakglass::{
    domain::{
        Command, Refusal, State,
        check_in::{CHECK_IN_WITHIN, REMIND_AFTER, Sighting, SignedCheckIn},
        event::Event,
        time::SKEW,
    },
    jose::{GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::{
    chain::{next, sign},
    kit::{Log, NOW, bytes, charter, charter_of, document, grant, key, nonce, patch},
    replay::audit,
};

fn about(log: &Log) -> Value {
    json!({"iss": log.charter().document().iss, "charter": log.charter().digest(), "nonce": nonce("here")})
}

fn signed(log: &Log, device: &str, at: i64) -> GeneralJws {
    key(device).jws(Typ::CheckIn, &bytes(&about(log)), at)
}

fn hand_in(log: &mut Log, jws: GeneralJws, at: i64) -> Result<Vec<Event>, Refusal> {
    let signed = SignedCheckIn::verify(jws, &log.charter(), Typ::CheckIn)?;
    log.run(&Command::CheckIn(Box::new(signed)), at * 1000)
}

fn check_in(log: &mut Log, device: &str, at: i64) -> Result<Vec<Event>, Refusal> {
    let jws = signed(log, device, at);
    hand_in(log, jws, at)
}

fn refused(log: &mut Log, jws: GeneralJws, at: i64, reason: &str) {
    let before = log.state.clone();
    match hand_in(log, jws, at) {
        Ok(events) => panic!("{reason} expected, but: {events:?}"),
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal}"),
    }
    assert_eq!(log.state, before, "a refusal changes nothing");
}

fn seen(log: &Log, device: &str) -> Option<Sighting> {
    log.state.sightings().of(&key(device).kid()).copied()
}

fn audited(log: &Log) {
    assert_eq!(audit(&log.entries, log.pinned).unwrap(), log.state);
    let restored = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, log.state, "a snapshot remembers it");
}

#[test]
fn a_check_in_is_taken_once_and_an_auditor_agrees() {
    let mut log = Log::new(&charter());
    let jws = signed(&log, "alice/1", NOW);
    assert_eq!(hand_in(&mut log, jws.clone(), NOW).unwrap(), [Event::CheckedIn { check_in: jws.clone() }]);
    assert_eq!(seen(&log, "alice/1"), Some(Sighting { at: NOW, index: 1, checked_in: Some(NOW) }));
    assert_eq!(seen(&log, "alice/2").unwrap().checked_in, None, "each device speaks for itself");
    refused(&mut log, jws, NOW + 1, "CHECK_IN_KNOWN");
    // Signed before the newest one, under another nonce: it shows nothing that is not known.
    let other = bytes(&patch(about(&log), json!({"nonce": nonce("another")})));
    refused(&mut log, key("alice/1").jws(Typ::CheckIn, &other, NOW), NOW + 1, "CHECK_IN_KNOWN");
    refused(&mut log, key("alice/1").jws(Typ::CheckIn, &other, NOW - 1), NOW + 1, "CHECK_IN_KNOWN");
    check_in(&mut log, "alice/1", NOW + 1).unwrap();
    audited(&log);

    let mut forged = log.entries.clone();
    forged.push(forged.last().unwrap().clone());
    let (index, why) = audit(&forged, log.pinned).unwrap_err();
    assert_eq!((index, why.contains("CHECK_IN_KNOWN")), (forged.len() - 1, true), "{why}");
}

#[test]
fn only_a_custodians_device_checks_in() {
    let mut log = Log::new(&charter());
    let payload = bytes(&about(&log));
    let by = |name: &str| key(name).jws(Typ::CheckIn, &payload, NOW);
    refused(&mut log, by("mallory"), NOW, "KEY_UNKNOWN");
    refused(&mut log, by("dave/file"), NOW, "NOT_A_CUSTODIAN");
    refused(&mut log, by("hank/1"), NOW, "NOT_A_CUSTODIAN");
    let approval = key("alice/1").jws(Typ::Approval, &payload, NOW);
    refused(&mut log, approval, NOW, "TYP_UNEXPECTED");
    let mut tampered = by("alice/1");
    tampered.payload = bytes(&patch(about(&log), json!({"nonce": nonce("tampered")})));
    refused(&mut log, tampered, NOW, "SIGNATURE_INVALID");
    let mut two = by("alice/1");
    two.signatures.extend(by("bob/1").signatures);
    refused(&mut log, two, NOW, "NOT_ONE_SIGNATURE");
    let odd = |changes: Value| {
        key("alice/1").jws(Typ::CheckIn, &bytes(&patch(about(&Log::new(&charter())), changes)), NOW)
    };
    refused(&mut log, odd(json!({"more": 1})), NOW, "JSON_SHAPE_UNEXPECTED");
    refused(&mut log, odd(json!({"charter": key("x").kid()})), NOW, "CHARTER_MISMATCH");
    refused(&mut log, odd(json!({"iss": "https://other.example.test"})), NOW, "CHARTER_MISMATCH");
    // gus is a custodian until NOW + 1000.
    check_in(&mut log, "gus/1", NOW + 999).unwrap();
    let late = signed(&log, "gus/1", NOW + 1000);
    refused(&mut log, late, NOW + 1000, "NOT_A_CUSTODIAN");
    audited(&log);
}

#[test]
fn whose_term_is_still_to_begin_can_try_his_key() {
    let mut later = document();
    later["persons"][5]["term"] = json!({"from": NOW + 1000});
    let mut log = Log::new(&charter_of(&later));
    check_in(&mut log, "gus/1", NOW).unwrap();
    let watched = log.state.sightings().watched(&log.charter(), NOW);
    assert!(watched.iter().all(|device| device.person.as_str() != "gus"), "not yet reminded");
    audited(&log);
}

#[test]
fn one_that_was_signed_apart_may_be_carried_for_a_week() {
    let mut log = Log::new(&charter());
    let jws = signed(&log, "alice/1", NOW);
    refused(&mut log, jws.clone(), NOW - SKEW - 1, "CLOCK_SKEW");
    refused(&mut log, jws.clone(), NOW + CHECK_IN_WITHIN, "CLOCK_SKEW");
    hand_in(&mut log, jws, NOW + CHECK_IN_WITHIN - 1).unwrap();
    assert_eq!(seen(&log, "alice/1").unwrap().at, NOW, "it counts from when it was signed");
    let end = log.charter().document().expires_at;
    let late = signed(&log, "bob/1", end);
    refused(&mut log, late, end, "CHARTER_EXPIRED");
    audited(&log);
}

/// A clock that is a minute ahead does not make a device look fresher than the log.
#[test]
fn whatever_a_device_signed_shows_that_it_works() {
    let mut log = Log::new(&charter());
    let genesis = NOW - 3600;
    assert_eq!(seen(&log, "alice/1"), Some(Sighting { at: genesis, index: 0, checked_in: None }));
    assert_eq!(seen(&log, "dave/file"), None, "a file is no device");
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.judge(&id, "alice/1", Typ::Denial, NOW + 1).unwrap();
    assert_eq!(seen(&log, "alice/1").unwrap().at, NOW + 1);
    let ahead = signed(&log, "bob/1", NOW + 10 + SKEW);
    hand_in(&mut log, ahead, NOW + 10).unwrap();
    let bob = seen(&log, "bob/1").unwrap();
    assert_eq!((bob.at, bob.checked_in), (NOW + 10, Some(NOW + 10 + SKEW)));
    // Signing a charter counts, and what leaves the charter is forgotten.
    let mut without = next(&log.charter());
    for person in without["persons"].as_array_mut().unwrap() {
        if let Some(devices) = person.get_mut("devices").and_then(Value::as_array_mut) {
            devices.retain(|device| device["serial"] != 102);
        }
    }
    let without = patch(without, json!({"issued_at": NOW + 20, "expires_at": NOW + 80 * 86_400}));
    assert!(seen(&log, "alice/2").is_some());
    log.propose(sign(&without, &[("alice/1", NOW + 20), ("bob/1", NOW + 21)]), NOW + 21).unwrap();
    assert_eq!(log.charter().document().version, 2);
    assert_eq!(seen(&log, "alice/2"), None);
    let bob = seen(&log, "bob/1").unwrap();
    assert_eq!((bob.at, bob.checked_in), (NOW + 21, Some(NOW + 10 + SKEW)), "what was seen before stays");
    audited(&log);
}

#[test]
fn who_was_not_seen_for_a_month_is_due() {
    let mut log = Log::new(&charter());
    let month = NOW - 3600 + REMIND_AFTER;
    check_in(&mut log, "alice/1", NOW + 60).unwrap();
    let due = |now| -> Vec<u32> {
        let watched = log.state.sightings().watched(&log.charter(), now);
        watched.iter().filter(|device| device.is_due(now)).map(|device| device.serial).collect()
    };
    assert_eq!(due(month - 1), [0; 0]);
    // gus has left by then; hank is no custodian.
    assert_eq!(due(month), [102, 201, 301, 302, 401, 402]);
    assert_eq!(due(NOW + 60 + REMIND_AFTER), [101, 102, 201, 301, 302, 401, 402]);
}
