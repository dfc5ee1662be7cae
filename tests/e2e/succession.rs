//! A new charter in the middle of things: what was authorized before is finished as it was granted, across a restart, and
//! new requests follow the new rules.

use breakglass::{
    domain::{
        charter::verify_chain,
        strict::{Seen, View, verify},
    },
    grpc::v1::RequestState,
    jose::Typ,
};
use serde_json::json;

use crate::{
    kit,
    thief::rules::{next, signed},
    world::{World, now},
};

#[test]
fn what_was_authorized_under_the_old_charter_is_finished_under_the_new_one() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 300}));
    let pending = world.wish(json!({"ttl": 300}));
    for wish in [&wish, &pending] {
        wish.file(&client).unwrap();
        wish.approve(&client, "alice/1").unwrap();
    }
    let token = world.hsm.take_away("issuing");
    assert_eq!(wish.approve(&client, "bob/1").unwrap().state(), RequestState::Authorized);

    // Reading takes one of each group from now on; nobody is removed.
    let both =
        json!({"threshold": 2, "of": [{"threshold": 1, "of": "security"}, {"threshold": 1, "of": "ops"}]});
    let stricter = next(&world, |document| document["profiles"][0]["quorum"] = both);
    assert!(client.propose(&signed(&stricter, &["carol/1", "dave/1"])).unwrap().is_none());
    assert_eq!(client.get(&wish.id().to_string()).unwrap().state(), RequestState::Authorized);
    assert_eq!(client.get(&pending.id().to_string()).unwrap().state(), RequestState::Superseded);
    let late = client.submit(&pending.id().to_string(), &pending.verdict("bob/1", Typ::Approval));
    assert_eq!(late.unwrap_err().reason, "WRONG_STATE");
    assert!(daemon.stop().success());
    token.bring_back();

    // Another process takes it over; before that it verifies it again, under the charter of its grant.
    let daemon = world.start();
    let client = world.client("erin/file");
    let jwt = wish.redeem(&client).unwrap();
    let chain = client.charters().unwrap();
    let newest = verify_chain(world.charter.digest(), chain, now()).unwrap();
    let audience = kit::AUD.parse().unwrap();
    let view =
        View { charter: &newest, audience: &audience, now: now(), allow_development: true, killed: None };
    verify(&jwt, &view, &mut Seen::default()).unwrap();
    let stale = world.wish(json!({})).file(&client).unwrap_err();
    assert_eq!(stale.reason, "CHARTER_MISMATCH");

    let fresh = world.wish(json!({"charter": newest.digest()}));
    fresh.file(&client).unwrap();
    fresh.approve(&client, "alice/1").unwrap();
    assert_eq!(fresh.approve(&client, "bob/1").unwrap().state(), RequestState::Pending);
    fresh.approve(&client, "carol/1").unwrap();
    let jwt = fresh.redeem(&client).unwrap();
    let view = View { now: now(), ..view };
    let approvers = verify(&jwt, &view, &mut Seen::default()).unwrap().approvers;
    assert!(approvers.iter().any(|person| person.as_str() == "carol"), "{approvers:?}");
    assert_eq!(world.verify(&jwt).unwrap_err().reason(), "CHARTER_MISMATCH", "a verifier that is behind");
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// The derived files can go at any time: the chain of charters is in the entries alone.
#[test]
fn the_chain_survives_the_loss_of_all_that_is_derived() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("dave/file");
    let document = next(&world, |_| ());
    client.propose(&signed(&document, &["alice/1", "bob/1"])).unwrap();
    let proposed = kit::patch(
        document.clone(),
        json!({"version": 3, "previous": breakglass::jose::Digest::of(&kit::payload(&document)), "nonce": kit::nonce("3")}),
    );
    client.propose(&signed(&proposed, &["alice/1"])).unwrap().unwrap();
    // Enough entries for a snapshot, which then holds both versions and the proposal.
    let erin = world.client("erin/file");
    let digest = breakglass::jose::Digest::of(&kit::payload(&document));
    for _ in 0..6 {
        world.wish(json!({"charter": digest, "ttl": 5})).grant_all(&erin).unwrap();
    }
    testkit::wait_for("a snapshot", crate::world::DEADLINE, || {
        let entries = client_entries(&erin);
        entries.iter().any(|entry| entry.contains(r#""type":"snapshot_taken""#)).then_some(())
    });
    assert!(daemon.stop().success());
    // From the snapshot, then from nothing but the entries.
    for derived in ["", crate::thief::database::FORGET] {
        if !derived.is_empty() {
            world.sql(derived);
        }
        let daemon = world.start();
        let client = world.client("dave/file");
        assert_eq!(client.daemon().unwrap().charter_version, 2);
        assert_eq!(client.charters().unwrap().len(), 2);
        assert_eq!(client.proposals().unwrap().len(), 1);
        assert!(daemon.stop().success());
    }
    let daemon = world.start();
    let client = world.client("dave/file");
    assert!(client.sign_charter(&signed(&proposed, &["bob/1"])).unwrap().is_none());
    assert_eq!(client.daemon().unwrap().charter_version, 3);
    assert!(daemon.stop().success());
    world.replay(&world.entries()).unwrap();
}

fn client_entries(client: &crate::client::Client) -> Vec<String> {
    client.entries().unwrap().into_iter().map(|entry| String::from_utf8(entry).unwrap()).collect()
}
