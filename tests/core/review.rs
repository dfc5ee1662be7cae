//! Reviews after a use: who owes one, who may give it, when it is complete, and what an auditor makes of it.

use breakglass::{
    domain::{Command, Refusal, event::Event, id::RequestId, review::SignedReview},
    jose::Typ,
};
use serde_json::{Value, json};

use crate::{
    kit::{Log, NOW, bytes, charter_of, grant, grant_named, key, nonce, patch},
    outside::furnished,
    replay::audit,
    succession::{following, refused},
};

fn statement(log: &Log, id: &RequestId, finding: &str, tag: &str) -> Value {
    let rules = log.charter();
    json!({"iss": rules.document().iss, "charter": rules.digest(), "request_id": id, "finding": finding,
        "note": "Read two tables, as asked", "nonce": nonce(tag)})
}

impl Log {
    fn review(&mut self, id: &RequestId, by: &str, finding: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let payload = statement(self, id, finding, by);
        self.review_with(&payload, by, at)
    }

    fn review_with(&mut self, payload: &Value, by: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let jws = key(by).jws(Typ::Review, &bytes(payload), at);
        let signed = SignedReview::verify(jws, &self.charter(), Typ::Review)?;
        self.run(&Command::Review(Box::new(signed)), at * 1000)
    }
}

/// erin has read; alice and bob approved.
fn used() -> (Log, RequestId) {
    let mut log = Log::new(&charter_of(&furnished()));
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    assert_eq!(log.state.reviews().iter().count(), 0, "nothing was issued yet");
    log.issue(&id, NOW + 11).unwrap();
    (log, id)
}

#[test]
fn a_use_is_open_until_the_formula_is_satisfied() {
    let (mut log, id) = used();
    let open = log.state.reviews().of(&id).unwrap();
    assert_eq!((open.due, open.sub.as_str()), (NOW + 10 + 86_400, "erin"));
    assert_eq!(open.missing(&log.charter()), "two of alice, bob, carol, dave");
    refused(log.review(&id, "gus/1", "proper", NOW + 20), "NO_SEAT");
    refused(log.review(&id, "dave/file", "proper", NOW + 20), "NOT_A_CUSTODIAN");
    refused(log.review(&id, "hank/1", "proper", NOW + 20), "NOT_A_CUSTODIAN");
    log.review(&id, "carol/1", "improper", NOW + 20).unwrap();
    refused(log.review(&id, "carol/2", "proper", NOW + 21), "ALREADY_SIGNED");
    assert_eq!(log.state.reviews().overdue(NOW + 86_409), 0);
    assert_eq!(log.state.reviews().overdue(NOW + 86_410), 1);
    // Late is better than never: what counts is that it is done.
    log.review(&id, "alice/2", "proper", NOW + 90_000).unwrap();
    assert_eq!(log.state.reviews().iter().count(), 0);
    refused(log.review(&id, "bob/1", "proper", NOW + 90_001), "NO_REVIEW_OPEN");
    log.audited();
}

#[test]
fn nobody_reviews_his_own_use() {
    let mut log = Log::new(&charter_of(&furnished()));
    let mine = patch(
        grant_named(&log.charter(), "dave's"),
        json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()}),
    );
    let id = log.file(&mine, "dave/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    log.issue(&id, NOW + 11).unwrap();
    refused(log.review(&id, "dave/1", "proper", NOW + 20), "SELF_REVIEW");
    assert_eq!(log.state.reviews().of(&id).unwrap().missing(&log.charter()), "two of alice, bob, carol");
}

#[test]
fn what_is_not_demanded_or_not_issued_is_not_reviewed() {
    let (mut log, id) = used();
    let another = grant_named(&log.charter(), "another");
    let other = log.file_at(&another, "erin/file", (NOW + 12) * 1000).unwrap();
    refused(log.review(&other, "alice/1", "proper", NOW + 20), "NO_REVIEW_OPEN");
    let strange = patch(statement(&log, &id, "proper", "x"), json!({"charter": key("another").kid()}));
    refused(log.review_with(&strange, "alice/1", NOW + 20), "CHARTER_MISMATCH");
    for (member, value) in [
        ("note", json!("")),
        ("note", json!("n".repeat(281))),
        ("note", json!("  ")),
        ("finding", json!("fine")),
        ("more", json!(1)),
    ] {
        let bad = patch(statement(&log, &id, "proper", "x"), json!({member: value}));
        assert!(log.review_with(&bad, "alice/1", NOW + 20).is_err(), "{member}");
    }
    // A charter that demands none ends what is open; its difference said so, marked.
    let mut document = following(&log, NOW + 30);
    document["profiles"][0].as_object_mut().unwrap().remove("review");
    log.succeed(&document, NOW + 30);
    assert_eq!(log.state.reviews().iter().count(), 0);
    log.audited();
}

#[test]
fn a_review_that_nobody_gave_is_found_by_the_auditor() {
    let (mut log, id) = used();
    log.review(&id, "carol/1", "proper", NOW + 20).unwrap();
    let at = log.entries.len() - 1;
    let forged = key("mallory").jws(Typ::Review, &bytes(&statement(&log, &id, "improper", "x")), NOW + 20);
    let mut entry: Value = serde_json::from_slice(&log.entries[at]).unwrap();
    entry["event"]["review"] = serde_json::from_slice(&forged.to_json()).unwrap();
    let mut entries = log.entries.clone();
    entries[at] = bytes(&entry);
    assert_eq!(audit(&entries, log.pinned).unwrap_err().0, at);
}
