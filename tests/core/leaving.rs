//! Whoever leaves in the middle of something: by the end of a term, or after a denial. What a new charter takes away is
//! in `succession`.

use breakglass::{
    domain::{
        Refusal,
        event::Event,
        id::RequestId,
        strict::{self, Seen, View},
    },
    jose::{Digest, Typ},
};
use serde_json::{Value, json};

use crate::{
    chain::{next, sign},
    kit::{AUD, Log, NOW, charter, charter_of, document, grant, key, patch, payload},
    replay::audit,
};

/// The last second of gus's and ivan's terms, and the first one after it.
const LAST: i64 = NOW + 999;
const AFTER: i64 = NOW + 1_000;

/// A request that is open when these terms end.
fn open(log: &mut Log, changes: Value) -> RequestId {
    let times = json!({"requested_at": NOW + 900, "expires_at": NOW + 3_000});
    let asked = patch(patch(grant(&log.charter()), times), changes);
    let by = if asked["sub"] == "ivan" { "ivan/file" } else { "erin/file" };
    log.file(&asked, by).unwrap()
}

#[track_caller]
fn refused(result: Result<Vec<Event>, Refusal>, reason: &str) {
    match result {
        Ok(events) => panic!("{reason} expected, but: {events:?}"),
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal}"),
    }
}

fn audited(log: &Log) {
    assert_eq!(audit(&log.entries, log.pinned).unwrap(), log.state);
    log.state.recheck().unwrap();
}

#[test]
fn an_approval_counts_no_longer_than_the_term_of_who_gave_it() {
    let mut log = Log::new(&charter());
    let id = open(&mut log, json!({}));
    log.approve(&id, "gus/1", LAST).unwrap();
    // One second later there is one approval, where there would have been two.
    let events = log.approve(&id, "alice/1", AFTER).unwrap();
    assert!(matches!(events.as_slice(), [Event::ApprovalRecorded { .. }]), "{events:?}");
    refused(log.approve(&id, "gus/1", AFTER), "NOT_A_CUSTODIAN");
    let events = log.approve(&id, "bob/1", AFTER + 1).unwrap();
    let [_, Event::IssuanceAuthorized { approvals, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(approvals.len(), 2);
    assert!(!approvals.contains(&key("gus/1").kid()), "his approval is not in the token");
    audited(&log);
}

/// The quorum was complete while he was in term: what was authorized then is finished, also by a process that comes later.
#[test]
fn an_authorization_outlives_the_terms_of_its_approvers() {
    let mut log = Log::new(&charter());
    let id = open(&mut log, json!({}));
    log.approve(&id, "gus/1", LAST - 1).unwrap();
    log.approve(&id, "alice/1", LAST).unwrap();
    let jwt = log.issue(&id, AFTER + 5).unwrap();
    let rules = log.charter();
    let audience = AUD.parse().unwrap();
    let view =
        View { charter: &rules, audience: &audience, now: AFTER + 6, killed: None, allow_development: true };
    let accepted = strict::verify(&jwt, &view, &mut Seen::default()).unwrap();
    assert_eq!(accepted.claims.iat, LAST);
    audited(&log);
}

#[test]
fn a_requester_whose_term_has_ended_gets_nothing() {
    let ivan = json!({"sub": "ivan", "client_id": "ivan", "requester_key": key("ivan/file").kid()});
    let mut log = Log::new(&charter());
    let id = open(&mut log, ivan);
    log.approve(&id, "alice/1", LAST - 1).unwrap();
    log.approve(&id, "bob/1", LAST).unwrap();
    log.issue(&id, AFTER).unwrap();
    refused(log.redeem(&id, "ivan/file", AFTER, "late"), "NOT_THE_REQUESTER");
    audited(&log);
}

/// A "no" that was given in term is not taken back by the calendar.
#[test]
fn a_denial_stands_when_the_term_of_who_gave_it_ends() {
    let mut members = document();
    members["persons"][1]["term"] = json!({"until": AFTER});
    members["profiles"][2]["requester_key"] = json!("file");
    let mut log = Log::new(&charter_of(&members));
    let id = open(&mut log, json!({"profile": "careful"}));
    log.judge(&id, "bob/1", Typ::Denial, LAST).unwrap();
    refused(log.judge(&id, "bob/1", Typ::Denial, AFTER), "NOT_A_CUSTODIAN");
    let events = log.judge(&id, "alice/1", Typ::Denial, AFTER + 1).unwrap();
    assert!(matches!(events.as_slice(), [Event::DenialRecorded { .. }, Event::RequestDenied { .. }]));
    audited(&log);
}

/// Under a charter it counts who was in term when he signed: signatures are collected for days.
#[test]
fn a_signature_under_a_charter_counts_if_it_was_given_in_term() {
    let mut members = document();
    members["persons"][1]["term"] = json!({"until": AFTER});
    let mut log = Log::new(&charter_of(&members));
    let mut second =
        patch(next(&log.charter()), json!({"issued_at": NOW + 900, "expires_at": NOW + 70 * 86_400}));
    second["persons"][1].as_object_mut().unwrap().remove("term");
    log.propose(sign(&second, &[("bob/1", LAST)]), LAST).unwrap();
    // bob can sign no more, and take nothing back; what he has signed needs one more.
    refused(log.consent(&second, "bob/1", AFTER), "ALREADY_SIGNED");
    let events = log.consent(&second, "alice/1", AFTER + 1).unwrap();
    assert!(
        matches!(events.as_slice(), [Event::CharterSigned { .. }, Event::CharterAdopted { .. }]),
        "{events:?}"
    );
    assert_eq!(log.charter().digest(), Digest::of(&payload(&second)));
    // Signed after the end, it is nobody's.
    let mut members = document();
    members["persons"][1]["term"] = json!({"until": AFTER});
    let mut late = Log::new(&charter_of(&members));
    let second =
        patch(next(&late.charter()), json!({"issued_at": NOW + 900, "expires_at": NOW + 70 * 86_400}));
    refused(late.propose(sign(&second, &[("bob/1", AFTER)]), AFTER), "NOT_A_CUSTODIAN");
    audited(&log);
}
