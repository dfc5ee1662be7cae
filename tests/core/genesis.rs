//! A new chain in place of one of which no quorum is left: who may announce it, how long it waits by the log's own time,
//! who cancels it, and what ends with the old one.

use breakglass::{
    domain::{
        Command, Refusal, State,
        charter::{Charter, Rules},
        event::{Actor, Entry, Event},
        genesis::{DAY, SignedAnnouncement, SignedCancellation},
        id::{Audience, Nonce},
        proposal::SignedProposal,
        request::Outcome,
        strict::{self, Seen, View},
        time::Timestamp,
    },
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::{
    chain::{by, next},
    kit::{AUD, DEVICES, Log, NOW, bytes, grant, grant_named, key, nonce, patch, payload, signed},
    recovery::first,
    replay::audit,
};

/// Version 1 of another chain in place of this one, by the same people.
fn anew(log: &Log, tag: &str) -> Value {
    let replaces = json!({"genesis": log.pinned, "version": log.charter().document().version});
    patch(crate::kit::document(), json!({"nonce": nonce(tag), "replaces": replaces}))
}

fn statement(document: &Value) -> GeneralJws {
    signed(&payload(document), &DEVICES)
}

/// What `device` says at `at` seconds of a new first charter.
fn announcement(log: &Log, document: &Value, device: &str, at: i64) -> Result<SignedAnnouncement, Refusal> {
    let rules = log.charter();
    let about = bytes(&json!({"iss": rules.document().iss, "charter": rules.digest(),
        "genesis": Digest::of(&payload(document)), "nonce": nonce(&format!("{device} {at}"))}));
    SignedAnnouncement::verify(key(device).jws(Typ::Announcement, &about, at), statement(document), &rules)
}

fn announce(log: &mut Log, document: &Value, device: &str, at: i64) -> Result<Digest, Refusal> {
    let signed = announcement(log, document, device, at)?;
    let digest = signed.digest();
    log.run(&Command::Announce(Box::new(signed)), at * 1000)?;
    Ok(digest)
}

/// A cancellation under the signatures of these devices, at `at` seconds.
fn cancellation(log: &Log, digest: Digest, devices: &[&str], at: i64) -> Result<SignedCancellation, Refusal> {
    let rules = log.charter();
    let payload = bytes(&json!({"iss": rules.document().iss, "charter": rules.digest(),
        "announcement": digest, "nonce": nonce("cancel")}));
    let sign = |device: &&str| key(device).state(Typ::Cancellation, &payload, at);
    let signatures = devices.iter().map(sign).collect();
    SignedCancellation::verify(GeneralJws { payload, signatures }, &rules)
}

fn cancel(log: &mut Log, digest: Digest, devices: &[&str], at: i64) -> Result<Vec<Event>, Refusal> {
    let signed = cancellation(log, digest, devices, at)?;
    log.run(&Command::Cancel(Box::new(signed)), at * 1000)
}

fn tick(log: &mut Log, at: i64) -> Vec<Event> {
    log.run(&Command::Tick, at * 1000).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, reason: &str) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.reason(), reason, "{refusal}");
}

/// An auditor agrees, and a snapshot is the fold.
#[track_caller]
fn audited(log: &Log) {
    assert_eq!(audit(&log.entries, log.pinned).unwrap(), log.state);
    assert_eq!(State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap(), log.state);
}

#[test]
fn a_first_version_may_say_what_it_replaces_and_no_later_one_may() {
    let log = Log::new(&first());
    Rules::parse(&payload(&anew(&log, "new"))).unwrap();
    let later = patch(next(&first()), json!({"replaces": {"genesis": log.pinned, "version": 1}}));
    let error = Rules::parse(&payload(&later)).unwrap_err();
    assert!(error.to_string().contains("only version 1 can replace"), "{error}");
}

#[test]
fn seven_days_with_an_alarm_on_each_end_a_chain() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    let digest = announce(&mut log, &document, "bob/1", NOW).unwrap();
    assert_eq!(log.state.replacement().announced()[0].ends(), NOW + 7 * DAY);
    for day in 1..7 {
        let at = NOW + i64::from(day) * DAY;
        assert_eq!(tick(&mut log, at - 1), []);
        assert_eq!(log.state.next_deadline(), Some(at));
        assert_eq!(tick(&mut log, at), [Event::GenesisAlarmed { announcement: digest, day }]);
        assert_eq!(tick(&mut log, at), [], "once a day");
    }
    assert_eq!(tick(&mut log, NOW + 7 * DAY - 1), []);
    let genesis = Digest::of(&payload(&document));
    assert_eq!(tick(&mut log, NOW + 7 * DAY), [Event::GenesisReplaced { announcement: digest, genesis }]);
    assert_eq!(log.state.replacement().ended().unwrap().genesis, genesis);
    audited(&log);
}

#[test]
fn a_clock_that_jumps_wins_one_day_at_most() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    let digest = announce(&mut log, &document, "bob/1", NOW).unwrap();
    let jumped = NOW + 30 * DAY;
    assert_eq!(tick(&mut log, jumped), [Event::GenesisAlarmed { announcement: digest, day: 1 }]);
    assert_eq!(tick(&mut log, jumped + DAY - 1), []);
    assert_eq!(log.state.replacement().announced()[0].ends(), jumped + 6 * DAY);
    audited(&log);
}

/// Appends what no daemon decided; whether the fold takes it, and whether an auditor does.
fn forged(log: &Log, at: i64, event: Event) -> (bool, bool) {
    let actor = Actor::Daemon { instance: log.instance.clone() };
    let salt = Nonce::try_from(nonce("forged")).unwrap();
    let entry = Entry { v: 1, at: Timestamp::from_millis(at * 1000), actor, salt, event };
    let mut entries = log.entries.clone();
    entries.push(entry.to_bytes().unwrap());
    (log.state.clone().evolve(&entry).is_ok(), audit(&entries, log.pinned).is_ok())
}

#[test]
fn nobody_can_write_the_wait_shorter() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    let digest = announce(&mut log, &document, "bob/1", NOW).unwrap();
    let alarm = |announcement, day| Event::GenesisAlarmed { announcement, day };
    let end = Event::GenesisReplaced { announcement: digest, genesis: Digest::of(&payload(&document)) };
    assert_eq!(forged(&log, NOW + DAY, alarm(digest, 1)), (true, true));
    assert_eq!(forged(&log, NOW + DAY - 1, alarm(digest, 1)), (false, false), "a day is a day");
    assert_eq!(forged(&log, NOW + 2 * DAY, alarm(digest, 2)), (false, false), "each has its alarm");
    assert_eq!(forged(&log, NOW + DAY, alarm(log.pinned, 1)), (false, false));
    assert_eq!(forged(&log, NOW + 7 * DAY, end.clone()), (false, false), "without the alarms");
    for day in 1..7 {
        tick(&mut log, NOW + day * DAY);
    }
    assert_eq!(forged(&log, NOW + 7 * DAY - 1, end.clone()), (false, false));
    assert_eq!(forged(&log, NOW + 7 * DAY, alarm(digest, 7)), (false, false));
    assert_eq!(forged(&log, NOW + 7 * DAY, end), (true, true));
    let other = Event::GenesisReplaced { announcement: digest, genesis: Digest::of(b"another") };
    assert_eq!(forged(&log, NOW + 7 * DAY, other), (false, false));
}

#[test]
fn who_announces_and_what() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    for (device, at, reason) in [
        ("erin/file", NOW, "NOT_A_CUSTODIAN"),
        ("hank/1", NOW, "NOT_A_CUSTODIAN"),
        ("mallory", NOW, "KEY_UNKNOWN"),
        ("dave/file", NOW, "NOT_A_CUSTODIAN"),
    ] {
        refused(announce(&mut log, &document, device, at), reason);
    }
    for (changes, reason) in [
        (json!({"replaces": null}), "GENESIS_REFUSED"),
        (json!({"replaces": {"genesis": Digest::of(b"another"), "version": 1}}), "GENESIS_REFUSED"),
        (json!({"replaces": {"genesis": log.pinned, "version": 2}}), "GENESIS_REFUSED"),
        (json!({"iss": "https://other.example.test"}), "GENESIS_REFUSED"),
        (json!({"expires_at": NOW + 7 * DAY}), "GENESIS_REFUSED"),
    ] {
        refused(announce(&mut log, &patch(document.clone(), changes), "bob/1", NOW), reason);
    }
    // The statement of an hour ago, one under another charter, one for other bytes, one without all signatures.
    let old = announcement(&log, &document, "bob/1", NOW - 3600).unwrap();
    refused(log.run(&Command::Announce(Box::new(old)), NOW * 1000), "CLOCK_SKEW");
    let about = bytes(&json!({"iss": log.charter().document().iss, "charter": Digest::of(b"another"),
        "genesis": Digest::of(&payload(&document)), "nonce": nonce("x")}));
    let stray = key("bob/1").jws(Typ::Announcement, &about, NOW);
    let stray = SignedAnnouncement::verify(stray, statement(&document), &log.charter()).unwrap();
    refused(log.run(&Command::Announce(Box::new(stray)), NOW * 1000), "CHARTER_MISMATCH");
    let jws = key("bob/1").jws(Typ::Announcement, &about, NOW);
    let other = statement(&anew(&log, "other"));
    refused(SignedAnnouncement::verify(jws.clone(), other, &log.charter()), "CHARTER_NOT_PINNED");
    let mut few = statement(&document);
    few.signatures.pop();
    refused(SignedAnnouncement::verify(jws, few, &log.charter()), "CHARTER_SIGNATURES");
    let wrong = key("bob/1").jws(Typ::Approval, &about, NOW);
    refused(SignedAnnouncement::verify(wrong, statement(&document), &log.charter()), "TYP_UNEXPECTED");
    let station = key("bob/1").state_at(Typ::Announcement, &about, NOW, Some("desk"));
    let station = GeneralJws { payload: about, signatures: vec![station] };
    let station = SignedAnnouncement::verify(station, statement(&document), &log.charter());
    refused(station, "STATION_FORBIDDEN");
    assert!(log.state.replacement().announced().is_empty());
    // A recovery custodian may, and so may a custodian under a charter that has expired.
    announce(&mut log, &document, "sam/1", NOW).unwrap();
    let late = NOW + 100 * DAY;
    let after = patch(document, json!({"issued_at": late, "expires_at": late + 80 * DAY}));
    announce(&mut log, &after, "bob/1", late).unwrap();
    audited(&log);
}

#[test]
fn another_announcement_waits_anew_and_each_person_has_one() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    let one = announce(&mut log, &document, "bob/1", NOW).unwrap();
    let same = announcement(&log, &document, "bob/1", NOW).unwrap();
    refused(log.run(&Command::Announce(Box::new(same)), NOW * 1000), "GENESIS_KNOWN");
    for day in 1..4 {
        tick(&mut log, NOW + day * DAY);
    }
    // alice's runs beside it, and takes nothing of its days.
    let alices = anew(&log, "alice's");
    let two = announce(&mut log, &alices, "alice/1", NOW + 3 * DAY + 5).unwrap();
    // bob's second thought begins at nothing.
    let second = anew(&log, "bob's second");
    let three = announce(&mut log, &second, "bob/1", NOW + 3 * DAY + 10).unwrap();
    let waiting = log.state.replacement().announced();
    assert_eq!(waiting.iter().map(|one| one.digest).collect::<Vec<_>>(), [two, three]);
    assert!(log.state.replacement().announcement(&one).is_none());
    assert_eq!(waiting[1].ends(), NOW + 10 * DAY + 10);
    for day in 4..10 {
        let at = NOW + day * DAY + 20;
        assert_eq!(tick(&mut log, at).len(), 2);
    }
    let ended = tick(&mut log, NOW + 10 * DAY + 20);
    assert!(matches!(&ended[..], [Event::GenesisReplaced { announcement, .. }] if *announcement == two));
    assert!(log.state.replacement().announced().is_empty());
    audited(&log);
}

#[test]
fn any_quorum_cancels_and_nothing_less() {
    let good: [(&str, &[&str]); 3] = [
        ("governance", &["alice/1", "carol/1"]),
        // gus is of no governance, but of the quorum of db-read.
        ("a profile's", &["bob/1", "gus/1"]),
        ("recovery", &["sid/1", "sue/1"]),
    ];
    for (whose, devices) in good {
        let mut log = Log::new(&first());
        let document = anew(&log, "new");
        let digest = announce(&mut log, &document, "bob/1", NOW).unwrap();
        for devices in
            [&["alice/1"][..], &["alice/1", "alice/2"], &["alice/1", "sam/1"], &["hank/1", "erin/file"], &[]]
        {
            refused(cancel(&mut log, digest, devices, NOW + 9), "NO_QUORUM");
        }
        refused(cancel(&mut log, Digest::of(b"another"), devices, NOW + 9), "GENESIS_UNKNOWN");
        refused(cancellation(&log, digest, &["alice/1", "alice/1"], NOW + 9), "ALREADY_SIGNED");
        refused(cancellation(&log, digest, &["alice/1", "mallory"], NOW + 9), "KEY_UNKNOWN");
        let early = cancellation(&log, digest, devices, NOW - 61).unwrap();
        refused(log.run(&Command::Cancel(Box::new(early)), (NOW + 9) * 1000), "CLOCK_SKEW");
        let events = cancel(&mut log, digest, devices, NOW + 9).unwrap();
        assert!(matches!(&events[..], [Event::GenesisCancelled { .. }]), "{whose}");
        assert_eq!(tick(&mut log, NOW + 8 * DAY), [], "{whose}: nothing ends");
        // The same cancellation is of no use against the next announcement.
        announce(&mut log, &document, "bob/1", NOW + 8 * DAY).unwrap();
        refused(cancel(&mut log, digest, devices, NOW + 9 * DAY), "GENESIS_UNKNOWN");
        audited(&log);
    }
}

#[test]
fn a_version_that_is_adopted_ends_every_announcement() {
    let mut log = Log::new(&first());
    let document = anew(&log, "new");
    announce(&mut log, &document, "bob/1", NOW).unwrap();
    let next = next(&log.charter());
    let signed = SignedProposal::verify(by(&next, &["alice/1", "carol/1"]), &log.charter(), NOW + 5).unwrap();
    log.run(&Command::Propose { proposal: Box::new(signed), evidence: Vec::new() }, (NOW + 5) * 1000)
        .unwrap();
    assert!(log.state.replacement().announced().is_empty());
    assert_eq!(tick(&mut log, NOW + 8 * DAY), []);
    audited(&log);
}

/// A log whose chain has ended; the requests in it were filed a minute before.
fn ended(log: &mut Log) -> (Digest, i64) {
    let document = anew(log, "new");
    announce(log, &document, "bob/1", NOW).unwrap();
    for day in 1..7 {
        tick(log, NOW + day * DAY);
    }
    (Digest::of(&payload(&document)), NOW + 7 * DAY)
}

#[test]
fn with_the_chain_ends_what_is_open_and_nothing_more_is_given() {
    let mut log = Log::new(&first());
    let (genesis, end) = ended(&mut log);
    let mut ask = |name: &str, at: i64| {
        let grant =
            patch(grant_named(&log.charter(), name), json!({"requested_at": at, "expires_at": at + 600}));
        log.file_at(&grant, "erin/file", at * 1000).unwrap()
    };
    let (pending, authorized) = (ask("pending", end - 30), ask("authorized", end - 30));
    let issued = ask("issued", end - 30);
    for id in [authorized, issued] {
        log.approve(&id, "alice/1", end - 20).unwrap();
        log.approve(&id, "bob/1", end - 20).unwrap();
    }
    log.issue(&issued, end - 19).unwrap();
    let events = tick(&mut log, end);
    assert!(matches!(events[0], Event::GenesisReplaced { genesis: found, .. } if found == genesis));
    assert_eq!(log.state.closed(&pending).unwrap().outcome, Outcome::Superseded);
    assert!(log.state.closed(&authorized).is_some());
    assert!(log.state.request(&issued).is_some(), "what was issued runs out by itself");
    let asked =
        patch(grant_named(&log.charter(), "late"), json!({"requested_at": end + 1, "expires_at": end + 600}));
    refused(log.file_at(&asked, "erin/file", (end + 1) * 1000), "CHAIN_ENDED");
    refused(log.redeem(&issued, "erin/file", end + 1, "late"), "CHAIN_ENDED");
    let again = anew(&log, "again");
    refused(announce(&mut log, &again, "bob/1", end + 1), "CHAIN_ENDED");
    let next = patch(next(&log.charter()), json!({"issued_at": end, "expires_at": end + DAY}));
    let signed = by(&next, &[]);
    let signatures =
        ["alice/1", "carol/1"].map(|device| key(device).state(Typ::Charter, &signed.payload, end));
    let signed = GeneralJws { signatures: signatures.into(), ..signed };
    let signed = SignedProposal::verify(signed, &log.charter(), end).unwrap();
    let propose = Command::Propose { proposal: Box::new(signed), evidence: Vec::new() };
    refused(log.run(&propose, (end + 1) * 1000), "CHAIN_ENDED");
    // It goes on being a log: daemons start, tokens expire.
    log.run(&Command::Start { version: "1".into() }, (end + 1) * 1000).unwrap();
    assert!(matches!(tick(&mut log, end + 60)[..], [Event::TokenExpired { .. }]));
    audited(&log);
}

#[test]
fn verifiers_of_the_old_chain_take_nothing_of_the_new_one() {
    let old = Log::new(&first());
    let document = anew(&old, "new");
    let jws = statement(&document);
    let charter = Charter::genesis(jws.clone(), Digest::of(&jws.payload)).unwrap();
    let mut log = Log::new(&charter);
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    let jwt = log.issue(&id, NOW + 11).unwrap();
    let audience: Audience = AUD.parse().unwrap();
    let verdict = |charter: &Charter| {
        let view =
            View { charter, audience: &audience, now: NOW + 12, allow_development: true, killed: None };
        strict::verify(&jwt, &view, &mut Seen::default()).map(drop).map_err(|error| error.reason().to_owned())
    };
    assert_eq!(verdict(&charter), Ok(()));
    // Same issuer, same issuing key, same custodians: the grant is under a charter that is not of the pinned chain.
    assert!(verdict(&old.charter()).is_err());
    assert!(Charter::genesis(jws, old.pinned).is_err());
    audited(&log);
}
