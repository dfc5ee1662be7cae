//! What commands are refused for, and what they lead to at the edges of time.

use breakglass::{
    domain::{
        Command, Refusal, State,
        event::{Event, Failure},
        id::RequestId,
        request::Life,
        statement::SignedAboutRequest,
    },
    jose::{Digest, Typ},
};
use serde_json::{Value, json};

use crate::kit::{
    Log, NOW, bytes, charter, charter_of, document, flow, grant, grant_named, key, nonce, patch,
};

fn log() -> Log {
    Log::new(&charter())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, reason: &str) {
    match result {
        Ok(done) => panic!("expected {reason}, but it was done: {done:?}"),
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal}"),
    }
}

fn hank(log: &Log, name: &str) -> Value {
    let change = json!({"profile": "careful", "sub": "hank", "client_id": "hank", "requester_key": key("hank/1").kid()});
    patch(grant_named(&log.charter(), name), change)
}

fn pending(log: &mut Log) -> RequestId {
    log.file(&grant(&log.charter()), "erin/file").unwrap()
}

#[test]
fn filing_is_refused_for_each_rule() {
    let mut log = log();
    let plain = grant(&log.charter());
    let with = |change| patch(plain.clone(), change);
    refused(log.file_at(&plain, "erin/file", (NOW - 61) * 1000), "CLOCK_SKEW");
    refused(log.file_at(&plain, "erin/file", (NOW + 600) * 1000), "DEADLINE_PASSED");
    refused(log.file(&plain, "dave/file"), "REQUESTER_KEY_MISMATCH");
    refused(log.file(&with(json!({"requester_key": key("mallory").kid()})), "mallory"), "KEY_UNKNOWN");
    refused(log.file(&with(json!({"more": 1})), "erin/file"), "JSON_SHAPE_UNEXPECTED");
    refused(log.file(&with(json!({"ttl": 0})), "erin/file"), "GRANT_TIMES");
    refused(log.file(&with(json!({"ttl": 86_401})), "erin/file"), "GRANT_TIMES");
    refused(log.file(&with(json!({"requested_at": NOW, "expires_at": NOW})), "erin/file"), "GRANT_TIMES");
    refused(log.file(&with(json!({"reason": "x".repeat(3_000)})), "erin/file"), "TOO_LONG");
    refused(log.file(&with(json!({"ttl": 901})), "erin/file"), "TTL_TOO_LONG");
    // The header's time is the grant's.
    let payload = bytes(&plain);
    let jws = key("erin/file").jws(Typ::Request, &payload, NOW + 1);
    let signed = breakglass::domain::statement::SignedGrant::verify(jws, &log.charter()).unwrap();
    refused(log.run(&Command::File(Box::new(signed)), NOW * 1000), "TIMES_DIFFER");
    // Another statement of the same key is no request.
    let jws = key("erin/file").jws(Typ::Redeem, &payload, NOW);
    refused(breakglass::domain::statement::SignedGrant::verify(jws, &log.charter()), "TYP_UNEXPECTED");
    let mut jws = key("erin/file").jws(Typ::Request, &payload, NOW);
    jws.signatures.push(jws.signatures[0].clone());
    refused(breakglass::domain::statement::SignedGrant::verify(jws, &log.charter()), "NOT_ONE_SIGNATURE");
    // And the one good grant is filed once.
    let id = log.file(&plain, "erin/file").unwrap();
    refused(log.file(&plain, "erin/file"), "DUPLICATE_REQUEST");
    let same_cnf = patch(grant_named(&log.charter(), "b"), json!({"cnf": {"jkt": key("a grant/cnf").kid()}}));
    refused(log.file(&same_cnf, "erin/file"), "KEY_REUSED");
    let crossed = patch(grant_named(&log.charter(), "b"), json!({"redeem_key": key("a grant/cnf").jwk()}));
    refused(log.file(&crossed, "erin/file"), "KEY_REUSED");
    log.withdraw(&id, "erin/file", NOW + 1).unwrap();
    refused(log.file_at(&plain, "erin/file", (NOW + 2) * 1000), "DUPLICATE_REQUEST");
    log.file(&same_cnf, "erin/file").expect_err("the clock went back");
    log.file_at(&same_cnf, "erin/file", (NOW + 2) * 1000).unwrap();
}

#[test]
fn equal_bytes_are_dead_as_long_as_they_could_be_accepted() {
    let mut log = log();
    let plain = grant(&log.charter());
    let id = pending(&mut log);
    log.run(&Command::Tick, (NOW + 600) * 1000).unwrap();
    for (at, remembered) in [(NOW + 600, true), (NOW + 780, true), (NOW + 781, false)] {
        log.run(&Command::Start { version: "1".into() }, at * 1000).unwrap();
        assert_eq!(log.state.closed(&id).is_some(), remembered, "{at}");
        refused(log.file_at(&plain, "erin/file", at * 1000), "DEADLINE_PASSED");
    }
}

#[test]
fn a_requester_is_in_term_when_he_asks_and_when_he_gets() {
    let mut log = log();
    let ivan = json!({"sub": "ivan", "client_id": "ivan", "requester_key": key("ivan/file").kid(), "requested_at": NOW + 900,
        "expires_at": NOW + 3_000});
    let asked = patch(grant(&log.charter()), ivan.clone());
    let id = log.file(&asked, "ivan/file").unwrap();
    log.approve(&id, "alice/1", NOW + 999).unwrap();
    // Backdated: he states the time of asking himself.
    let late = patch(grant_named(&log.charter(), "late"), ivan);
    refused(log.file_at(&late, "ivan/file", (NOW + 1_000) * 1000), "REQUESTER_UNKNOWN");
    refused(log.approve(&id, "bob/1", NOW + 1_000), "REQUESTER_UNKNOWN");
    // Nor does a tool get it for him.
    let tool = json!({"sub": "ivan", "client_id": "pager", "requester_key": key("pager/file").kid()});
    let tool = patch(grant_named(&log.charter(), "tool"), tool);
    refused(log.file_at(&tool, "pager/file", (NOW + 1_001) * 1000), "REQUESTER_UNKNOWN");
}

#[test]
fn judging_is_refused_for_each_rule() {
    let mut log = log();
    let id = pending(&mut log);
    let payload = bytes(&grant(&log.charter()));
    let approval = |name: &str, at| key(name).state(Typ::Approval, &payload, at);
    refused(log.submit(&payload, approval("mallory", NOW), NOW), "KEY_UNKNOWN");
    refused(log.submit(&payload, approval("erin/file", NOW), NOW), "NOT_A_CUSTODIAN");
    refused(log.submit(&payload, approval("dave/file", NOW), NOW), "NOT_A_CUSTODIAN");
    refused(log.submit(&payload, approval("alice/1", NOW - 61), NOW), "CLOCK_SKEW");
    refused(log.submit(&payload, approval("alice/1", NOW + 61), NOW), "CLOCK_SKEW");
    refused(log.submit(&payload, approval("alice/1", (1 << 53) - 1), NOW), "CLOCK_SKEW");
    refused(log.submit(&payload, approval("gus/1", NOW + 1_000), NOW + 1_000), "DEADLINE_PASSED");
    refused(log.submit(&payload, key("alice/1").state(Typ::Withdrawal, &payload, NOW), NOW), "NOT_A_VERDICT");
    refused(log.submit(b"{}", key("alice/1").state(Typ::Approval, b"{}", NOW), NOW), "REQUEST_UNKNOWN");
    refused(log.submit(b"{}", approval("alice/1", NOW), NOW), "SIGNATURE_INVALID");
    let station = key("alice/1").state_at(Typ::Approval, &payload, NOW, Some("desk-1"));
    refused(log.submit(&payload, station, NOW), "STATION_FORBIDDEN");
    let before = log.entries.len();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    assert_eq!(log.entries.len(), before + 1, "refused commands left nothing");
    refused(log.approve(&id, "bob/1", NOW + 600), "DEADLINE_PASSED");
    log.approve(&id, "bob/1", NOW + 2).unwrap();
    refused(log.approve(&id, "carol/1", NOW + 3), "WRONG_STATE");
    refused(log.judge(&id, "carol/1", Typ::Denial, NOW + 3), "WRONG_STATE");
}

#[test]
fn a_custodian_without_a_seat_cannot_approve_but_can_deny() {
    let mut document = document();
    document["profiles"][0]["quorum"] = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave"]});
    let mut log = Log::new(&charter_of(&document));
    let id = pending(&mut log);
    refused(log.approve(&id, "gus/1", NOW + 1), "NO_SEAT");
    log.judge(&id, "gus/1", Typ::Denial, NOW + 2).unwrap();
    assert_eq!(log.state.closed(&id).unwrap().outcome.as_str(), "denied");
}

#[test]
fn a_denial_ends_a_request_unless_denials_have_a_formula() {
    let mut log = log();
    let id = pending(&mut log);
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    let events = log.judge(&id, "alice/2", Typ::Denial, NOW + 2).unwrap();
    assert!(matches!(events.as_slice(), [Event::DenialRecorded { .. }, Event::RequestDenied { .. }]));
    refused(log.approve(&id, "bob/1", NOW + 3), "REQUEST_UNKNOWN");

    let id = log.file_at(&hank(&log, "h"), "hank/1", (NOW + 3) * 1000).unwrap();
    log.approve(&id, "alice/1", NOW + 4).unwrap();
    assert_eq!(log.judge(&id, "alice/1", Typ::Denial, NOW + 5).unwrap().len(), 1);
    refused(log.judge(&id, "alice/2", Typ::Denial, NOW + 6), "ALREADY_SIGNED");
    refused(log.approve(&id, "alice/2", NOW + 6), "ALREADY_SIGNED");
    // Who denied does not count as having approved.
    assert_eq!(log.approve(&id, "bob/1", NOW + 7).unwrap().len(), 1);
    assert_eq!(log.judge(&id, "gus/1", Typ::Denial, NOW + 8).unwrap().len(), 1, "gus has no say in it");
    assert_eq!(log.judge(&id, "dave/1", Typ::Denial, NOW + 9).unwrap().len(), 2);
    assert_eq!(log.state.closed(&id).unwrap().outcome.as_str(), "denied");
}

#[test]
fn stations_count_where_the_profile_says_so() {
    let mut log = log();
    let asked = hank(&log, "h");
    let id = log.file(&asked, "hank/1").unwrap();
    for device in ["alice/1", "bob/1"] {
        let signature = key(device).state_at(Typ::Approval, &bytes(&asked), NOW + 1, Some("desk-1"));
        log.submit(&bytes(&asked), signature, NOW + 1).unwrap();
    }
    assert_eq!(log.state.request(&id).unwrap().state(), "authorized");
}

#[test]
fn a_quorum_that_grew_old_can_be_renewed() {
    let mut log = log();
    let id = pending(&mut log);
    let payload = bytes(&grant(&log.charter()));
    let early = |device: &str| key(device).state(Typ::Approval, &payload, NOW + 1);
    log.submit(&payload, early("alice/1"), NOW + 2).unwrap();
    refused(log.submit(&payload, early("alice/1"), NOW + 200), "ALREADY_SIGNED");
    assert_eq!(log.submit(&payload, early("bob/1"), NOW + 200).unwrap().len(), 1, "too old to mint on");
    refused(log.submit(&payload, early("bob/1"), NOW + 201), "ALREADY_SIGNED");
    refused(log.approve(&id, "alice/2", NOW + 201), "ALREADY_SIGNED");
    let events = log.approve(&id, "alice/1", NOW + 201).unwrap();
    assert!(matches!(events.last(), Some(Event::IssuanceAuthorized { .. })));
    assert_eq!(log.authorization(&id).iat, NOW + 201);
}

/// Two ways through the formula: the one that is complete and too old does not stand in the way of the other.
#[test]
fn a_fresh_way_through_the_formula_is_taken_though_an_old_one_is_complete() {
    // No custodian asks for anything here, so that two pairs are enough at any time.
    let mut document = patch(document(), json!({"clients": null}));
    document["persons"][3]["roles"] = json!(["custodian"]);
    let pair = |one, other| json!({"threshold": 2, "of": [one, other]});
    document["profiles"][0]["quorum"] =
        json!({"threshold": 1, "of": [pair("alice", "bob"), pair("carol", "dave")]});
    let mut log = Log::new(&charter_of(&document));
    let id = pending(&mut log);
    let payload = bytes(&grant(&log.charter()));
    let early = |device: &str, at| key(device).state(Typ::Approval, &payload, at);
    log.submit(&payload, early("carol/1", NOW + 1), NOW + 2).unwrap();
    log.submit(&payload, early("alice/1", NOW + 2), NOW + 3).unwrap();
    assert_eq!(
        log.submit(&payload, early("bob/1", NOW + 3), NOW + 200).unwrap().len(),
        1,
        "too old to mint on"
    );
    let events = log.approve(&id, "dave/1", NOW + 201).unwrap();
    assert!(matches!(events.last(), Some(Event::IssuanceAuthorized { .. })), "{events:?}");
    let authorization = log.authorization(&id);
    let approvals = authorization.approvals.iter().map(|signature| signature.header().kid);
    assert!(approvals.eq(["carol/1", "dave/1"].map(|device| key(device).kid())));
}

/// 120 s after the newest approval, and not one more: strict verifiers allow no later `iat` but for skew.
#[test]
fn approvals_are_minted_on_for_two_minutes() {
    for (late, minted) in [(120, true), (121, false)] {
        let mut log = log();
        let id = pending(&mut log);
        let payload = bytes(&grant(&log.charter()));
        log.approve(&id, "alice/1", NOW).unwrap();
        let bobs = key("bob/1").state(Typ::Approval, &payload, NOW + 1);
        log.submit(&payload, bobs, NOW + 1 + late).unwrap();
        assert_eq!(log.state.request(&id).unwrap().state() == "authorized", minted, "{late}");
    }
}

#[test]
fn a_fresh_approval_that_is_not_needed_does_not_keep_an_old_quorum_from_renewal() {
    // alice and bob of the first branch are complete but old; carol's fresh approval belongs to the second.
    let mut document = document();
    document["profiles"][0]["quorum"] = json!({"threshold": 1, "of": [
        {"threshold": 2, "of": ["alice", "bob"]}, {"threshold": 2, "of": ["carol", "dave"]}]});
    document["persons"][1]["devices"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "piv", "key": key("bob/2").jwk(), "serial": 202, "firmware": "5.7.4"}));
    let payload = crate::kit::payload(&document);
    let devices = [&crate::kit::DEVICES[..], &["bob/2"]].concat();
    let statement = crate::kit::signed(&payload, &devices);
    let charter = breakglass::domain::charter::Charter::genesis(statement, Digest::of(&payload)).unwrap();
    let mut log = Log::new(&charter);
    let id = pending(&mut log);
    let payload = bytes(&grant(&charter));
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    let early = key("bob/1").state(Typ::Approval, &payload, NOW + 1);
    assert_eq!(log.submit(&payload, early, NOW + 200).unwrap().len(), 1);
    assert_eq!(log.approve(&id, "carol/1", NOW + 201).unwrap().len(), 1);
    let events = log.approve(&id, "bob/1", NOW + 202).unwrap();
    assert!(matches!(events.last(), Some(Event::IssuanceAuthorized { .. })));
}

#[test]
fn withdrawal_and_redemption_are_the_requesters() {
    let mut log = log();
    let id = pending(&mut log);
    for by in ["dave/file", "pager/file", "alice/1"] {
        refused(log.withdraw(&id, by, NOW + 1), "NOT_THE_REQUESTER");
    }
    refused(log.withdraw(&id, "mallory", NOW + 1), "KEY_UNKNOWN");
    let stale = log.about(&id, "erin/file", Typ::Withdrawal, NOW, "w").unwrap();
    refused(log.run(&stale, (NOW + 61) * 1000), "CLOCK_SKEW");
    // A redemption is no withdrawal.
    let Command::Redeem(signed) = log.about(&id, "erin/file", Typ::Redeem, NOW, "w").unwrap() else {
        panic!("a redemption")
    };
    let again = SignedAboutRequest::verify(signed.jws().clone(), &log.charter(), Typ::Withdrawal);
    refused(again, "TYP_UNEXPECTED");
    assert_eq!(log.state.request(&id).unwrap().state(), "pending");
}

#[test]
fn a_redemption_works_once_and_only_while_there_is_something_to_redeem() {
    let mut log = log();
    let id = pending(&mut log);
    refused(log.redeem(&id, "erin/file", NOW, "r"), "WRONG_STATE");
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 5).unwrap();
    refused(log.redeem(&id, "erin/file", NOW + 5, "r"), "WRONG_STATE");
    refused(log.withdraw(&id, "erin/file", NOW + 5), "WRONG_STATE");
    log.issue(&id, NOW + 6).unwrap();
    refused(log.redeem(&id, "dave/file", NOW + 6, "r"), "NOT_THE_REQUESTER");
    // Somebody who saw the redemption sends it again and again: the requester's releases are his own.
    log.redeem(&id, "erin/file", NOW + 7, "r0").unwrap();
    for _ in 0..40 {
        refused(log.redeem(&id, "erin/file", NOW + 8, "r0"), "REDEMPTION_USED");
    }
    for n in 1..32 {
        log.redeem(&id, "erin/file", NOW + 8, &format!("r{n}")).unwrap();
    }
    refused(log.redeem(&id, "erin/file", NOW + 8, "r32"), "REDEEMED_TOO_OFTEN");
    refused(log.redeem(&id, "erin/file", NOW + 65, "r33"), "WRONG_STATE");
}

#[test]
fn limits_are_per_client_and_for_all() {
    let mut log = log();
    let mut open = Vec::new();
    for n in 0..32 {
        open.push(log.file(&grant_named(&log.charter(), &format!("g{n}")), "erin/file").unwrap());
    }
    let more = grant_named(&log.charter(), "more");
    refused(log.file(&more, "erin/file"), "TOO_MANY_OPEN");
    let dave = json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()});
    log.file(&patch(grant_named(&log.charter(), "dave"), dave), "dave/file").unwrap();
    // One that is issued is open no more.
    log.approve(&open[0], "alice/1", NOW + 1).unwrap();
    log.approve(&open[0], "bob/1", NOW + 1).unwrap();
    refused(log.file_at(&more, "erin/file", (NOW + 1) * 1000), "TOO_MANY_OPEN");
    log.issue(&open[0], NOW + 2).unwrap();
    log.file_at(&more, "erin/file", (NOW + 2) * 1000).unwrap();
    log.withdraw(&open[1], "erin/file", NOW + 3).unwrap();
    let again = grant_named(&log.charter(), "again");
    log.file_at(&again, "erin/file", (NOW + 3) * 1000).unwrap();
}

/// A client that files and withdraws without end must not fill the daemon's memory.
#[test]
fn what_came_to_nothing_is_bounded() {
    let mut log = log();
    let mut snapshot: Value = serde_json::from_slice(&log.state.to_snapshot().unwrap()).unwrap();
    let closed = |n: usize, outcome: &str| {
        json!([Digest::of(&n.to_be_bytes()), {"outcome": outcome, "at": "2027-01-15T08:00:00.000Z", "sub": "erin",
            "client_id": "erin", "profile": "db-read", "until": NOW + 100}])
    };
    snapshot["closed"] = (0..10_000).map(|n| closed(n, "withdrawn")).collect();
    log.state = State::from_snapshot(&bytes(&snapshot)).unwrap();
    refused(log.file(&grant(&log.charter()), "erin/file"), "TOO_MANY_ENDED");
    let dave = json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()});
    log.file(&patch(grant_named(&log.charter(), "dave"), dave), "dave/file").unwrap();
    // Tokens that were used and expired do not count against anybody.
    snapshot["closed"] = (0..10_000).map(|n| closed(n, "expired")).collect();
    log.state = State::from_snapshot(&bytes(&snapshot)).unwrap();
    pending(&mut log);
}

#[test]
fn a_cooldown_begins_with_an_issuance_and_not_with_a_failure() {
    let mut log = log();
    let id = log.file(&hank(&log, "1"), "hank/1").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    log.approve(&id, "bob/1", NOW + 1).unwrap();
    let fail = Command::Fail { request: id, reason: Failure::SignatureInvalid };
    log.run(&fail, (NOW + 2) * 1000).unwrap();
    let id = log.file_at(&hank(&log, "2"), "hank/1", (NOW + 3) * 1000).unwrap();
    log.approve(&id, "alice/1", NOW + 4).unwrap();
    log.approve(&id, "bob/1", NOW + 4).unwrap();
    log.issue(&id, NOW + 5).unwrap();
    let soon = patch(hank(&log, "3"), json!({"expires_at": NOW + 3_000}));
    refused(log.file_at(&soon, "hank/1", (NOW + 1_203) * 1000), "COOLDOWN");
    log.file_at(&soon, "hank/1", (NOW + 1_204) * 1000).unwrap();
}

#[test]
fn a_failure_has_to_be_true() {
    let (mut log, id, _) = flow();
    let fail = |reason| Command::Fail { request: id, reason };
    refused(log.run(&fail(Failure::Expired), (NOW + 12) * 1000), "WRONG_STATE");
    let mut log = Log::new(&log.charter());
    let id = pending(&mut log);
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 5).unwrap();
    let fail = |reason| Command::Fail { request: id, reason };
    refused(log.run(&fail(Failure::Expired), (NOW + 64) * 1000), "FAILURE_UNFOUNDED");
    refused(log.run(&fail(Failure::NoKey), (NOW + 64) * 1000), "FAILURE_UNFOUNDED");
    log.run(&fail(Failure::Expired), (NOW + 65) * 1000).unwrap();
}

#[test]
fn one_process_works_on_an_authorized_request() {
    let mut log = log();
    let id = pending(&mut log);
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 5).unwrap();
    let take = Command::TakeOver { request: id };
    refused(log.run(&take, (NOW + 6) * 1000), "ANOTHER_INSTANCE");
    log.instance = "d2.first".parse().unwrap();
    refused(log.issue(&id, NOW + 6), "ANOTHER_INSTANCE");
    refused(log.run(&take, (NOW + 34) * 1000), "ANOTHER_INSTANCE");
    log.run(&take, (NOW + 35) * 1000).unwrap();
    log.instance = "d1.first".parse().unwrap();
    refused(log.issue(&id, NOW + 36), "ANOTHER_INSTANCE");
    // A new process of the same daemon need not wait: the old one is gone.
    log.instance = "d2.second".parse().unwrap();
    log.run(&take, (NOW + 36) * 1000).unwrap();
    log.issue(&id, NOW + 37).unwrap();
    refused(log.run(&take, (NOW + 38) * 1000), "WRONG_STATE");
    assert_eq!(log.authorization(&id).iat, NOW + 5, "the same claims, whoever signs them");
}

#[test]
fn time_ends_each_state_as_it_should() {
    let mut log = log();
    let lapses = pending(&mut log);
    let [fails, expires] =
        ["f", "e"].map(|name| log.file(&grant_named(&log.charter(), name), "erin/file").unwrap());
    for id in [fails, expires] {
        log.approve(&id, "alice/1", NOW + 5).unwrap();
        log.approve(&id, "bob/1", NOW + 5).unwrap();
    }
    log.issue(&expires, NOW + 6).unwrap();
    assert_eq!(log.run(&Command::Tick, (NOW + 65) * 1000 - 1).unwrap(), []);
    assert_eq!(log.run(&Command::Tick, (NOW + 65) * 1000).unwrap().len(), 2);
    assert_eq!(log.state.next_deadline(), Some(NOW + 600));
    log.run(&Command::Tick, (NOW + 600) * 1000).unwrap();
    let outcome = |id| log.state.closed(id).unwrap().outcome.as_str();
    assert_eq!((outcome(&lapses), outcome(&fails), outcome(&expires)), ("lapsed", "failed", "expired"));
    assert_eq!(log.state.next_deadline(), None);
    let before = log.entries.len();
    refused(log.run(&Command::Tick, (NOW + 599) * 1000), "CLOCK_REFUSED");
    assert_eq!(log.entries.len(), before);
}

#[test]
fn nothing_happens_without_a_charter_or_after_it() {
    let mut log = log();
    let id = pending(&mut log);
    let late = NOW + 80 * 86_400;
    let asked =
        patch(grant_named(&log.charter(), "late"), json!({"requested_at": late, "expires_at": late + 60}));
    refused(log.file(&asked, "erin/file"), "CHARTER_EXPIRED");
    refused(log.withdraw(&id, "erin/file", late), "CHARTER_EXPIRED");
    let again = Command::Adopt { charter: Box::new(log.charter()), evidence: Vec::new() };
    refused(log.run(&again, NOW * 1000), "CHARTER_IN_FORCE");
    log.state = State::default();
    refused(log.run(&again, late * 1000), "CHARTER_EXPIRED");
    refused(log.run(&again, (NOW - 3_661) * 1000), "CHARTER_EXPIRED");
    let mut none = Log::new(&charter());
    let signed = {
        let jws = key("erin/file").jws(Typ::Request, &bytes(&grant(&none.charter())), NOW);
        breakglass::domain::statement::SignedGrant::verify(jws, &none.charter()).unwrap()
    };
    none.state = State::default();
    refused(none.run(&Command::File(Box::new(signed)), NOW * 1000), "NO_CHARTER");
}

#[test]
fn a_snapshot_is_of_entries_that_exist() {
    let mut log = log();
    let command = |size| Command::Snapshot { size, root: Digest::of(b"r"), digest: Digest::of(b"d") };
    refused(log.run(&command(2), NOW * 1000), "SNAPSHOT_AHEAD");
    log.run(&command(1), NOW * 1000).unwrap();
}

#[test]
fn a_request_whose_token_would_not_fit_is_refused_when_it_is_filed() {
    let mut document = document();
    let kind = "k".repeat(120);
    document["profiles"][0]["authorization_details"] =
        json!([{"type": kind, "actions": ["a*", "b*", "c*"], "locations": ["l*"]}]);
    let mut log = Log::new(&charter_of(&document));
    // Few bytes of grant, many of token: each action repeats the long type in the scope.
    let actions: Vec<String> =
        ('a'..='c').flat_map(|a| ('0'..='4').map(move |b| format!("{a}{b}"))).collect();
    let details: Vec<Value> =
        (0..4).map(|n| json!({"type": kind, "actions": actions, "locations": [format!("l{n}")]})).collect();
    let one = |n: usize| {
        patch(grant_named(&log.charter(), &n.to_string()), json!({"authorization_details": details[..n]}))
    };
    let (small, large) = (one(1), one(4));
    refused(log.file(&large, "erin/file"), "TOKEN_TOO_LARGE");
    let id = log.file(&small, "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    log.approve(&id, "bob/1", NOW + 1).unwrap();
    let jwt = log.issue(&id, NOW + 2).unwrap();
    assert!(jwt.len() <= 7_500, "{}", jwt.len());
}

/// No number that strict JSON lets through makes arithmetic overflow or a rule fall.
#[test]
fn extreme_times_are_refused_and_do_no_harm() {
    let mut log = log();
    let far = (1_i64 << 53) - 1;
    for (requested, expires) in
        [(0, 1), (0, far), (far - 1, far), (-1, NOW + 60), (-far, far), (NOW, far), (0, NOW + 60)]
    {
        let asked = patch(grant(&log.charter()), json!({"requested_at": requested, "expires_at": expires}));
        if requested < 0 {
            // Such a header cannot even be written.
            continue;
        }
        let payload = bytes(&asked);
        let jws = key("erin/file").jws(Typ::Request, &payload, requested);
        let signed = breakglass::domain::statement::SignedGrant::verify(jws, &log.charter());
        if let Ok(signed) = signed {
            assert!(log.run(&Command::File(Box::new(signed)), NOW * 1000).is_err(), "{requested} {expires}");
        }
    }
    assert!(log.state.requests().next().is_none());
    let id = pending(&mut log);
    log.run(&Command::Tick, i64::MAX).unwrap();
    assert!(log.state.closed(&id).is_none(), "nothing of it can matter in the year 9999");
}

#[test]
fn a_release_is_counted_and_the_ciphertext_kept() {
    let (mut log, id, _) = flow();
    log.redeem(&id, "erin/file", NOW + 12, nonce("x").as_str()).unwrap();
    let Life::Issued { releases, jwe, .. } = log.state.request(&id).unwrap().life() else {
        panic!("not issued")
    };
    assert_eq!((*releases, jwe.as_str()), (1, "e30.e30"));
}
