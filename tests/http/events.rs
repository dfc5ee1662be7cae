//! Security events: pushed until they are taken, fetched until they are acknowledged, each verifier its own.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use breakglass::jose::Digest;
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{Answer, DEADLINE, get, raw},
    foreign::run,
    introspection::{basic, claims, jti, kill},
    kit::{AUD, key, patch},
    world::{World, kid, settings},
};

const WRITE: &str = "https://write.example.test";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";

/// Takes what is pushed, and answers as it is told: with a status, or never.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<String>>>,
    status: Arc<AtomicU16>,
}

const NEVER: u16 = 0;

impl Receiver {
    fn new(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (got, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(status)));
        let receiver = Self { url, got: Arc::clone(&got), status: Arc::clone(&status) };
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let Some((head, body)) = request(&mut stream) else { continue };
                let status = status.load(Ordering::SeqCst);
                if status == NEVER {
                    hanging.push(stream);
                    continue;
                }
                assert!(head.starts_with("POST /events HTTP/1.1"), "{head}");
                assert!(head.to_lowercase().contains("content-type: application/secevent+jwt"), "{head}");
                if status == 202 {
                    got.lock().unwrap().push(body);
                }
                let _ =
                    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        receiver
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    /// Waits for so many.
    fn wait(&self, count: usize) -> Vec<String> {
        wait_for("security events", DEADLINE, || Some(self.got()).filter(|got| got.len() >= count))
    }
}

fn request(stream: &mut std::net::TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

/// vault and api serve one audience, writer another; api is pushed nothing where it has no place.
fn world(vault: Option<&Receiver>, api: Option<&Receiver>, writer: Option<&Receiver>) -> World {
    World::with("", settings(), |document| {
        let verifier = |id: &str, aud: &str, receiver: Option<&Receiver>| {
            let plain = json!({"id": id, "aud": aud, "secret": Digest::of(id.as_bytes())});
            receiver.map_or_else(
                || plain.clone(),
                |receiver| patch(plain.clone(), json!({"events": receiver.url})),
            )
        };
        let verifiers = json!([
            verifier("vault", AUD, vault),
            verifier("api", AUD, api),
            verifier("writer", WRITE, writer)
        ]);
        let issuer = format!("{}/ops", document["iss"].as_str().unwrap());
        let keys = json!([{"iss": issuer, "key": key("ops/1").jwk()}]);
        patch(document, json!({"verifiers": verifiers, "operational_keys": keys}))
    })
}

fn poll(world: &World, id: &str, secret: &str, body: &str) -> Answer {
    let head = basic(id, secret);
    let request = format!(
        "POST /ops/events HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    raw(world.address, request.as_bytes())
}

fn at_once(more: Value) -> String {
    patch(json!({"returnImmediately": true}), more).to_string()
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.json()["sets"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn what_ends_is_pushed_to_those_it_concerns_and_foreign_eyes_read_it() {
    let (vault, writer) = (Receiver::new(202), Receiver::new(202));
    let world = world(Some(&vault), None, Some(&writer));
    let (one, other) = (world.token("one"), world.token("other"));
    kill(&world, "jti", &jti(&one));
    let first = vault.wait(1);
    kill(&world, "key", &kid("hsm/1").to_string());
    let all = vault.wait(3);
    assert_eq!(all[0], first[0]);
    let told = writer.wait(1);
    let python = run(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/python-venv"), &[]);
    let read = |audience: &str, tokens: &[String]| -> Vec<Value> {
        let directory = testkit::temp_dir();
        let path = directory.path().join("task.json");
        let task = json!({"issuer": format!("{}/ops", world.issuer), "audience": audience, "tokens": tokens});
        std::fs::write(&path, task.to_string()).unwrap();
        serde_json::from_str(&run(&python, &["tests/http/events.py", path.to_str().unwrap()])).unwrap()
    };
    let events = read("vault", &all);
    let session = |jwt: &str| {
        json!({"format": "complex", "session": {"format": "opaque", "id": jti(jwt)},
            "user": {"format": "iss_sub", "iss": world.issuer, "sub": "erin"}})
    };
    assert_eq!(events[0]["sub_id"], session(&one));
    let event = &events[0]["events"][SESSION_REVOKED];
    assert_eq!(event["initiating_entity"], "admin");
    assert!(event["event_timestamp"].as_i64().unwrap() >= claims(&one)["iat"].as_i64().unwrap());
    let (ended, changed): (Vec<&Value>, Vec<&Value>) =
        events[1..].iter().partition(|claims| claims["events"].get(SESSION_REVOKED).is_some());
    assert_eq!((ended.len(), changed.len()), (1, 1));
    assert_eq!(ended[0]["sub_id"], session(&other));
    let uri = format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{}", kid("hsm/1"));
    assert_eq!(changed[0]["sub_id"], json!({"format": "uri", "uri": uri}));
    assert_eq!(changed[0]["events"][CREDENTIAL_CHANGE]["change_type"], "revoke");
    // writer has no token of these, but takes what the key signs.
    let events = read("writer", &told);
    assert!(events[0]["events"].get(CREDENTIAL_CHANGE).is_some());
    assert_eq!((vault.got().len(), writer.got().len()), (3, 1), "each once");
}

#[test]
fn what_was_not_taken_is_sent_again_and_a_receiver_that_hangs_delays_nobody() {
    let (vault, api) = (Receiver::new(503), Receiver::new(NEVER));
    let world = world(Some(&vault), Some(&api), None);
    let one = world.token("one");
    kill(&world, "jti", &jti(&one));
    let waiting = || get(world.address, "/metrics").text().contains("breakglass_security_events_waiting 2");
    wait_for("both to wait", DEADLINE, || waiting().then_some(()));
    let begun = Instant::now();
    world.token("meanwhile");
    assert!(begun.elapsed() < Duration::from_secs(5), "an issuance waits for a receiver");
    assert!(vault.got().is_empty());
    vault.answer(202);
    let got = vault.wait(1);
    assert_eq!(claims(&got[0])["sub_id"]["session"]["id"], jti(&one));
    // A second one goes to vault while api hangs.
    let two = world.token("two");
    kill(&world, "jti", &jti(&two));
    assert_eq!(claims(&vault.wait(2)[1])["sub_id"]["session"]["id"], jti(&two));
    assert!(api.got().is_empty());
    api.answer(202);
    assert_eq!(api.wait(2).len(), 2);
    wait_for("nothing to wait", DEADLINE, || {
        get(world.address, "/metrics").text().contains("breakglass_security_events_waiting 0").then_some(())
    });
    assert_eq!(vault.got().len(), 2, "what was taken is not sent again");
}

#[test]
fn a_receiver_that_refuses_one_event_gets_the_others() {
    let vault = Receiver::new(400);
    let world = world(Some(&vault), None, None);
    for name in ["one", "two"] {
        kill(&world, "jti", &jti(&world.token(name)));
    }
    wait_for("two to wait", DEADLINE, || {
        get(world.address, "/metrics").text().contains("breakglass_security_events_waiting 2").then_some(())
    });
    vault.answer(202);
    assert_eq!(vault.wait(2).len(), 2);
}

#[test]
fn events_are_fetched_until_they_are_acknowledged() {
    let world = world(None, None, None);
    let tokens = ["one", "two", "three"].map(|name| world.token(name));
    assert_eq!(
        poll(&world, "vault", "vault", &at_once(json!({}))).json(),
        json!({"sets": {}, "moreAvailable": false})
    );
    for jwt in &tokens {
        kill(&world, "jti", &jti(jwt));
    }
    let two = poll(&world, "vault", "vault", &at_once(json!({"maxEvents": 2})));
    assert_eq!((ids(&two).len(), &two.json()["moreAvailable"]), (2, &json!(true)));
    let again = poll(&world, "vault", "vault", &at_once(json!({"maxEvents": 2})));
    assert_eq!(again.json(), two.json(), "the same, byte for byte, until it is acknowledged");
    for (id, set) in two.json()["sets"].as_object().unwrap() {
        assert_eq!(claims(set.as_str().unwrap())["jti"], json!(id));
    }
    let known = ids(&two);
    let errors = json!({known[1].clone(): {"err": "invalid_key", "description": "?"}});
    let rest = poll(&world, "vault", "vault", &at_once(json!({"ack": [known[0]], "setErrs": errors})));
    assert_eq!(ids(&rest).len(), 1);
    assert!(!known.contains(&ids(&rest)[0]));
    let last = poll(&world, "vault", "vault", &at_once(json!({"ack": ids(&rest), "maxEvents": 0})));
    assert_eq!(last.json(), json!({"sets": {}, "moreAvailable": false}));
    // api has not taken its own, and cannot take vault's; writer has none.
    let other = poll(&world, "api", "api", &at_once(json!({"ack": known})));
    assert_eq!(ids(&other).len(), 3);
    assert_eq!(ids(&poll(&world, "writer", "writer", &at_once(json!({})))).len(), 0);
}

#[test]
fn whoever_waits_for_an_event_gets_it_when_it_comes() {
    let world = world(None, None, None);
    let jwt = world.token("one");
    let (sender, answered) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(poll(&world, "vault", "vault", "{}")).unwrap());
        assert!(answered.recv_timeout(Duration::from_millis(300)).is_err(), "there is nothing to tell yet");
        kill(&world, "jti", &jti(&jwt));
        let answer = answered.recv_timeout(DEADLINE).unwrap();
        assert_eq!(ids(&answer).len(), 1);
    });
}

#[test]
fn who_may_not_fetch_events_gets_none() {
    let world = world(None, None, None);
    kill(&world, "jti", &jti(&world.token("one")));
    assert_eq!(poll(&world, "vault", "api", &at_once(json!({}))).status, 401);
    let nobody = "POST /ops/events HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(raw(world.address, nobody.as_bytes()).status, 401);
    for body in ["", "[]", "{", "{\"ack\": 7}", "{\"maxEvents\": -1}"] {
        assert_eq!(poll(&world, "vault", "vault", body).status, 400, "{body}");
    }
    let long = format!("{{\"ack\": [\"{}\"]}}", "x".repeat(70_000));
    assert_eq!(poll(&world, "vault", "vault", &long).status, 413);
    assert_eq!(get(world.address, "/ops/events").status, 405);
    let odd = at_once(json!({"ack": ["no id"], "unknown": {}}));
    assert_eq!(ids(&poll(&world, "vault", "vault", &odd)).len(), 1);
}
