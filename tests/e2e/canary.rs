//! Canaries from the real daemon: signed by the HSM when a charter with a verifier is in force, kept encrypted, taken by a
//! lax verifier and refused by a strict one.

use breakglass::{
    domain::event::{Entry, Event},
    jose::{IssuingPublicKey, jwe},
};
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};
use testkit::wait_for;

use crate::{kit, tool::python, world::World};

const DEADLINE: Duration = Duration::from_secs(30);

fn world() -> (World, IssuingPublicKey) {
    let mut key = Value::Null;
    let world = World::with(|mut document| {
        key = document["issuing_keys"][0]["key"].clone();
        document["verifiers"] = json!([
            {"id": "vault", "aud": kit::AUD, "probe": {"url": "https://vault.example.test/"}},
            {"id": "blind", "aud": kit::AUD},
        ]);
        document
    });
    (world, serde_json::from_value(key).unwrap())
}

/// The encrypted canaries in the log.
fn canaries(entries: &[Vec<u8>]) -> Vec<String> {
    let events = entries.iter().map(|bytes| Entry::parse(bytes).unwrap().event);
    events
        .filter_map(|event| match event {
            Event::CanaryIssued { verifier, jwe, .. } => {
                assert_eq!(verifier.as_str(), "vault", "the other one cannot be probed");
                Some(jwe)
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_canary_is_made_once_and_opens_nothing_at_a_strict_verifier() {
    let (world, key) = world();
    let daemon = world.start();
    let client = world.client("erin/file");
    let found = wait_for("a canary", DEADLINE, || {
        Some(canaries(&client.entries().unwrap())).filter(|found| !found.is_empty())
    });
    assert!(daemon.stop().success());

    let path = world.path("data").join("canary.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let secret = p256::SecretKey::from_pkcs8_pem(&fs::read_to_string(&path).unwrap()).unwrap();
    let jwt = String::from_utf8(jwe::decrypt(&found[0], &secret).unwrap().to_vec()).unwrap();
    assert_eq!(World::lax_with(&mut Command::new(python()), "lax.py", &key, &[&jwt]), ["accepted"]);
    assert_eq!(world.verify(&jwt).map(|_| ()).unwrap_err().reason(), "TOKEN_MALFORMED");
    for bytes in world.entries() {
        let entry = String::from_utf8(bytes).unwrap();
        assert!(!entry.contains(&jwt), "it is in the log in the clear");
    }

    // A restart makes no other one, and an auditor finds the log right.
    let daemon = world.start();
    let client = world.client("erin/file");
    world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    assert!(daemon.stop().success());
    assert_eq!(canaries(&world.entries()), found);
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}
