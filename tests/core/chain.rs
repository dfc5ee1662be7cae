//! A chain of charters: what may follow a version, whose signatures put it in force, and what a verifier that follows
//! the chain never goes back behind.

use breakglass::{
    domain::charter::{Charter, CharterError, Follower, Memory, SIGNING_WINDOW, verify_chain},
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::kit::{DEVICES, NOW, charter, device, document, key, nonce, patch, payload, signed};

/// The document that follows a charter, unchanged but for what every version changes.
pub fn next(before: &Charter) -> Value {
    let own = before.document();
    patch(
        serde_json::to_value(own).unwrap(),
        json!({"version": own.version + 1, "previous": before.digest(), "nonce": nonce(&format!("v{}", own.version + 1)),
            "issued_at": NOW, "expires_at": NOW + 80 * 86_400}),
    )
}

/// A document under signatures of these devices, at these seconds.
pub fn sign(document: &Value, signers: &[(&str, i64)]) -> GeneralJws {
    let payload = payload(document);
    let signatures =
        signers.iter().map(|(device, iat)| key(device).state(Typ::Charter, &payload, *iat)).collect();
    GeneralJws { payload, signatures }
}

/// The same, all at `NOW`.
pub fn by(document: &Value, devices: &[&str]) -> GeneralJws {
    sign(document, &devices.iter().map(|device| (*device, NOW)).collect::<Vec<_>>())
}

fn refused(before: &Charter, statement: GeneralJws, reason: &str) -> CharterError {
    let error = before.successor(statement, NOW).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    error
}

/// A second version, signed by alice and bob.
pub fn second() -> Charter {
    let first = charter();
    first.successor(by(&next(&first), &["alice/1", "bob/1"]), NOW).unwrap()
}

#[test]
fn a_successor_needs_the_quorum_of_the_version_before() {
    let first = charter();
    let document = next(&first);
    let second = first.successor(by(&document, &["alice/1", "bob/1"]), NOW).unwrap();
    assert_eq!(second.document().version, 2);
    assert_eq!(second.effective_from(), NOW);
    // In any order, by any device of the person, and by more than are needed.
    first.successor(by(&document, &["bob/1", "alice/2"]), NOW).unwrap();
    first.successor(by(&document, &DEVICES), NOW).unwrap();
    refused(&first, by(&document, &["alice/1"]), "CHARTER_INCOMPLETE");
    refused(&first, by(&document, &["alice/1", "alice/2"]), "CHARTER_INCOMPLETE");
    // gus is a custodian, but not of the governance formula; hank is none.
    refused(&first, by(&document, &["alice/1", "gus/1", "hank/1"]), "CHARTER_INCOMPLETE");
}

#[test]
fn a_successor_needs_its_own_quorum_as_well() {
    let first = charter();
    let document =
        patch(next(&first), json!({"governance": {"threshold": 2, "of": ["carol", "dave", "gus"]}}));
    let error = refused(&first, by(&document, &["alice/1", "bob/1"]), "CHARTER_INCOMPLETE");
    assert!(error.to_string().contains("by the new version"), "{error}");
    let error = refused(&first, by(&document, &["carol/1", "gus/1"]), "CHARTER_INCOMPLETE");
    assert!(error.to_string().contains("by the version in force"), "{error}");
    // carol and dave are both at once; alice, bob and two of the new ones are it together.
    first.successor(by(&document, &["carol/1", "dave/1"]), NOW).unwrap();
    first.successor(by(&document, &["alice/1", "carol/1", "gus/1"]), NOW).unwrap();
}

/// python-tuf GHSA-r7vq-6425-j94w: one key, listed or signing twice, filled a threshold of two.
#[test]
fn one_key_that_signs_twice_is_refused_and_never_counted_twice() {
    let first = charter();
    let document = next(&first);
    for again in [("alice/1", NOW), ("alice/1", NOW + 1)] {
        let error = refused(&first, sign(&document, &[("alice/1", NOW), again]), "CHARTER_SIGNATURES");
        assert!(error.to_string().contains("signed twice"), "{error}");
        refused(&first, sign(&document, &[("alice/1", NOW), ("bob/1", NOW), again]), "CHARTER_SIGNATURES");
    }
    // One key under two names: no document says so.
    let mut twice = document.clone();
    twice["persons"][1]["devices"].as_array_mut().unwrap().push(device("alice/1", 999));
    refused(&first, by(&twice, &["alice/1", "bob/1"]), "CHARTER_CONTENT");
}

#[test]
fn a_signature_that_does_not_belong_is_refused_and_not_passed_over() {
    let first = charter();
    let document = next(&first);
    let bytes = payload(&document);
    let good = by(&document, &["alice/1", "bob/1"]);
    let with = |signature| {
        let mut jws = good.clone();
        jws.signatures.push(signature);
        jws
    };
    let carol = key("carol/1");
    for (signature, reason) in [
        (key("mallory").state(Typ::Charter, &bytes, NOW), "CHARTER_SIGNATURES"),
        (key("dave/file").state(Typ::Charter, &bytes, NOW), "CHARTER_SIGNATURES"),
        (key("hsm/1").state(Typ::Charter, &bytes, NOW), "CHARTER_SIGNATURES"),
        (carol.state_at(Typ::Charter, &bytes, NOW, Some("desk-1")), "CHARTER_SIGNATURES"),
        (carol.state(Typ::Approval, &bytes, NOW), "CHARTER_MALFORMED"),
        (carol.state(Typ::Charter, b"{}", NOW), "CHARTER_MALFORMED"),
        (carol.state(Typ::Charter, &bytes, NOW - 61), "CHARTER_TIMES"),
        (carol.state(Typ::Charter, &bytes, NOW + 61), "CHARTER_TIMES"),
    ] {
        refused(&first, with(signature), reason);
    }
    // Signed in time; a verifier that comes later sees that, too.
    let late = with(carol.state(Typ::Charter, &bytes, NOW + SIGNING_WINDOW));
    first.successor(late, NOW + 2 * SIGNING_WINDOW).unwrap();
    let too_late = with(carol.state(Typ::Charter, &bytes, NOW + SIGNING_WINDOW + 1));
    let error = first.successor(too_late, NOW + 2 * SIGNING_WINDOW).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_TIMES");
    first.successor(good, NOW).unwrap();
}

#[test]
fn terms_are_those_of_the_second_of_signing() {
    let mut first = document();
    first["governance"] = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave", "gus"]});
    let first = crate::kit::charter_of(&first);
    let document = next(&first);
    let gus = |iat| sign(&document, &[("alice/1", NOW), ("gus/1", iat)]);
    first.successor(gus(NOW + 999), NOW + 5000).unwrap();
    // gus's term ends at NOW + 1000.
    let error = first.successor(gus(NOW + 1000), NOW + 5000).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_INCOMPLETE");
}

#[test]
fn a_new_device_signs_the_first_version_that_names_it() {
    let first = charter();
    let mut document = next(&first);
    document["persons"][1]["devices"].as_array_mut().unwrap().push(device("bob/2", 202));
    let error = refused(&first, by(&document, &["alice/1", "bob/1"]), "CHARTER_INCOMPLETE");
    assert!(error.to_string().contains("bob with device 202"), "{error}");
    let second = first.successor(by(&document, &["alice/1", "bob/2", "dave/1"]), NOW).unwrap();
    // bob/2 is new: it counts for version 2, not for version 1.
    refused(&first, by(&document, &["alice/1", "bob/2"]), "CHARTER_INCOMPLETE");
    // A requester with a hardware key becomes a custodian: only now is it a custodian's.
    let mut promoted = next(&second);
    promoted["persons"][6]["roles"] = json!(["custodian", "requester"]);
    refused(&second, by(&promoted, &["alice/1", "bob/2"]), "CHARTER_INCOMPLETE");
    second.successor(by(&promoted, &["alice/1", "bob/2", "hank/1"]), NOW).unwrap();
}

#[test]
fn versions_follow_one_another_without_forks() {
    let (first, second) = (charter(), second());
    let signers = ["alice/1", "bob/1"];
    let try_on = |before: &Charter, changes: Value, reason: &str| {
        refused(before, by(&patch(next(before), changes), &signers), reason);
    };
    try_on(&first, json!({"version": 3}), "CHARTER_VERSION");
    try_on(&first, json!({"previous": Digest::of(b"another version 1")}), "CHARTER_FORK");
    // Another version 2, where one is in force; and that one again.
    refused(&second, by(&patch(next(&first), json!({"nonce": nonce("fork")})), &signers), "CHARTER_FORK");
    refused(&second, second.statement().clone(), "CHARTER_VERSION");
    refused(&second, first.statement().clone(), "CHARTER_VERSION");
    try_on(&first, json!({"iss": "https://other.example.test"}), "CHARTER_ISSUER");
    try_on(&first, json!({"issued_at": NOW - 3601}), "CHARTER_TIMES");
    try_on(&first, json!({"issued_at": NOW + 61}), "CHARTER_TIMES");
    first.successor(by(&next(&first), &signers), NOW).unwrap();
}

#[test]
fn an_expired_charter_can_still_be_followed() {
    let first = charter();
    let long_after = first.document().expires_at + 40 * 86_400;
    let document =
        patch(next(&first), json!({"issued_at": long_after, "expires_at": long_after + 90 * 86_400}));
    let statement = sign(&document, &[("alice/1", long_after), ("bob/1", long_after)]);
    first.successor(statement, long_after).unwrap();
}

#[test]
fn a_key_belongs_to_one_principal_for_ever() {
    let first = charter();
    // alice's second device is gone from version 2, and turns up as gus's in version 3.
    let mut without = next(&first);
    without["persons"][0]["devices"].as_array_mut().unwrap().pop();
    let second = first.successor(by(&without, &["alice/1", "bob/1"]), NOW).unwrap();
    let mut moved = next(&second);
    moved["persons"][5]["devices"].as_array_mut().unwrap().push(device("alice/2", 102));
    let error = refused(&second, by(&moved, &["alice/1", "bob/1", "alice/2"]), "CHARTER_KEY_MOVED");
    assert!(error.to_string().contains("belonged to alice"), "{error}");
    // The device may come back to her, and signs again; or pass to gus with a new key.
    let mut back = next(&second);
    back["persons"][0]["devices"].as_array_mut().unwrap().push(device("alice/2", 102));
    second.successor(by(&back, &["alice/1", "bob/1", "alice/2"]), NOW).unwrap();
    let mut passed = next(&second);
    passed["persons"][5]["devices"].as_array_mut().unwrap().push(device("gus/2", 102));
    let third = second.successor(by(&passed, &["alice/1", "bob/1", "gus/2"]), NOW).unwrap();
    assert_eq!(third.lineage().owner(102).unwrap().as_str(), "gus");
    assert_eq!(second.lineage().owner(102).unwrap().as_str(), "alice");
    // Neither does an issuing key become a person's, nor a person's an issuing key.
    let mut issuing = next(&first);
    issuing["issuing_keys"].as_array_mut().unwrap().pop();
    let second = first.successor(by(&issuing, &["alice/1", "bob/1"]), NOW).unwrap();
    let mut persons = next(&second);
    persons["persons"][4]["keys"].as_array_mut().unwrap().push(key("hsm/bad").jwk());
    refused(&second, by(&persons, &["alice/1", "bob/1"]), "CHARTER_KEY_MOVED");
}

#[test]
fn an_issuing_key_lives_in_one_direction() {
    let order = ["pre-active", "active", "suspended", "deactivated", "compromised", "destroyed"];
    // Rows: from; columns: to, in this order.
    let allowed = [
        [true, true, false, false, true, true],
        // A key that signs is deactivated first: what it signed last has to expire.
        [false, true, true, true, true, false],
        [false, true, true, true, true, true],
        [false, false, false, true, true, true],
        [false, false, false, false, true, true],
        [false, false, false, false, false, true],
    ];
    for (from, row) in order.iter().zip(allowed) {
        let mut document = document();
        document["issuing_keys"][1]["state"] = json!(from);
        let first = crate::kit::charter_of(&document);
        // Left out for a version, it is not forgotten.
        let mut without = next(&first);
        without["issuing_keys"].as_array_mut().unwrap().remove(1);
        let gap = first.successor(by(&without, &["alice/1", "bob/1"]), NOW).unwrap();
        for (to, allowed) in order.iter().zip(row) {
            for before in [&first, &gap] {
                let mut document = next(before);
                document["issuing_keys"] = next(&first)["issuing_keys"].clone();
                document["issuing_keys"][1]["state"] = json!(to);
                let followed = before.successor(by(&document, &["alice/1", "bob/1"]), NOW);
                assert_eq!(followed.is_ok(), allowed, "{from} to {to}");
                if let Err(error) = followed {
                    assert_eq!(error.reason(), "CHARTER_KEY_LIFE");
                }
            }
        }
    }
}

/// Destroyed is what nobody needs any more; what must not be believed is compromised, and that at once.
#[test]
fn an_issuing_key_is_destroyed_once_its_last_token_has_expired() {
    let first = charter();
    let longest = 900;
    let follow = |before: &Charter, state: &str, at: i64| {
        let mut document = patch(next(before), json!({"issued_at": at}));
        document["issuing_keys"][0]["profiles"] = json!([]);
        document["issuing_keys"][0]["state"] = json!(state);
        let other = json!({"key": key("hsm/2").jwk(), "profiles": ["careful", "db-read", "db-write"], "state": "active"});
        document["issuing_keys"].as_array_mut().unwrap().truncate(3);
        document["issuing_keys"].as_array_mut().unwrap().push(other);
        before.successor(sign(&document, &[("alice/1", at), ("bob/1", at + 7)]), at + 7)
    };
    let error = follow(&first, "destroyed", NOW).unwrap_err();
    assert!(error.to_string().contains("it signs now: deactivate it first"), "{error}");
    for resting in ["deactivated", "suspended"] {
        let second = follow(&first, resting, NOW).unwrap();
        let kid = key("hsm/1").kid();
        assert_eq!(second.lineage().expires(&kid), Some(NOW + 7 + longest), "from the completing signature");
        for (at, allowed) in [(NOW + 8, false), (NOW + 6 + longest, false), (NOW + 7 + longest, true)] {
            let followed = follow(&second, "destroyed", at);
            assert_eq!(followed.is_ok(), allowed, "{resting}, {at}: {followed:?}");
            if let Err(error) = followed {
                assert_eq!(error.reason(), "CHARTER_KEY_LIFE");
            }
        }
        // It is not forgotten in between, nor by leaving the key out.
        let third = follow(&second, resting, NOW + 100).unwrap();
        assert!(follow(&third, "destroyed", NOW + 6 + longest).is_err());
        let fourth = follow(&follow(&third, "compromised", NOW + 200).unwrap(), "destroyed", NOW + 300);
        assert!(fourth.is_ok(), "of a compromised key nothing is accepted");
        let ended = fourth.unwrap();
        for back in ["active", "pre-active", "deactivated", "suspended"] {
            assert_eq!(follow(&ended, back, NOW + 400).unwrap_err().reason(), "CHARTER_KEY_LIFE", "{back}");
        }
    }
    // One that signs again has not signed its last token.
    let again = {
        let mut document = next(&follow(&first, "suspended", NOW).unwrap());
        document["issuing_keys"][0]["state"] = json!("active");
        document["issuing_keys"][0]["profiles"] = json!(["db-read"]);
        follow(&first, "suspended", NOW).unwrap().successor(by(&document, &["alice/1", "bob/1"]), NOW + 7)
    };
    assert_eq!(again.unwrap().lineage().expires(&key("hsm/1").kid()), None);
}

#[test]
fn it_is_in_force_from_the_signature_that_completed_it() {
    let first = charter();
    let document = next(&first);
    let effective = |signers: &[(&str, i64)]| {
        first.successor(sign(&document, signers), NOW + 5000).unwrap().effective_from()
    };
    let two = [("bob/1", NOW + 300), ("alice/1", NOW + 100)];
    assert_eq!(effective(&two), NOW + 300);
    // Whoever signs along afterwards, or has signed before without being needed, does not move it.
    assert_eq!(effective(&[two[0], two[1], ("carol/1", NOW + 4000)]), NOW + 300);
    assert_eq!(effective(&[two[0], two[1], ("hank/1", NOW)]), NOW + 300);
    assert_eq!(effective(&[two[0], two[1], ("carol/1", NOW + 200)]), NOW + 200);
}

#[test]
fn a_chain_is_followed_from_its_pinned_genesis_alone() {
    let first = charter();
    let mut statements = vec![first.statement().clone()];
    let mut newest = first.clone();
    for _ in 0..5 {
        newest = newest.successor(by(&next(&newest), &["alice/1", "carol/1"]), NOW).unwrap();
        statements.push(newest.statement().clone());
    }
    let follow = |statements: &[GeneralJws]| verify_chain(first.digest(), statements.to_vec(), NOW);
    assert_eq!(follow(&statements).unwrap(), newest);
    let reason = |statements: &[GeneralJws]| follow(statements).unwrap_err().reason();
    assert_eq!(reason(&[]), "CHARTER_NO_CHAIN");
    assert_eq!(reason(&statements[1..]), "CHARTER_NOT_PINNED");
    assert_eq!(reason(&[statements[0].clone(), statements[2].clone()]), "CHARTER_VERSION");
    let swapped = [&statements[..1], &[statements[2].clone(), statements[1].clone()]].concat();
    assert_eq!(reason(&swapped), "CHARTER_VERSION");
}

#[test]
fn a_follower_never_goes_back() {
    let (first, second) = (charter(), second());
    let third = second.successor(by(&next(&second), &["alice/1", "bob/1"]), NOW).unwrap();
    let chain: Vec<GeneralJws> =
        [&first, &second, &third].iter().map(|charter| charter.statement().clone()).collect();
    let memory = Memory { genesis: first.digest(), minimum_version: 2, seen: None };
    let start = |memory, upto: usize| Follower::start(memory, chain[..upto].to_vec(), NOW);
    assert_eq!(start(memory, 1).unwrap_err().reason(), "CHARTER_ROLLBACK");
    let mut follower = start(memory, 2).unwrap();
    assert_eq!(follower.newest(), &second);
    follower.follow(chain[2].clone(), NOW).unwrap();
    let memory = follower.memory();
    assert_eq!(memory.seen.unwrap().version, 3);
    // It remembers across runs: an older chain and a forked one are refused.
    assert_eq!(start(memory, 2).unwrap_err().reason(), "CHARTER_ROLLBACK");
    start(memory, 3).unwrap();
    let fork = patch(next(&second), json!({"nonce": nonce("fork")}));
    let forked = [&chain[..2], &[by(&fork, &["alice/1", "bob/1"])]].concat();
    let error = Follower::start(memory, forked, NOW).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_FORK");
    assert_eq!(follower.follow(chain[2].clone(), NOW).unwrap_err().reason(), "CHARTER_VERSION");
    let text = serde_json::to_string(&memory).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
}

#[test]
fn the_versions_between_are_kept_while_a_token_may_live_under_them() {
    let first = charter();
    // The longest ttl is 900 seconds.
    let second = first.successor(by(&next(&first), &["alice/1", "bob/1"]), NOW).unwrap();
    assert_eq!(second.version_named(&first.digest()), Some(&first));
    assert_eq!(second.since(first.digest()).collect::<Vec<_>>(), [&second]);
    assert_eq!(second.since(second.digest()).count(), 0);
    let chain = || [first.statement().clone(), second.statement().clone()];
    let at = |at| verify_chain(first.digest(), chain(), at).unwrap();
    assert!(at(NOW + 959).version_named(&first.digest()).is_some());
    assert!(at(NOW + 960).version_named(&first.digest()).is_none());
}

#[test]
fn a_statement_longer_than_an_entry_is_refused_before_it_is_read() {
    let first = charter();
    let mut statement = signed(&payload(&next(&first)), &["alice/1"]);
    statement.payload = vec![b' '; 60_000];
    refused(&first, statement, "CHARTER_MALFORMED");
}
