//! The thief wants other rules: a charter in which he is a custodian, or in which two of his friends suffice.
//!
//! He has the database, the HSM's PIN, the daemon's keys and a client that is enrolled. What he lacks are the signatures
//! of a quorum of the version in force.

use breakglass::{
    domain::{charter::verify_chain, event::Event, state::State},
    grpc::v1::RequestState,
    jose::{Digest, GeneralJws, Signature, Typ},
};
use serde_json::{Value, json};

use super::database::{FORGET, UNLOCK, forge_snapshot, insert, refuses_to_start};
use crate::{
    kit,
    world::{World, now, run},
};

/// The document that follows, changed.
pub fn next(world: &World, change: impl FnOnce(&mut Value)) -> Value {
    let document = serde_json::to_value(world.charter.document()).unwrap();
    let mut document = kit::patch(
        document,
        json!({"version": 2, "previous": world.charter.digest(), "nonce": kit::nonce("next"),
            "issued_at": now(), "expires_at": now() + 80 * 86_400}),
    );
    change(&mut document);
    document
}

/// The thief and his friend are custodians, and suffice for everything.
fn taken_over(document: &mut Value) {
    for (id, serial) in [("mallory", 901), ("trudy", 903)] {
        let devices = [1, 2].map(|number| kit::device(&format!("{id}/{number}"), serial + number));
        let person = json!({"id": id, "name": id, "roles": ["custodian"], "devices": devices});
        document["persons"].as_array_mut().unwrap().push(person);
    }
    document["governance"] = json!({"threshold": 2, "of": ["mallory", "trudy", "gus"]});
}

const THIEVES: [&str; 4] = ["mallory/1", "mallory/2", "trudy/1", "trudy/2"];

pub fn signed(document: &Value, devices: &[&str]) -> GeneralJws {
    let payload = kit::payload(document);
    let signatures =
        devices.iter().map(|device| kit::key(device).state(Typ::Charter, &payload, now())).collect();
    GeneralJws { payload, signatures }
}

/// A signature that claims to be this device's; the thief's key made it.
fn forged(payload: &[u8], device: &str) -> Signature {
    let theirs = kit::key(device).state(Typ::Charter, payload, now());
    let bytes = kit::key("mallory").sign(&Signature::signing_input(theirs.protected(), payload));
    Signature::new(theirs.protected().to_owned(), bytes).unwrap()
}

/// Charters that did not get the signatures they need: what is wrong, and the reason.
fn attempts(world: &World) -> Vec<(&'static str, GeneralJws, &'static str)> {
    let own = next(world, taken_over);
    let lower = next(world, |document| {
        document["profiles"][0]["quorum"] = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave"]});
    });
    let mut forgery = signed(&lower, &["alice/1"]);
    forgery.signatures.push(forged(&kit::payload(&lower), "bob/1"));
    let mut altered = signed(&lower, &["alice/1", "bob/1"]);
    altered.payload = kit::payload(&own);
    let other_chain = kit::patch(lower.clone(), json!({"previous": Digest::of(b"another charter")}));
    vec![
        ("the thieves' own signatures", signed(&own, &THIEVES), "CHARTER_INCOMPLETE"),
        ("the old quorum alone", signed(&own, &["alice/1", "bob/1"]), "CHARTER_INCOMPLETE"),
        (
            "new devices did not sign",
            signed(&own, &["alice/1", "bob/1", "mallory/1", "trudy/1"]),
            "CHARTER_INCOMPLETE",
        ),
        ("one of two", signed(&lower, &["alice/1"]), "CHARTER_INCOMPLETE"),
        ("one person twice", signed(&lower, &["alice/1", "alice/2"]), "CHARTER_INCOMPLETE"),
        ("one key twice", signed(&lower, &["alice/1", "alice/1"]), "CHARTER_SIGNATURES"),
        ("a custodian without a seat", signed(&lower, &["alice/1", "gus/1"]), "CHARTER_INCOMPLETE"),
        ("file keys", signed(&lower, &["alice/1", "dave/file"]), "CHARTER_SIGNATURES"),
        ("a forged signature", forgery, "CHARTER_MALFORMED"),
        ("signatures of another document", altered, "CHARTER_MALFORMED"),
        ("of another chain", signed(&other_chain, &["alice/1", "bob/1"]), "CHARTER_FORK"),
    ]
}

#[test]
fn promise_7_a_charter_written_into_the_database_does_not_come_into_force() {
    let world = World::new();
    let daemon = world.start();
    assert!(daemon.stop().success());
    let entries = world.entries();
    let index = entries.len();
    world.sql(UNLOCK);
    for (what, statement, reason) in attempts(&world) {
        let error = world.charter.successor(statement.clone(), now()).unwrap_err();
        assert_eq!(error.reason(), reason, "{what}");
        world.sql(&insert(&entries, 0, Event::CharterAdopted { charter: statement }));
        world.sql(FORGET);
        refuses_to_start(&world, "the charter in it does not follow, or not enough have signed it");
        let (wrong, _) = world.replay(&world.entries()).map(drop).expect_err(what);
        assert_eq!(wrong, index, "{what}");
        world.sql(&format!("DELETE FROM entry WHERE idx >= {index};"));
        world.sql(FORGET);
    }
    // The same tool writes what a quorum has signed: that is in force, whoever carried it here.
    let good = signed(&next(&world, |_| ()), &["alice/1", "bob/1"]);
    world.sql(&insert(&entries, 0, Event::CharterAdopted { charter: good }));
    world.sql(FORGET);
    let _daemon = world.start();
    assert_eq!(world.client("erin/file").daemon().unwrap().charter_version, 2);
}

#[test]
fn promise_7_neither_the_configuration_nor_another_genesis_changes_a_rule() {
    let world = World::new();
    let config = world.path("breakglassd.toml");
    let honest = std::fs::read_to_string(&config).unwrap();
    for line in ["threshold = 1", "charter = \"own.json\"", "governance = \"mallory\""] {
        std::fs::write(&config, format!("{line}\n{honest}")).unwrap();
        refuses_to_start(&world, "unknown field");
    }
    std::fs::write(&config, honest).unwrap();
    let document = kit::patch(
        serde_json::to_value(world.charter.document()).unwrap(),
        json!({"nonce": kit::nonce("own")}),
    );
    let own = signed(&document, &kit::DEVICES);
    let path = world.path("own.json");
    std::fs::write(&path, own.to_json()).unwrap();
    let digest = format!("--digest={}", Digest::of(&own.payload));
    let init = run(world.dir.path(), &world.hsm, &["init", "--charter", path.to_str().unwrap(), &digest]);
    let told = String::from_utf8_lossy(&init.stderr);
    assert!(
        !init.status.success() && told.contains("exists already; a new log never replaces an old one"),
        "{told}"
    );
    let _daemon = world.start();
    let daemon = world.client("erin/file").daemon().unwrap();
    assert_eq!(daemon.charter_digest, world.charter.digest().to_string());
}

#[test]
fn promise_7_over_the_wire_only_quorums_change_the_rules_and_open_connections_follow() {
    let world = World::new();
    let daemon = world.start();
    let (erin, dave) = (world.client("erin/file"), world.client("dave/file"));
    let wish = world.wish(json!({"ttl": 900}));
    wish.file(&erin).unwrap();
    for (what, statement, _) in attempts(&world) {
        match dave.propose(&statement) {
            // Signed by too few, it may be proposed, and that is all.
            Ok(proposal) => assert!(!proposal.expect(what).missing.is_empty(), "{what}"),
            Err(error) => {
                let expected = ["PROPOSAL_OPEN", "PROPOSAL_EXISTS", "NOT_A_CUSTODIAN", "ALREADY_SIGNED"];
                let refused = error.reason.starts_with("CHARTER_") || expected.contains(&&*error.reason);
                assert!(refused, "{what}: {error}");
            }
        }
        assert_eq!(erin.daemon().unwrap().charter_version, 1, "{what}");
    }
    assert_eq!(erin.proposals().unwrap().len(), dave.proposals().unwrap().len());
    // Not without the author's key, and not with the statement about another proposal.
    let about = json!({"iss": world.charter.document().iss, "charter": world.charter.digest(),
        "proposal": dave.proposals().unwrap()[0].digest, "nonce": kit::nonce("retract")});
    let retraction = |by: &str| kit::key(by).jws(Typ::Retraction, &kit::bytes(&about), now());
    assert_eq!(dave.retract_charter(&retraction("bob/1")).unwrap_err().reason, "NOT_THE_AUTHOR");
    dave.retract_charter(&retraction("alice/1")).unwrap();

    let good = next(&world, |document| {
        document["persons"].as_array_mut().unwrap().remove(4);
        document["clients"][0]["subjects"] = json!(["ivan"]);
    });
    let proposal = dave.propose(&signed(&good, &["alice/1"])).unwrap().unwrap();
    assert_eq!((proposal.version, proposal.author.as_str()), (2, "alice"));
    assert!(dave.sign_charter(&signed(&good, &["gus/1"])).unwrap().is_some());
    // A statement may carry what is held already.
    assert!(dave.sign_charter(&signed(&good, &["alice/1", "gus/1", "bob/1"])).unwrap().is_none());

    // Erin is nobody any more, on the connection that she opened as somebody.
    assert_eq!(erin.daemon().unwrap_err().reason, "CLIENT_UNKNOWN");
    assert_eq!(dave.get(&wish.id().to_string()).unwrap().state(), RequestState::Superseded);
    let chain = dave.charters().unwrap();
    let newest = verify_chain(world.charter.digest(), chain, now()).unwrap();
    assert_eq!(newest.digest(), Digest::of(&kit::payload(&good)));
    assert!(daemon.stop().success());
    world.replay(&world.entries()).unwrap();
    let _daemon = world.start();
    assert_eq!(world.client("dave/file").daemon().unwrap().charter_version, 2);
}

/// A snapshot is believed if the log names it, and the log is the thief's to write. The charter in it is not: the chain
/// is followed in the log before anything is served.
#[test]
fn promise_7_a_charter_written_into_a_snapshot_is_not_served() {
    let world = World::new();
    let daemon = world.start();
    assert!(daemon.stop().success());
    let entries = world.entries();
    let honest = world.replay(&entries).unwrap().state().to_snapshot().unwrap();
    let mut state: Value = serde_json::from_slice(&honest).unwrap();
    let own = signed(&next(&world, taken_over), &THIEVES);
    state["charter"]["statement"] = serde_json::to_value(&own).unwrap();
    state["versions"][0]["digest"] = json!(Digest::of(&own.payload));
    assert!(State::from_snapshot(&crate::world::canonical(&state)).is_ok(), "it can be read");
    forge_snapshot(&world, &entries, &state);
    refuses_to_start(&world, "is not the charter that the state names");
}
