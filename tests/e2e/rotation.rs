//! The whole life of an issuing key, and each step of it in the log: made, announced, signing, deactivated, destroyed.

use breakglass::{
    domain::{
        charter::verify_chain,
        event::{Entry, Event},
        strict::{Seen, View, verify},
    },
    jose::{Digest, IssuingPublicKey, TokenAlg},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::Client,
    daemon::get,
    kill::{kill, lift_under, signed_kill},
    kit,
    thief::rules::signed,
    world::{DEADLINE, World, now},
};

/// The next version, changed, put in force by alice and bob at once.
fn succeed(client: &Client, document: &mut Value, change: impl FnOnce(&mut Value)) {
    let previous = Digest::of(&kit::payload(document));
    let version = document["version"].as_u64().unwrap() + 1;
    *document = kit::patch(
        document.clone(),
        json!({"version": version, "previous": previous, "nonce": kit::nonce(&format!("v{version}")),
            "issued_at": now()}),
    );
    change(document);
    assert!(client.propose(&signed(document, &["alice/1", "bob/1"])).unwrap().is_none(), "in force");
}

fn jwks(world: &World) -> Vec<String> {
    let jwks: Value = serde_json::from_str(&get(world.ports().http, "/jwks.json").1).unwrap();
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// What the log says of the end of keys.
fn destroyed(client: &Client) -> Vec<(Digest, bool)> {
    let entries = client.entries().unwrap();
    let event = |bytes: &Vec<u8>| match Entry::parse(bytes).unwrap().event {
        Event::IssuingKeyDestroyed { kid, found } => Some((kid, found)),
        _ => None,
    };
    entries.iter().filter_map(event).collect()
}

/// The labels of the private keys on the token.
fn on_the_token(world: &World) -> String {
    let output = world.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    String::from_utf8(output.stdout).unwrap()
}

/// A world whose tokens live for two seconds, with a second key on the token; its public half, and the document.
fn short_lived() -> (World, IssuingPublicKey, Value) {
    let mut more = Value::Null;
    let world = World::with_keys(&[TokenAlg::Es256], |mut document, keys| {
        more = keys[0].clone();
        for profile in document["profiles"].as_array_mut().unwrap() {
            profile["max_ttl"] = json!(2);
        }
        // Those of the past are no part of this story.
        document["issuing_keys"].as_array_mut().unwrap().truncate(1);
        document
    });
    let document = serde_json::to_value(world.charter.document()).unwrap();
    (world, serde_json::from_value(more).unwrap(), document)
}

fn grant(world: &World, client: &Client, document: &Value) -> String {
    let charter = Digest::of(&kit::payload(document));
    world.wish(json!({"ttl": 2, "charter": charter})).grant_all(client).unwrap()
}

/// Whether a strict verifier with the newest charter accepts it.
fn accepted(world: &World, client: &Client, jwt: &str) -> bool {
    let newest = verify_chain(world.charter.digest(), client.charters().unwrap(), now()).unwrap();
    let audience = kit::AUD.parse().unwrap();
    let view =
        View { charter: &newest, audience: &audience, now: now(), allow_development: true, killed: None };
    verify(jwt, &view, &mut Seen::default()).is_ok()
}

#[test]
fn a_key_is_announced_used_retired_and_destroyed_and_each_step_is_in_the_log() {
    let (world, new, mut document) = short_lived();
    let (old, new_kid) = (world.issuing_key().thumbprint().to_string(), new.thumbprint().to_string());
    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(jwks(&world), std::slice::from_ref(&old));
    assert_eq!(on_the_token(&world).matches("issuing-1").count(), 1);

    // Announced: verifiers can fetch it, and it does not sign.
    let all = document["issuing_keys"][0]["profiles"].clone();
    succeed(&client, &mut document, |document| {
        let key = json!({"key": new, "profiles": all, "state": "pre-active"});
        document["issuing_keys"].as_array_mut().unwrap().push(key);
    });
    assert_eq!(jwks(&world), [old.clone(), new_kid.clone()]);
    let before = grant(&world, &client, &document);

    // Activated: the old one is still believed, for what it has signed.
    succeed(&client, &mut document, |document| {
        document["issuing_keys"][0]["state"] = json!("deactivated");
        document["issuing_keys"][1]["state"] = json!("active");
    });
    let retired = now();
    assert_eq!(jwks(&world), [new_kid.clone(), old.clone()]);
    assert!(accepted(&world, &client, &before) || now() > retired, "it lives as long as it was granted");
    let after = grant(&world, &client, &document);
    assert!(accepted(&world, &client, &after));
    assert_eq!(destroyed(&client), [], "nobody has said so");

    // Destroyed: not while a token of it lives.
    let early = {
        let mut early = document.clone();
        let previous = Digest::of(&kit::payload(&early));
        early["version"] = json!(4);
        early["previous"] = json!(previous);
        early["issuing_keys"][0]["state"] = json!("destroyed");
        early["issued_at"] = json!(retired);
        client.propose(&signed(&early, &["alice/1", "bob/1"])).unwrap_err()
    };
    assert_eq!(early.reason, "CHARTER_KEY_LIFE");
    wait_for("the last token of the old key to expire", DEADLINE, || (now() > retired + 3).then_some(()));
    succeed(&client, &mut document, |document| document["issuing_keys"][0]["state"] = json!("destroyed"));
    assert_eq!(jwks(&world), std::slice::from_ref(&new_kid));
    let gone = wait_for("the HSM to have destroyed it", DEADLINE, || destroyed(&client).pop());
    assert_eq!(gone, (old.parse().unwrap(), true));
    assert!(!on_the_token(&world).contains("issuing-1"));
    assert!(on_the_token(&world).contains("es256"), "the new one stays");
    assert!(accepted(&world, &client, &grant(&world, &client, &document)));
    let metrics = get(world.ports().http, "/metrics").1;
    assert!(metrics.contains("breakglass_issuing_keys_to_destroy 0"), "{metrics}");

    // It never comes back, and is destroyed once.
    let back = {
        let mut back = document.clone();
        let previous = Digest::of(&kit::payload(&back));
        back["version"] = json!(5);
        back["previous"] = json!(previous);
        back["issuing_keys"][0]["state"] = json!("active");
        client.propose(&signed(&back, &["alice/1", "bob/1"])).unwrap_err()
    };
    assert_eq!(back.reason, "CHARTER_KEY_LIFE");
    assert!(daemon.stop().success());
    let daemon = world.start();
    let client = world.client("erin/file");
    grant(&world, &client, &document);
    assert_eq!(destroyed(&client).len(), 1);
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// The panic button: refused and published no more at once, destroyed as soon as the HSM answers, and the second key signs.
#[test]
fn promise_6_a_killed_key_is_destroyed_as_soon_as_the_hsm_can_and_a_lift_brings_nothing_back() {
    let (world, new, mut document) = short_lived();
    let (old, new_kid) = (world.issuing_key().thumbprint(), new.thumbprint().to_string());
    let daemon = world.start();
    let client = world.client("erin/file");
    succeed(&client, &mut document, |document| {
        let key = json!({"key": new, "profiles": document["issuing_keys"][0]["profiles"], "state": "active"});
        document["issuing_keys"].as_array_mut().unwrap().push(key);
    });
    let token = world.hsm.take_away("issuing");
    let kill = kill(&world, "key", Some(&old.to_string()));
    assert!(client.kill(&signed_kill(&kill, "carol/1")).unwrap().recorded, "the HSM is not asked");
    assert_eq!(jwks(&world), std::slice::from_ref(&new_kid));
    wait_for("the alarm", DEADLINE, || {
        daemon.process.log().contains("ALARM: an issuing key was killed").then_some(())
    });
    assert_eq!(client.daemon().unwrap().to_destroy[0].kid, old.to_string());
    assert_eq!(destroyed(&client), []);
    daemon.kill();

    token.bring_back();
    let daemon = world.start();
    let client = world.client("erin/file");
    let gone = wait_for("the HSM to have destroyed it", DEADLINE, || destroyed(&client).pop());
    assert_eq!(gone, (old, true));
    assert!(!on_the_token(&world).contains("issuing-1"));
    assert_eq!(client.daemon().unwrap().to_destroy, []);
    let jwt = grant(&world, &client, &document);
    assert!(accepted(&world, &client, &jwt), "the second key signs");

    let id = kill["id"].as_str().unwrap();
    let newest = Digest::of(&kit::payload(&document));
    client.lift(&lift_under(&newest, &world, &[id], 1, &["alice/1", "bob/1"])).unwrap();
    assert_eq!(jwks(&world), [new_kid], "it is gone");
    let ready = wait_for("the daemon to be ready", DEADLINE, || {
        Some(get(world.ports().http, "/readyz").0).filter(|status| *status == 200)
    });
    assert_eq!(ready, 200, "no device misses it");
    assert!(accepted(&world, &client, &grant(&world, &client, &document)));
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// A token that is away, and a power cut: it is destroyed when the device answers, and recorded once.
#[test]
fn a_compromised_key_is_destroyed_as_soon_as_the_hsm_can() {
    let (world, new, mut document) = short_lived();
    let old = world.issuing_key().thumbprint();
    let daemon = world.start();
    let client = world.client("erin/file");
    let token = world.hsm.take_away("issuing");
    succeed(&client, &mut document, |document| {
        let key = json!({"key": new, "profiles": document["issuing_keys"][0]["profiles"], "state": "active"});
        document["issuing_keys"].as_array_mut().unwrap().push(key);
        document["issuing_keys"][0]["state"] = json!("compromised");
    });
    assert_eq!(jwks(&world), [new.thumbprint().to_string()], "refused at once, whatever the HSM does");
    wait_for("the alarm", DEADLINE, || {
        daemon
            .process
            .log()
            .contains("ALARM: an issuing key was killed, or ended by the charter")
            .then_some(())
    });
    assert!(get(world.ports().http, "/metrics").1.contains("breakglass_issuing_keys_to_destroy 1"));
    assert_eq!(destroyed(&client), []);
    let pending = client.daemon().unwrap().to_destroy;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].kid, old.to_string());
    assert!(pending[0].reason.starts_with("HSM_"), "{pending:?}");
    daemon.kill();

    token.bring_back();
    assert!(on_the_token(&world).contains("issuing-1"), "it is still there");
    let daemon = world.start();
    let client = world.client("erin/file");
    let gone = wait_for("the HSM to have destroyed it", DEADLINE, || destroyed(&client).pop());
    assert_eq!(gone, (old, true));
    assert_eq!(client.daemon().unwrap().to_destroy, []);
    assert!(!on_the_token(&world).contains("issuing-1"));
    assert!(accepted(&world, &client, &grant(&world, &client, &document)));
    assert!(daemon.stop().success());
    let entries = world.entries();
    assert!(world.replay(&entries).unwrap().is_complete());

    // The daemon says so of no other key, and once: the auditor refuses an entry that no charter has decided.
    let parsed: Vec<Entry> = entries.iter().map(|bytes| Entry::parse(bytes).unwrap()).collect();
    let is_end = |entry: &&Entry| matches!(entry.event, Event::IssuingKeyDestroyed { .. });
    let (end, last) = (parsed.iter().find(is_end).unwrap(), parsed.last().unwrap());
    for kid in [new.thumbprint(), old] {
        let event = Event::IssuingKeyDestroyed { kid, found: true };
        let mut more = entries.clone();
        more.push(Entry { at: last.at, event, ..end.clone() }.to_bytes().unwrap());
        let Err((index, why)) = world.replay(&more) else { panic!("an auditor believes it") };
        assert_eq!(index, entries.len());
        assert!(why.contains("KEY_NOT_TO_DESTROY"), "{why}");
    }
}
