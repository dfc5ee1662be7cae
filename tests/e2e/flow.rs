//! The life of a request, as clients see it.

use breakglass::{
    domain::event::{Entry, Event},
    grpc::v1::RequestState,
};
use serde_json::json;
use testkit::wait_for;

use crate::{
    kit,
    world::{DEADLINE, World, now},
};

fn kinds(entries: &[Vec<u8>]) -> Vec<String> {
    let kind = |bytes: &Vec<u8>| {
        let event = serde_json::to_value(Entry::parse(bytes).unwrap().event).unwrap();
        event["type"].as_str().unwrap().to_owned()
    };
    entries.iter().map(kind).collect()
}

#[test]
fn a_request_two_approvals_and_one_jwt_that_a_strict_verifier_accepts() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({}));

    let filed = wish.file(&client).unwrap();
    assert_eq!((filed.state(), filed.request_id), (RequestState::Pending, wish.id().to_string()));
    let first = wish.approve(&client, "alice/1").unwrap();
    assert_eq!(first.state(), RequestState::Pending);
    assert_eq!(first.missing.unwrap().approved_by, ["alice"]);
    let second = wish.approve(&client, "bob/1").unwrap();
    assert!([RequestState::Authorized, RequestState::Issued].contains(&second.state()), "{second:?}");
    let begun = now();
    let jwt = wish.redeem(&client).unwrap();
    assert_eq!(wish.redeem(&client).unwrap(), jwt, "redeeming is idempotent");

    let accepted = world.verify(&jwt).unwrap();
    assert_eq!(accepted.approvers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alice", "bob"]);
    let claims = accepted.claims;
    assert_eq!((claims.jti, claims.exp), (wish.id(), claims.iat + 60));
    assert!((begun - 5..=begun + 1).contains(&claims.iat), "its time begins at minting");
    assert_eq!(kit::bytes(&serde_json::to_value(accepted.grant).unwrap()), wish.payload);

    let entries = client.entries().unwrap();
    // A key of the past that the HSM never had is recorded as gone, whenever the daemon comes to it.
    let kinds: Vec<String> =
        kinds(&entries).into_iter().filter(|kind| kind != "issuing_key_destroyed").collect();
    let expected = [
        "charter_adopted",
        "daemon_started",
        "request_filed",
        "approval_recorded",
        "approval_recorded",
        "issuance_authorized",
        "token_issued",
        "token_released",
        "token_released",
    ];
    assert_eq!(kinds, expected);
    let index = usize::try_from(claims.breakglass.log.index).unwrap();
    let authorized = Entry::parse(&entries[index]).unwrap().event;
    assert!(matches!(authorized, Event::IssuanceAuthorized { request_id, .. } if request_id == wish.id()));
    assert!(world.replay(&entries).unwrap().is_complete());
    assert!(daemon.stop().success());
    assert_eq!(world.entries(), entries, "nothing else happened");
}

#[test]
fn requests_end_by_denial_withdrawal_deadline_and_expiry() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let state = |id: &str| client.get(id).unwrap().state();

    let denied = world.wish(json!({}));
    denied.file(&client).unwrap();
    denied.approve(&client, "bob/1").unwrap();
    assert_eq!(denied.deny(&client, "alice/1").unwrap().state(), RequestState::Denied, "one denial ends it");
    let withdrawn = world.wish(json!({}));
    withdrawn.file(&client).unwrap();
    assert_eq!(withdrawn.withdraw(&client).unwrap().state(), RequestState::Withdrawn);
    for over in [&denied, &withdrawn] {
        let error = over.approve(&client, "carol/1").unwrap_err();
        assert_eq!(error.reason, "WRONG_STATE");
        assert_eq!(over.redeem(&client).unwrap_err().reason, "WRONG_STATE");
    }

    let lapsing = world.wish(json!({"expires_at": now() + 2}));
    lapsing.file(&client).unwrap();
    let expiring = world.wish(json!({"ttl": 4}));
    expiring.grant_all(&client).unwrap();
    let ends = [
        (&lapsing, RequestState::Lapsed, "DEADLINE_PASSED"),
        (&expiring, RequestState::Expired, "DUPLICATE_REQUEST"),
    ];
    for (wish, end, again) in ends {
        let id = wish.id().to_string();
        wait_for("the request to end by itself", DEADLINE, || (state(&id) == end).then_some(()));
        assert_eq!(wish.redeem(&client).unwrap_err().reason, "WRONG_STATE");
        assert_eq!(wish.file(&client).unwrap_err().reason, again);
    }
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

#[test]
fn a_redemption_waits_for_a_request_that_another_thread_completes() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    for wish in (0..8).map(|_| world.wish(json!({}))) {
        wish.file(&client).unwrap();
        wish.approve(&client, "alice/1").unwrap();
        wish.approve(&world.client("pager/file"), "bob/1").unwrap();
        assert!(world.verify(&wish.redeem(&client).unwrap()).is_ok());
    }
}

#[test]
fn a_tool_files_for_a_person_and_neither_its_owner_nor_the_person_approves() {
    let world = World::new();
    let _daemon = world.start();
    let pager = world.client("pager/file");
    let wish = world.wish_by("pager/file", json!({"client_id": "pager"}));
    wish.file(&pager).unwrap();
    assert_eq!(wish.approve(&pager, "carol/1").unwrap_err().reason, "SELF_APPROVAL", "carol owns the tool");
    wish.approve(&pager, "alice/2").unwrap();
    wish.approve(&pager, "dave/2").unwrap();
    let claims = world.verify(&wish.redeem(&pager).unwrap()).unwrap().claims;
    assert_eq!((claims.sub.as_str(), claims.act.unwrap().sub.as_str()), ("erin", "pager"));
}

/// Hank signs with a device of his own; the profile wants two denials, and lets a subject ask again only after a while.
#[test]
fn a_careful_profile_asks_for_a_device_for_two_denials_and_for_patience() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    let hanks = || {
        let changes = json!({"sub": "hank", "client_id": "hank", "profile": "careful"});
        world.wish_by("hank/1", changes)
    };
    let denied = hanks();
    denied.file(&client).unwrap();
    assert_eq!(denied.deny(&client, "alice/1").unwrap().state(), RequestState::Pending);
    assert_eq!(
        denied.approve(&client, "alice/2").unwrap_err().reason,
        "ALREADY_SIGNED",
        "who denies has spoken"
    );
    assert_eq!(denied.deny(&client, "dave/1").unwrap().state(), RequestState::Denied);
    let wish = hanks();
    let accepted = world.verify(&wish.grant_all(&client).unwrap()).unwrap();
    assert_eq!(accepted.claims.amr, ["hwk", "pin", "user"]);
    let error = hanks().file(&client).unwrap_err();
    assert_eq!((error.reason.as_str(), error.code), ("COOLDOWN", tonic::Code::ResourceExhausted));
    assert_eq!(error.metadata["until"], (accepted.claims.iat + 1200).to_string());
}
