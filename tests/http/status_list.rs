//! The status list as it is served: signed under an issuer of its own, renewed at once when a token ends, by nobody's asking.

use std::{path::Path, sync::atomic::Ordering};

use breakglass::{
    domain::{strict, strict::Seen},
    jose::{P256PublicKey, b64},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{Answer, DEADLINE, get},
    foreign::run,
    introspection::{basic, claims, jti, kill, post},
    kit::{AUD, key, patch},
    world::{World, kid, settings},
};

const MEDIA_TYPE: &str = "application/statuslist+jwt";

/// Tokens of db-read have a place; there is a verifier to ask, too.
fn furnished(mut document: Value) -> Value {
    let issuer = format!("{}/ops", document["iss"].as_str().unwrap());
    document["profiles"][0]["status"] = json!(true);
    let secret = breakglass::jose::Digest::of(b"vault's");
    let verifiers = json!([{"id": "vault", "aud": AUD, "secret": secret}]);
    let keys =
        json!([{"iss": issuer, "key": key("ops/1").jwk()}, {"iss": issuer, "key": key("ops/2").jwk()}]);
    patch(document, json!({"operational_keys": keys, "verifiers": verifiers}))
}

fn world() -> World {
    World::with("", settings(), furnished)
}

/// The list, once there is one.
fn list(world: &World) -> Answer {
    let fetch = || Some(get(world.address, "/ops/statuslist")).filter(|answer| answer.status == 200);
    wait_for("a status list", DEADLINE, fetch)
}

fn place(jwt: &str) -> usize {
    usize::try_from(claims(jwt)["status"]["status_list"]["idx"].as_u64().unwrap()).unwrap()
}

/// What the list of this moment says, by foreign zlib.
fn looked_up(world: &World, program: &str, arguments: &[&str], tokens: &[&str]) -> Value {
    let directory = testkit::temp_dir();
    let path = directory.path().join("task.json");
    let task = json!({"issuer": format!("{}/ops", world.issuer), "tokens": tokens});
    std::fs::write(&path, task.to_string()).unwrap();
    let arguments: Vec<&str> = arguments.iter().copied().chain([path.to_str().unwrap()]).collect();
    serde_json::from_str(&run(program, &arguments)).unwrap()
}

/// Waits until the list is another than this.
fn renewed(world: &World, old: &str) -> Answer {
    let fetch = || Some(get(world.address, "/ops/statuslist")).filter(|answer| answer.text() != old);
    wait_for("another status list", DEADLINE, fetch)
}

#[test]
fn the_list_is_signed_under_an_issuer_of_its_own() {
    for path in ["", "/emergency/eu"] {
        let world = World::with(path, settings(), furnished);
        let jwt = world.token("one");
        let answer = list(&world);
        assert_eq!(answer.header("content-type"), Some(MEDIA_TYPE));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=15"));
        let parts: Vec<&str> = answer.text().split('.').collect();
        let header: Value = serde_json::from_slice(&b64::decode(parts[0]).unwrap()).unwrap();
        assert_eq!(header, json!({"alg": "ES256", "kid": kid("ops/1"), "typ": "statuslist+jwt"}));
        let signature: [u8; 64] = b64::decode(parts[2]).unwrap().try_into().unwrap();
        let public: P256PublicKey = key("ops/1").public;
        public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
        let said = claims(answer.text());
        let uri = format!("{}/ops/statuslist", world.issuer);
        assert_eq!((&said["iss"], &said["sub"]), (&json!(format!("{}/ops", world.issuer)), &json!(uri)));
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 45);
        assert_eq!((&said["ttl"], &said["status_list"]["bits"]), (&json!(15), &json!(1)));
        assert_eq!(claims(&jwt)["status"]["status_list"]["uri"], uri);
        // Two issuers, which share neither keys nor documents.
        let issuer = get(world.address, &format!("{path}/jwks.json")).json();
        let operational = get(world.address, &format!("{path}/ops/jwks.json")).json();
        let kids = |jwks: &Value| -> Vec<String> {
            let keys = jwks["keys"].as_array().unwrap().iter();
            keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(kids(&operational), [kid("ops/1").to_string(), kid("ops/2").to_string()]);
        assert!(kids(&issuer).iter().all(|one| !kids(&operational).contains(one)));
        let at = |place: String| get(world.address, &place).json();
        for place in [
            format!("{path}/ops/.well-known/openid-configuration"),
            format!("/.well-known/oauth-authorization-server{path}/ops"),
            "/ops/.well-known/openid-configuration".to_owned(),
        ] {
            let said = at(place);
            assert_eq!(said["issuer"], format!("{}/ops", world.issuer));
            assert_eq!(said["jwks_uri"], format!("{}/ops/jwks.json", world.issuer));
        }
        assert_eq!(get(world.address, "/ops/statuslist?time=1800000000").status, 501);
    }
}

#[test]
fn without_an_operational_key_there_is_no_list() {
    let world = World::new();
    assert!(claims(&world.token("one")).get("status").is_none());
    for path in ["/ops/statuslist", "/ops/jwks.json", "/.well-known/openid-configuration/ops"] {
        assert_eq!(get(world.address, path).status, 404, "{path}");
    }
    assert_eq!(world.ops_signed.load(Ordering::SeqCst), 0);
}

#[test]
fn what_ends_a_token_is_in_the_next_list_at_once_by_foreign_eyes() {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib");
    let (python, modules) = (run(venv.join("python-venv"), &[]), run(venv.join("node-modules"), &[]));
    let world = world();
    let tokens = ["one", "other", "third"].map(|name| world.token(name));
    let places = tokens.each_ref().map(|jwt| place(jwt));
    assert!(places[0] != places[1] && places[1] != places[2] && places[0] != places[2], "{places:?}");
    let all: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let both = |expected: Value| {
        assert_eq!(looked_up(&world, &python, &["tests/http/status.py"], &all), expected);
        assert_eq!(looked_up(&world, "node", &["tests/http/status.mjs", &modules], &all), expected);
    };
    let old = list(&world);
    both(json!([0, 0, 0]));
    kill(&world, "jti", &jti(&tokens[0]));
    let old = renewed(&world, old.text());
    both(json!([1, 0, 0]));
    post(&world, "/revoke", &basic("vault", "vault's"), &format!("token={}", tokens[1]));
    let old = renewed(&world, old.text());
    both(json!([1, 1, 0]));
    kill(&world, "key", &kid("hsm/1").to_string());
    renewed(&world, old.text());
    both(json!([1, 1, 1]));
}

#[test]
fn nothing_is_signed_because_somebody_asked() {
    let world = world();
    list(&world);
    let before = world.ops_signed.load(Ordering::SeqCst);
    for _ in 0..200 {
        assert_eq!(get(world.address, "/ops/statuslist").status, 200);
    }
    // One of them may have fallen due meanwhile.
    assert!(world.ops_signed.load(Ordering::SeqCst) <= before + 1);
}

#[test]
fn a_device_that_was_away_signs_when_it_is_back_and_issuing_does_not_wait_for_it() {
    let world = world();
    let old = list(&world);
    world.ops_broken.store(true, Ordering::SeqCst);
    let jwt = world.token("meanwhile");
    kill(&world, "jti", &jti(&jwt));
    assert_eq!(get(world.address, "/ops/statuslist").text(), old.text(), "it counts until its exp");
    world.ops_broken.store(false, Ordering::SeqCst);
    renewed(&world, old.text());
}

/// What an operational key signs is no access token, whatever it says of itself.
#[test]
fn an_access_token_by_an_operational_key_is_refused() {
    let world = world();
    let good = world.token("one");
    let payload = b64::decode(good.split('.').nth(1).unwrap()).unwrap();
    let forged = key("ops/1").jwt(&payload);
    let charter = world.engine.charter().unwrap();
    let audience = AUD.parse().unwrap();
    let now = world.engine.now().seconds();
    let view =
        strict::View { charter: &charter, audience: &audience, now, allow_development: true, killed: None };
    strict::verify(&good, &view, &mut Seen::default()).unwrap();
    let refused = strict::verify(&forged, &view, &mut Seen::default()).unwrap_err();
    assert_eq!(refused.reason(), "ISSUING_KEY_UNKNOWN");
    let listed = list(&world);
    let refused = strict::verify(listed.text(), &view, &mut Seen::default()).unwrap_err();
    assert_eq!(refused.reason(), "TOKEN_MALFORMED");
    let ask = |jwt: &str| post(&world, "/introspect", &basic("vault", "vault's"), &format!("token={jwt}"));
    assert_eq!(ask(&good).json()["active"], true);
    assert_eq!(ask(&forged).text(), r#"{"active":false}"#);
    assert_eq!(ask(listed.text()).text(), r#"{"active":false}"#);
}
