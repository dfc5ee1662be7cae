//! Introspection and revocation: who is told what of which token, and what ends it.

use std::{io::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use breakglass::{
    domain::{
        Command,
        canary::CanaryClaims,
        claims::LogPosition,
        event::{Actor, Entry, Event},
    },
    engine::quota::Rate,
    http::Settings,
    jose::{Digest, Typ, b64},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{Answer, DEADLINE, connect, get, raw},
    kit::{self, AUD, ORIGIN, key},
    world::{World, settings},
};

const SECRET: &str = "vault-secret-of-256-random-bits";
const FORM: &str = "application/x-www-form-urlencoded";
const INACTIVE: &str = r#"{"active":false}"#;

/// vault and api serve one audience, writer another; blind has no secret.
fn furnished(document: Value) -> Value {
    let secret = |text: &str| Digest::of(text.as_bytes());
    let verifiers = json!([
        {"id": "vault", "aud": AUD, "secret": secret(SECRET), "probe": {"url": "https://vault.example.test/"}},
        {"id": "api", "aud": AUD, "secret": secret("api's"), "probe": {"url": "https://api.example.test/"}},
        {"id": "writer", "aud": "https://write.example.test", "secret": secret("writer's")},
        {"id": "blind", "aud": AUD},
    ]);
    kit::patch(document, json!({"verifiers": verifiers}))
}

fn world() -> World {
    World::with("", settings(), furnished)
}

pub fn basic(id: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{id}:{secret}")))
}

pub fn post(world: &World, path: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    raw(world.address, request.as_bytes())
}

fn ask(world: &World, id: &str, secret: &str, jwt: &str) -> Answer {
    post(world, "/introspect", &basic(id, secret), &format!("token={jwt}&token_type_hint=access_token"))
}

#[track_caller]
fn inactive(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (200, INACTIVE));
}

pub fn kill(world: &World, level: &str, target: &str) {
    let charter = world.engine.charter().unwrap();
    let payload = json!({"iss": world.issuer, "charter": charter.digest(), "id": kit::nonce(target),
        "level": level, "target": target, "reason": "a test"});
    let jws = key("alice/1").jws(Typ::Kill, &kit::bytes(&payload), world.engine.now().seconds());
    world.runtime.block_on(world.engine.kill(Actor::Peer { key: None }, &jws.to_json())).unwrap();
}

pub fn jti(jwt: &str) -> String {
    claims(jwt)["jti"].as_str().unwrap().to_owned()
}

pub fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&b64::decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn events(world: &World) -> Vec<Event> {
    world.runtime.block_on(async {
        let store = world.engine.store();
        let mut found = Vec::new();
        let mut batches = store.read(0..store.size());
        while let Some(batch) = batches.next().await.unwrap() {
            found.extend(batch.iter().map(|bytes| Entry::parse(bytes).unwrap().event));
        }
        found
    })
}

#[test]
fn a_verifier_is_told_what_a_token_of_its_own_audience_says() {
    let world = world();
    let jwt = world.token("one");
    let answer = ask(&world, "vault", SECRET, &jwt);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let claims = claims(&jwt);
    let mut told = json!({"active": true, "token_type": "DPoP"});
    for name in ["iss", "sub", "aud", "client_id", "iat", "nbf", "exp", "jti", "scope", "cnf", "txn"] {
        told[name] = claims[name].clone();
    }
    told["authorization_details"] = claims["authorization_details"].clone();
    assert_eq!(answer.json(), told);
    // In the form as well, percent-encoded, and another verifier of the audience.
    let form = format!("client_id=%61pi&client_secret=api%27s&token={jwt}");
    assert_eq!(post(&world, "/introspect", "", &form).json(), told);
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let said = get(world.address, path).json();
        assert_eq!(said["introspection_endpoint"], format!("{}/introspect", world.issuer));
        assert_eq!(said["revocation_endpoint"], format!("{}/revoke", world.issuer));
    }
    let elsewhere = World::with("/eu", settings(), furnished);
    let jwt = elsewhere.token("one");
    let asked = |path: &str| post(&elsewhere, path, &basic("vault", SECRET), &format!("token={jwt}"));
    assert_eq!(asked("/eu/introspect").json()["active"], true);
    assert_eq!(asked("/introspect").json()["active"], true, "a proxy may take the path off");
}

#[test]
fn whatever_does_not_count_is_inactive_and_nothing_else_is_said() {
    let world = world();
    let jwt = world.token("one");
    inactive(&ask(&world, "writer", "writer's", &jwt));
    let parts: Vec<&str> = jwt.split('.').collect();
    let payload = b64::decode(parts[1]).unwrap();
    // Who holds the HSM can sign this; the log does not have it.
    let minted = |changes: Value| key("hsm/1").jwt(&kit::bytes(&kit::patch(claims(&jwt), changes)));
    for other in [
        String::new(),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], b64::encode(&[7; 64])),
        format!("{}.{}.", b64::encode(br#"{"alg":"none","typ":"at+jwt"}"#), parts[1]),
        key("mallory").jwt(&payload),
        key("hsm/bad").jwt(&payload),
        minted(json!({"sub": "mallory"})),
        minted(json!({"exp": claims(&jwt)["exp"].as_i64().unwrap() + 60})),
        minted(json!({"jti": Digest::of(b"another")})),
        minted(json!({"scope": null, "authorization_details": null})),
        "x".repeat(9_000),
    ] {
        inactive(&ask(&world, "vault", SECRET, &other));
    }
    assert_eq!(
        ask(&world, "vault", SECRET, &jwt).json()["active"],
        true,
        "nothing of it has ended the token"
    );
}

#[test]
fn what_was_killed_is_inactive_at_once() {
    let world = world();
    let (one, other, third) = (world.token("one"), world.token("other"), world.token("third"));
    for jwt in [&one, &other, &third] {
        assert_eq!(ask(&world, "vault", SECRET, jwt).json()["active"], true);
    }
    kill(&world, "jti", &jti(&one));
    inactive(&ask(&world, "vault", SECRET, &one));
    assert_eq!(ask(&world, "vault", SECRET, &other).json()["active"], true);
    kill(&world, "key", &key("hsm/1").kid().to_string());
    inactive(&ask(&world, "vault", SECRET, &other));
    inactive(&ask(&world, "api", "api's", &third));
}

#[test]
fn who_cannot_show_a_secret_is_told_nothing_and_counted() {
    let mut world = world();
    let jwt = world.token("one");
    let wrong = [
        basic("vault", "api's"),
        basic("vault", ""),
        basic("nobody", SECRET),
        basic("blind", ""),
        "Authorization: Basic !!!\r\n".to_owned(),
        format!("Authorization: Bearer {jwt}\r\n"),
        String::new(),
    ];
    for header in &wrong {
        let answer = post(&world, "/introspect", header, &format!("token={jwt}"));
        assert_eq!((answer.status, answer.json()), (401, json!({"error": "invalid_client"})), "{header}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
    }
    let in_form = format!("client_id=vault&client_secret=wrong&token={jwt}");
    assert_eq!(post(&world, "/introspect", "", &in_form).status, 401);
    assert_eq!(ask(&world, "vault", SECRET, &jwt).json()["active"], true);
    // Kept until the minute ends, or the daemon.
    world.stop();
    let counted: u64 = events(&world)
        .into_iter()
        .filter_map(|event| match event {
            Event::AttemptsRefused { peer: None, reason, count, .. } if reason == "VERIFIER_CREDENTIALS" => {
                Some(count)
            }
            _ => None,
        })
        .sum();
    assert_eq!(counted, wrong.len() as u64, "without the one that showed nothing, and with that of the form");
}

#[test]
fn a_flood_of_wrong_secrets_keeps_nobody_out() {
    let few = Rate { per_minute: 1.try_into().unwrap(), burst: 3.try_into().unwrap() };
    let world = World::with("", Settings { strangers: few, ..settings() }, furnished);
    let jwt = world.token("one");
    let statuses: Vec<u16> = (0..6).map(|_| ask(&world, "vault", "wrong", &jwt).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    let late = ask(&world, "vault", "wrong", &jwt);
    assert!(late.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(ask(&world, "vault", SECRET, &jwt).json()["active"], true);
    assert_eq!(post(&world, "/revoke", "", "token=x").status, 429, "strangers are one");
}

#[test]
fn a_verifier_that_asks_too_often_waits_and_no_other() {
    let few = Rate { per_minute: 1.try_into().unwrap(), burst: 2.try_into().unwrap() };
    let world = World::with("", Settings { verifiers: few, ..settings() }, furnished);
    let statuses: Vec<u16> = (0..3).map(|_| ask(&world, "vault", SECRET, "x").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(ask(&world, "api", "api's", "x").status, 200);
}

#[test]
fn what_is_no_form_is_refused() {
    let world = world();
    let vault = basic("vault", SECRET);
    for (headers, body, status) in [
        (vault.clone(), "", 400),
        (vault.clone(), "tokn=x", 400),
        (vault.clone(), "token=x&token=y", 400),
        (vault.clone(), "token=%zz", 400),
        (vault.clone(), "token=x&client_id=vault&client_secret=vault", 400),
    ] {
        let answer = post(&world, "/introspect", &headers, body);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!("invalid_request")), "{body}");
    }
    let long = format!("token={}", "x".repeat(40_000));
    assert_eq!(post(&world, "/introspect", &vault, &long).status, 413);
    for path in ["/introspect", "/revoke"] {
        let answer = get(world.address, path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path}");
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n{vault}\r\n{{}}"
        );
        assert_eq!(raw(world.address, request.as_bytes()).status, 415, "{path}");
    }
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let world = World::with("", Settings { answer: Duration::from_millis(300), ..settings() }, furnished);
    let mut stream = connect(world.address);
    let head = format!(
        "POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n{}\r\ntoken=",
        basic("vault", SECRET)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[test]
fn whoever_has_a_token_can_end_it_and_only_that_one() {
    let world = world();
    let (one, other, third) = (world.token("one"), world.token("other"), world.token("third"));
    let size = world.engine.store().size();
    let hand_in = |headers: &str, jwt: &str| post(&world, "/revoke", headers, &format!("token={jwt}"));
    let parts: Vec<&str> = one.split('.').collect();
    let unsigned = format!("{}.{}.{}", parts[0], parts[1], b64::encode(&[7; 64]));
    for (headers, jwt) in [
        (String::new(), "garbage".to_owned()),
        (String::new(), jti(&one)),
        (String::new(), unsigned),
        (basic("writer", "writer's"), one.clone()),
    ] {
        let answer = hand_in(&headers, &jwt);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 0),
            "no more is said of it than of one that ended"
        );
    }
    assert_eq!(hand_in(&basic("vault", "wrong"), &one).status, 401);
    assert_eq!(world.engine.store().size(), size, "nothing of it has changed anything");
    assert_eq!(hand_in(&basic("vault", SECRET), &one).status, 200);
    assert_eq!(hand_in("", &other).status, 200);
    for jwt in [&one, &other] {
        inactive(&ask(&world, "vault", SECRET, jwt));
        assert_eq!(world.engine.state_of(&jti(jwt).parse().unwrap()), "revoked");
        assert_eq!(hand_in("", jwt).status, 200, "again");
    }
    assert_eq!(ask(&world, "vault", SECRET, &third).json()["active"], true);
    let revoked: Vec<(String, Option<String>)> = events(&world)
        .into_iter()
        .filter_map(|event| match event {
            Event::TokenRevoked { request_id, by } => {
                Some((request_id.to_string(), by.map(|by| by.to_string())))
            }
            _ => None,
        })
        .collect();
    assert_eq!(revoked, [(jti(&one), Some("vault".to_owned())), (jti(&other), None)]);
}

/// A canary shows what a verifier believes: it counts until its key is killed, and allows nothing.
#[test]
fn a_canary_counts_for_its_verifier_until_its_key_is_killed() {
    let world = world();
    let (vault, kid) = ("vault".parse().unwrap(), key("hsm/1").kid());
    let actor = || Actor::Daemon { instance: world.engine.instance().clone() };
    let command = Command::Canary { verifier: vault, kid };
    world.runtime.block_on(world.engine.submit(actor(), command)).unwrap();
    let charter = world.engine.charter().unwrap();
    let verifier = &charter.document().verifiers[0];
    let canary = world.engine.read(|state| state.canary(&verifier.id, &kid).cloned()).unwrap();
    let position = LogPosition { origin: ORIGIN.parse().unwrap(), index: canary.index };
    let claims = CanaryClaims::new(&charter, verifier, &kid, canary.iat, position);
    let jwt = key("hsm/1").jwt(&claims.to_bytes().unwrap());
    let told = ask(&world, "vault", SECRET, &jwt).json();
    assert_eq!((&told["active"], &told["scope"]), (&json!(true), &json!("")));
    assert_eq!((told.get("authorization_details"), told.get("cnf")), (None, None));
    // api serves the same audience, and has another one.
    inactive(&ask(&world, "api", "api's", &jwt));
    inactive(&ask(&world, "vault", SECRET, &key("mallory").jwt(&claims.to_bytes().unwrap())));
    let other = CanaryClaims { jti: Digest::of(b"another"), ..claims };
    inactive(&ask(&world, "vault", SECRET, &key("hsm/1").jwt(&other.to_bytes().unwrap())));
    assert_eq!(post(&world, "/revoke", &basic("vault", SECRET), &format!("token={jwt}")).status, 200);
    assert_eq!(ask(&world, "vault", SECRET, &jwt).json()["active"], true, "it ends with its key");
    kill(&world, "key", &kid.to_string());
    inactive(&ask(&world, "vault", SECRET, &jwt));
}

#[test]
fn the_metrics_say_why() {
    let world = world();
    let jwt = world.token("one");
    ask(&world, "vault", SECRET, &jwt);
    ask(&world, "writer", "writer's", &jwt);
    post(&world, "/revoke", "", &format!("token={jwt}"));
    ask(&world, "vault", SECRET, &jwt);
    post(&world, "/revoke", "", "token=x");
    let text = wait_for("the counters", DEADLINE, || Some(get(world.address, "/metrics").text().to_owned()));
    for line in [
        r#"breakglass_introspections_total{reason="OK"} 1"#,
        r#"breakglass_introspections_total{reason="AUDIENCE_MISMATCH"} 1"#,
        r#"breakglass_introspections_total{reason="ENDED"} 1"#,
        r#"breakglass_revocations_total{reason="OK"} 1"#,
        r#"breakglass_revocations_total{reason="COMPACT_MALFORMED"} 1"#,
        r#"breakglass_http_requests_total{route="/introspect",status="200"} 3"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
