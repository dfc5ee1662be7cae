//! Issuing keys of other algorithms, made in the HSM by the program: tokens that strict verifiers and libraries written by
//! others accept, and forgeries that neither takes.

use std::process::{Command, Stdio};

use breakglass::jose::{CompactJwt, IssuingPublicKey, TokenAlg, b64};
use serde_json::{Value, json};

use crate::{
    daemon::get,
    tool::{python, repository},
    world::World,
};

/// A world whose profile `db-read` is signed for by a key of this algorithm, and by no other.
fn reading_with(alg: TokenAlg) -> (World, IssuingPublicKey) {
    let mut public = Value::Null;
    let world = World::with_keys(&[alg], |mut document, keys| {
        public = keys[0].clone();
        document["issuing_keys"][0]["profiles"] = json!(["careful", "db-write"]);
        let key = json!({"key": keys[0], "profiles": ["db-read"], "state": "active"});
        document["issuing_keys"].as_array_mut().unwrap().push(key);
        document
    });
    (world, serde_json::from_value(public).unwrap())
}

fn node() -> Command {
    let script = repository().join("scripts/lib/node-modules");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/lib/node-modules failed");
    let mut node = Command::new("node");
    node.env("NODE_DIRECTORY", String::from_utf8(output.stdout).unwrap().trim());
    node
}

/// The token's claims under another header, with another signature.
fn forged(jwt: &str, alg: &str, key: &IssuingPublicKey, signature: impl FnOnce(&str) -> Vec<u8>) -> String {
    let payload = jwt.split('.').nth(1).unwrap();
    let header = json!({"alg": alg, "kid": key.thumbprint(), "typ": "at+jwt"}).to_string();
    let input = format!("{}.{payload}", b64::encode(header.as_bytes()));
    let signature = signature(&input);
    CompactJwt::assemble(&input, &signature)
}

fn mac(secret: &[u8], input: &str) -> Vec<u8> {
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&secret, input.as_bytes()).as_ref().to_vec()
}

fn issues_and_is_verified(alg: TokenAlg) {
    let (world, key) = reading_with(alg);
    let daemon = world.start();
    let client = world.client("erin/file");
    let jwt = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    assert_eq!(world.verify(&jwt).unwrap().claims.breakglass.profile.as_str(), "db-read");

    let (status, jwks) = get(world.ports().http, "/jwks.json");
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    assert_eq!(status, 200);
    let published: Vec<&str> =
        jwks["keys"].as_array().unwrap().iter().map(|jwk| jwk["alg"].as_str().unwrap()).collect();
    assert_eq!(published, ["ES256", alg.as_str(), "ES256"], "active ones first, ES256 before others");
    assert_eq!(jwks["keys"][1], Value::Object(key.published()));
    let discovery = get(world.ports().http, "/.well-known/openid-configuration").1;
    let discovery: Value = serde_json::from_str(&discovery).unwrap();
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["ES256", alg]));

    let mine = b64::decode(jwt.rsplit('.').next().unwrap()).unwrap();
    let (spki, jwk) = (key.key().spki_der(), serde_json::to_vec(&key).unwrap());
    let mut bad = vec![
        forged(&jwt, "none", &key, |_| Vec::new()),
        forged(&jwt, "HS256", &key, |input| mac(&spki, input)),
        forged(&jwt, "HS256", &key, |input| mac(&jwk, input)),
        forged(&jwt, alg.as_str(), &key, |_| mine.iter().rev().copied().collect()),
    ];
    for other in TokenAlg::ALL.into_iter().filter(|other| *other != alg) {
        bad.push(forged(&jwt, other.as_str(), &key, |_| mine.clone()));
    }
    for token in &bad {
        assert!(world.verify(token).is_err(), "{alg}: {token}");
    }
    let tokens: Vec<&str> = [&jwt].into_iter().chain(&bad).map(String::as_str).collect();
    for (mut program, script) in [(Command::new(python()), "lax.py"), (node(), "lax.mjs")] {
        let verdicts = World::lax_with(&mut program, script, &key, &tokens);
        assert_eq!(verdicts[0], "accepted", "{alg} {script}");
        assert!(verdicts[1..].iter().all(|verdict| verdict != "accepted"), "{alg} {script}: {verdicts:?}");
    }
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

#[test]
fn an_rs256_key_issues_what_strict_verifiers_and_foreign_libraries_accept() {
    issues_and_is_verified(TokenAlg::Rs256);
}

#[test]
fn a_ps256_key_issues_what_strict_verifiers_and_foreign_libraries_accept() {
    issues_and_is_verified(TokenAlg::Ps256);
}

#[test]
fn an_es384_key_issues_what_strict_verifiers_and_foreign_libraries_accept() {
    issues_and_is_verified(TokenAlg::Es384);
}

#[test]
fn an_eddsa_key_issues_what_strict_verifiers_and_foreign_libraries_accept() {
    issues_and_is_verified(TokenAlg::EdDsa);
}
