//! Two tokens, each with a key of its own: when the first one fails, the standby signs, and when it is back, it signs again.

use breakglass::{
    domain::{
        event::{Entry, Event},
        strict::Seen,
    },
    grpc::v1::RequestState,
    jose::{CompactJwt, Digest},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    daemon::get,
    world::{DEADLINE, World, now},
};

fn kid(jwt: &str) -> Digest {
    *CompactJwt::parse(jwt, 8_000).unwrap().kid()
}

/// From and to which key requests were moved.
fn moves(entries: &[Vec<u8>]) -> Vec<Digest> {
    let event = |bytes: &Vec<u8>| match Entry::parse(bytes).unwrap().event {
        Event::IssuanceMoved { kid, .. } => Some(kid),
        _ => None,
    };
    entries.iter().filter_map(event).collect()
}

#[test]
fn a_standby_signs_while_the_first_token_is_away_and_no_longer() {
    let world = World::with_standby();
    let keys: Vec<_> = world.charter.document().issuing_keys.iter().map(|key| key.key.clone()).collect();
    let (first, standby) = (keys[0].clone(), keys[3].clone());
    let daemon = world.start();
    let client = world.client("erin/file");
    let jwks: Value = serde_json::from_str(&get(world.ports().http, "/jwks.json").1).unwrap();
    let announced: Vec<&str> =
        jwks["keys"].as_array().unwrap().iter().take(2).map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(announced, [first.thumbprint().to_string(), standby.thumbprint().to_string()], "beforehand");
    let before = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    assert_eq!(kid(&before), first.thumbprint());

    // Filed and half approved before, authorized after.
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let token = world.hsm.take_away("issuing");
    let state = wish.approve(&client, "bob/1").unwrap().state();
    assert!([RequestState::Authorized, RequestState::Issued].contains(&state));
    let moved = wish.redeem(&client).unwrap();
    // Filed after.
    let later = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    let mut seen = Seen::default();
    for jwt in [&moved, &later] {
        assert_eq!(kid(jwt), standby.thumbprint());
        world.verify_at(jwt, now(), &mut seen).unwrap();
    }
    let lax = World::lax_with(
        &mut std::process::Command::new(crate::tool::python()),
        "lax.py",
        &standby,
        &[&moved, &later],
    );
    assert_eq!(lax, ["accepted", "accepted"]);
    assert_eq!(moves(&client.entries().unwrap()), [standby.thumbprint(), standby.thumbprint()]);
    assert!(daemon.process.log().contains("the standby key signs"));

    // Back again: the first key is tried first, once it has rested.
    token.bring_back();
    wait_for("the first key to sign again", DEADLINE, || {
        let jwt = world.wish(json!({})).grant_all(&client).unwrap();
        world.verify(&jwt).unwrap();
        (kid(&jwt) == first.thumbprint()).then_some(())
    });
    assert!(daemon.stop().success());
    let entries = world.entries();
    assert!(world.replay(&entries).unwrap().is_complete());
    auditor_refuses(&world, &entries);
}

/// The daemon moves an authorized request to another active key of its profile, and to no other.
fn auditor_refuses(world: &World, entries: &[Vec<u8>]) {
    let at = entries
        .iter()
        .position(|entry| String::from_utf8_lossy(entry).contains("\"issuance_moved\""))
        .unwrap();
    let entry = Entry::parse(&entries[at]).unwrap();
    let Event::IssuanceMoved { request_id, .. } = entry.event else { panic!("a move") };
    for key in [0, 1, 2] {
        let kid = world.charter.document().issuing_keys[key].key.thumbprint();
        let mut forged = entries[..at].to_vec();
        forged.push(
            Entry { event: Event::IssuanceMoved { request_id, kid }, ..entry.clone() }.to_bytes().unwrap(),
        );
        let Err((index, why)) = world.replay(&forged) else { panic!("an auditor believes it") };
        assert_eq!(index, at);
        assert!(why.contains("NO_STANDBY"), "{why}");
    }
}

/// A power cut after the move: the next process signs with the standby what was authorized for the first key, and the token
/// is the one that was authorized.
#[test]
fn a_move_survives_a_power_cut_and_gives_one_token() {
    let world = World::with_standby();
    let daemon = world.start();
    let client = world.client("erin/file");
    let standby = world.charter.document().issuing_keys[3].key.thumbprint();
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    // Neither device answers: the request goes from one to the other, and waits.
    let tokens = [world.hsm.take_away("issuing"), world.hsm.take_away("standby")];
    wish.approve(&client, "bob/1").unwrap();
    wait_for("the move", DEADLINE, || {
        (moves(&client.entries().unwrap()).first() == Some(&standby)).then_some(())
    });
    daemon.kill();
    let [issuing, other] = tokens;
    other.bring_back();
    issuing.bring_back();
    // After a cut SoftHSM may not list a token at once: a supervisor starts the daemon again until it does.
    let daemon = wait_for("a start", DEADLINE, || world.try_start(&[]).ok());
    let client = world.client("erin/file");
    let jwt = wish.redeem(&client).unwrap();
    let claims = world.verify(&jwt).unwrap().claims;
    let entries = client.entries().unwrap();
    let authorized =
        Entry::parse(&entries[usize::try_from(claims.breakglass.log.index).unwrap()]).unwrap().event;
    let Event::IssuanceAuthorized { iat, .. } = authorized else { panic!("{authorized:?}") };
    assert_eq!(
        (claims.iat, kid(&jwt)),
        (iat, *moves(&entries).last().unwrap()),
        "what was authorized, by the key of the log"
    );
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// What was away at the start of the process keeps nobody from access.
#[test]
fn a_daemon_starts_while_one_of_two_tokens_is_away() {
    let world = World::with_standby();
    let keys: Vec<_> = world.charter.document().issuing_keys.iter().map(|key| key.key.thumbprint()).collect();
    let token = world.hsm.take_away("issuing");
    let daemon = world.start();
    let client = world.client("erin/file");
    let jwt = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    assert_eq!(kid(&jwt), keys[3], "the standby signs");
    world.verify(&jwt).unwrap();
    assert!(daemon.process.log().contains("one of the two issuing devices is away"));
    assert!(daemon.stop().success());

    token.bring_back();
    let daemon = wait_for("a start", DEADLINE, || world.try_start(&[]).ok());
    let client = world.client("erin/file");
    let jwt = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    assert_eq!(kid(&jwt), keys[0], "the first key signs again");
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}
