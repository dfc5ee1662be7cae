//! What went wrong in other systems, row by row of SECURITY.md's list, and cannot go wrong here.

use breakglass::{
    domain::{event::Event, strict},
    jose::Typ,
};
use serde_json::{Value, json};

use crate::kit::{
    AUD, Log, NOW, bytes, charter, document, flow, grant, grant_named, key, nonce, patch, payload,
};

fn authorized(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::IssuanceAuthorized { .. }))
}

fn write_grant(log: &Log) -> Value {
    patch(
        grant(&log.charter()),
        json!({"profile": "db-write", "aud": "https://write.example.test",
        "authorization_details": [{"type": "database", "actions": ["write"], "identifier": "t_orders",
            "locations": ["pg/prod/orders"]}]}),
    )
}

#[test]
fn lesson_3_two_people_from_two_different_teams() {
    let mut log = Log::new(&charter());
    let id = log.file(&write_grant(&log), "erin/file").unwrap();
    assert!(!authorized(&log.approve(&id, "alice/1", NOW + 1).unwrap()));
    assert!(!authorized(&log.approve(&id, "bob/1", NOW + 2).unwrap()), "both are of security");
    assert!(authorized(&log.approve(&id, "dave/1", NOW + 3).unwrap()), "one of security, one of ops");
    assert_eq!(log.authorization(&id).approvals.len(), 2, "the superfluous one is left out");
}

#[test]
fn lesson_4_zero_empty_and_nested_thresholds_are_no_quorum() {
    let one = |of: Value| json!({"threshold": 1, "of": of});
    for (formula, expected) in [
        (json!({"threshold": 0, "of": ["alice", "bob"]}), "QUORUM_THRESHOLD_ZERO"),
        (json!({"threshold": 2, "of": []}), "QUORUM_LIST_EMPTY"),
        (json!({"threshold": 2, "of": "nobody"}), "QUORUM_GROUP_UNKNOWN"),
        (json!({"threshold": 3, "of": ["alice", "bob"]}), "QUORUM_THRESHOLD_TOO_HIGH"),
        (json!({"threshold": 2, "of": ["alice", "alice"]}), "QUORUM_PERSON_DUPLICATE"),
        (one(json!(["alice", "bob", "carol"])), "QUORUM_ONE_PERSON_SUFFICES"),
        (
            json!({"threshold": 1, "of": [one(json!("ops")), {"threshold": 2, "of": "security"}]}),
            "QUORUM_ONE_PERSON_SUFFICES",
        ),
        (
            json!({"threshold": 2, "of": [one(json!(["alice"])), one(json!(["alice"]))]}),
            "QUORUM_UNSATISFIABLE",
        ),
        (
            json!({"threshold": 2, "of": [{"threshold": 0, "of": "ops"}, "alice", "bob"]}),
            "QUORUM_THRESHOLD_ZERO",
        ),
    ] {
        let mut document = document();
        document["profiles"][0]["quorum"] = formula.clone();
        let error = breakglass::domain::charter::Rules::parse(&payload(&document)).unwrap_err();
        let source = std::error::Error::source(&error).and_then(|source| {
            source
                .downcast_ref::<breakglass::domain::quorum::QuorumError>()
                .map(breakglass::domain::quorum::QuorumError::reason)
        });
        assert_eq!(source, Some(expected), "{formula}");
    }
}

#[test]
fn lesson_5_a_requester_does_not_approve_himself() {
    let mut log = Log::new(&charter());
    let change = json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()});
    let id = log.file(&patch(grant(&log.charter()), change), "dave/file").unwrap();
    assert_eq!(log.approve(&id, "dave/1", NOW + 1).unwrap_err().reason(), "SELF_APPROVAL");
    let change = json!({"client_id": "pager", "requester_key": key("pager/file").kid()});
    let id = log.file(&patch(grant_named(&log.charter(), "tool"), change), "pager/file").unwrap();
    assert_eq!(log.approve(&id, "carol/2", NOW + 2).unwrap_err().reason(), "SELF_APPROVAL");
}

#[test]
fn lesson_5_a_human_with_two_devices_counts_once() {
    let mut log = Log::new(&charter());
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    assert_eq!(log.approve(&id, "alice/2", NOW + 2).unwrap_err().reason(), "ALREADY_SIGNED");
    assert!(authorized(&log.approve(&id, "gus/1", NOW + 3).unwrap()));
}

#[test]
fn lesson_5_a_person_in_several_groups_fills_one_seat() {
    let mut document = document();
    document["groups"] = json!({"ops": ["alice", "carol", "dave"], "security": ["alice", "bob", "dave"]});
    let charter = crate::kit::charter_of(&document);
    let mut log = Log::new(&charter);
    let id = log.file(&write_grant(&log), "erin/file").unwrap();
    assert!(!authorized(&log.approve(&id, "alice/1", NOW + 1).unwrap()), "alice is of both teams");
    assert!(authorized(&log.approve(&id, "carol/1", NOW + 2).unwrap()));
}

#[test]
fn lesson_5_more_than_enough_is_enough() {
    // Two approvals arrive too late to mint on; the third finds three where two are needed.
    let mut log = Log::new(&charter());
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    let payload = bytes(&grant(&log.charter()));
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    let early = key("bob/1").state(Typ::Approval, &payload, NOW + 1);
    assert!(!authorized(&log.submit(&payload, early, NOW + 200).unwrap()), "nobody mints on old approvals");
    assert!(authorized(&log.approve(&id, "carol/1", NOW + 201).unwrap()));
}

#[test]
fn lesson_6_one_key_does_not_fill_the_threshold_by_signing_twice() {
    let mut log = Log::new(&charter());
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    for at in [NOW + 1, NOW + 2, NOW + 300] {
        assert_eq!(log.approve(&id, "alice/1", at).unwrap_err().reason(), "ALREADY_SIGNED");
    }
    assert_eq!(log.state.request(&id).unwrap().state(), "pending");
}

#[test]
fn lesson_7_the_reason_is_asked_signed_shown_and_kept() {
    let mut log = Log::new(&charter());
    for (reason, expected) in [
        (json!(null), "JSON_SHAPE_UNEXPECTED"),
        (json!(""), "JSON_SHAPE_UNEXPECTED"),
        (json!("  \u{a0} "), "JSON_SHAPE_UNEXPECTED"),
        (json!("x".repeat(281)), "JSON_SHAPE_UNEXPECTED"),
        (json!(7), "JSON_SHAPE_UNEXPECTED"),
    ] {
        let asked = patch(grant(&log.charter()), json!({"reason": reason}));
        assert_eq!(log.file(&asked, "erin/file").unwrap_err().reason(), expected, "{asked}");
    }
    for text in ["pay \u{202e}evil", "a\u{0}b", "e\u{301}", "zero\u{200b}width"] {
        let plain = bytes(&patch(grant(&log.charter()), json!({"reason": "MARK"})));
        let asked = String::from_utf8(plain).unwrap().replace("MARK", text).into_bytes();
        let jws = key("erin/file").jws(Typ::Request, &asked, NOW);
        let refusal = breakglass::domain::statement::SignedGrant::verify(jws, &log.charter()).unwrap_err();
        assert!(
            ["TEXT_FORBIDDEN_CHARACTER", "TEXT_NOT_NFC", "JSON_MALFORMED"].contains(&refusal.reason()),
            "{text:?}"
        );
    }
    let no_incident = patch(grant(&log.charter()), json!({"incident": null}));
    assert_eq!(log.file(&no_incident, "erin/file").unwrap_err().reason(), "JSON_SHAPE_UNEXPECTED");
    // The longest reason fits, and stands in the log and in the token, under every signature.
    let long = "ä".repeat(140);
    let id = log.file(&patch(grant(&log.charter()), json!({"reason": long})), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    log.approve(&id, "bob/1", NOW + 2).unwrap();
    let (charter, audience) = (log.charter(), AUD.parse().unwrap());
    let view = strict::View {
        charter: &charter,
        audience: &audience,
        now: NOW + 3,
        allow_development: true,
        killed: None,
    };
    let jwt = log.issue(&id, NOW + 3).unwrap();
    let accepted = strict::verify(&jwt, &view, &mut strict::Seen::default()).unwrap();
    assert_eq!(accepted.grant.reason.as_str(), long);
    let kept = log.entries.iter().any(|entry| {
        matches!(breakglass::domain::event::Entry::parse(entry).unwrap().event, Event::RequestFiled { request }
            if String::from_utf8(request.payload.clone()).unwrap().contains(&long))
    });
    assert!(kept);
}

#[test]
fn lesson_8_the_clock_of_a_token_starts_at_minting() {
    let mut log = Log::new(&charter());
    let asked = patch(grant(&log.charter()), json!({"ttl": 30, "expires_at": NOW + 3_600}));
    let id = log.file(&asked, "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 1).unwrap();
    log.approve(&id, "bob/1", NOW + 3_000).unwrap();
    let authorization = log.authorization(&id);
    assert_eq!((authorization.iat, authorization.exp), (NOW + 3_000, NOW + 3_030));
    let (_, _, jwt) = flow();
    assert!(!jwt.is_empty());
}

#[test]
fn lesson_8_grants_do_not_touch_each_other() {
    let mut log = Log::new(&charter());
    let ids: Vec<_> = (0..3)
        .map(|n| log.file(&grant_named(&log.charter(), &format!("g{n}")), "erin/file").unwrap())
        .collect();
    for device in ["alice/1", "bob/1"] {
        for id in &ids {
            log.approve(id, device, NOW + 5).unwrap();
        }
    }
    log.issue(&ids[0], NOW + 6).unwrap();
    log.issue(&ids[1], NOW + 6).unwrap();
    log.redeem(&ids[0], "erin/file", NOW + 7, "r").unwrap();
    let states: Vec<_> = ids.iter().map(|id| log.state.request(id).unwrap().state()).collect();
    assert_eq!(states, ["issued", "issued", "authorized"]);
    log.run(&breakglass::domain::Command::Tick, (NOW + 65) * 1000).unwrap();
    assert!(ids.iter().all(|id| log.state.closed(id).is_some()));
    assert_ne!(nonce("g0"), nonce("g1"));
}
