//! The panic button against a verifier that was not written here: `OpenBao` with its jwt auth, which keeps the published keys
//! for as long as it likes, and sessions of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use testkit::{OpenBao, wait_for};
use virtual_yubikey::{CardSpec, harness::in_stack};

use super::world::{ALICE, BOB, CAROL, DEADLINE, ERIN, Issuer, World};

/// What waits between tokens and `OpenBao`'s sessions.
const SESSIONS: &str = "/v1/sys/leases/revoke-prefix/auth/jwt/login";

#[test]
fn promise_6_openbao_refuses_a_killed_key_and_loses_its_sessions() {
    let cards = [ALICE, BOB, CAROL, ERIN].map(CardSpec::new);
    in_stack(
        "live::openbao::promise_6_openbao_refuses_a_killed_key_and_loses_its_sessions",
        &cards,
        |stack| {
            let world = World::new(stack, &Issuer::SoftHsm);
            let bao = Arc::new(OpenBao::start(Path::new(env!("CARGO_MANIFEST_DIR"))));
            // Two mounts: one that the charter knows, and one that nobody pokes.
            for mount in ["jwt", "forgotten"] {
                mounted(&world, &bao, mount);
            }
            let hook = Hook::new(&bao);
            added(&world, &bao, &hook);

            let id = world.request();
            world.judge("approve", &id, ALICE).ok();
            world.judge("approve", &id, BOB).ok();
            let jwt = world.redeem(&id);
            let session = login(&bao, "jwt", &jwt).unwrap();
            login(&bao, "forgotten", &jwt).unwrap();
            assert!(lives(&bao, &session));
            *hook.watches.lock().unwrap() = Some(session.clone());

            let why = ["--reason", "The HSM was opened"];
            let killed = world.signing("kill", &[&["key", "--current"][..], &why].concat(), CAROL);
            assert!(killed.err.contains("This DESTROYS the issuing key"), "{}", killed.err);
            assert!(killed.err.contains("vault: REFUSES what the killed key signed"), "{}", killed.err);
            let killed = killed.json();
            let canary = &killed["verifiers"][0]["canaries"][0];
            assert_eq!(
                (&canary["verdict"], &canary["since_kill"]["answer"]),
                (&json!("proven"), &json!("refused"))
            );
            assert!(canary["since_kill"]["after_ms"].as_u64().unwrap() < 20_000, "{canary}");

            assert_eq!(login(&bao, "jwt", &jwt), None, "it has fetched the keys anew");
            let stale = login(&bao, "forgotten", &jwt);
            assert!(
                stale.is_some(),
                "who is not poked goes on with the keys that it has, though they are published no more"
            );

            // What it granted before outlived the kill, until its hook was told.
            let status = wait_for("the hook to have answered", DEADLINE, || {
                let status = world.json(&["kill", "status"]).json();
                (status["verifiers"][0]["sessions"][0]["hook"]["answer"] == "accepted").then_some(status)
            });
            assert_eq!(*hook.found.lock().unwrap(), [true], "it was alive when the hook was told");
            assert!(!lives(&bao, &session));
            assert!(lives(&bao, &stale.unwrap()), "the sessions of others are others' business");
            assert_eq!(status["verifiers"][0]["sessions"][0]["requests"], 1);
            let told = hook.told.lock().unwrap().pop().unwrap();
            assert_eq!((&told["requests"], &told["verifier"]), (&json!([id]), &json!("vault")));
            destroyed(&world);
        },
    );
}

fn mounted(world: &World, bao: &OpenBao, mount: &str) {
    let root = Some(bao.root());
    let put = |path: &str, body: &Value| {
        let answer = bao.call("POST", path, root, &body.to_string());
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    };
    put(&format!("/v1/sys/auth/{mount}"), &json!({"type": "jwt"}));
    put(&format!("/v1/auth/{mount}/config"), &json!({"oidc_discovery_url": world.issuer()}));
    let role = |more: Value| {
        let role = json!({"role_type": "jwt", "bound_audiences": ["postgres-prod"], "user_claim": "sub",
            "token_ttl": "1h"});
        let (mut role, more) = (role, more);
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    put(&format!("/v1/auth/{mount}/role/db"), &role(json!({"token_policies": ["default"]})));
    let canary =
        json!({"bound_subject": "breakglass-canary", "token_no_default_policy": true, "token_type": "batch"});
    put(&format!("/v1/auth/{mount}/role/canary"), &role(canary));
}

/// One command: drafted, signed by two, in force, its canary signed, shown, and accepted.
fn added(world: &World, bao: &OpenBao, hook: &Hook) {
    // Without anybody to sign it is a draft.
    let next = world.file("next.json");
    let drafted = world.json(&["verifier", "add", "gate", "--out", &next]).json();
    assert_eq!((&drafted["draft"], &drafted["version"]), (&json!(next), &json!(2)), "{drafted}");
    let diff = world.breakglass(&["charter", "diff", &next]).ok();
    assert!(diff.contains("gate"), "{diff}");

    let (url, pin) = (format!("{}/v1/auth/jwt/login", bao.url()), world.file("pin"));
    let body = r#"{"role":"canary","jwt":"{jwt}"}"#;
    let verifier = ["verifier", "add", "vault", "--poke-url", &url, "--poke-body", body];
    let sessions = ["--longest-session", "1h", "--revocation-hook", &hook.url];
    let who = ["--serial", "1", "--serial", "2", "--pin-file", &pin, "--yes"];
    let added = world.json(&[&verifier[..], &sessions, &who].concat()).json();
    assert_eq!((&added["in_force"], &added["version"]), (&json!(true), &json!(2)), "{added}");
    let canary = &added["known"]["canaries"][0];
    assert_eq!(
        (&canary["verdict"], &canary["baseline"]["answer"]),
        (&json!("good"), &json!("accepted")),
        "{added}"
    );
    world.breakglass(&["charter", "pull"]).ok();
    let listed = world.breakglass(&["verifier", "list"]).ok();
    assert!(listed.contains("vault: accepts its canary, as it should while the key is good"), "{listed}");
    let shown = world.json(&["verifier", "probe", "vault"]).json();
    assert_eq!(shown["canaries"][0]["baseline"]["answer"], "accepted", "{shown}");
    world.json(&["verifier", "show", "nobody"]).refused(1, "VERIFIER_UNKNOWN");
}

/// The session that it grants, if it does.
fn login(bao: &OpenBao, mount: &str, jwt: &str) -> Option<String> {
    let body = json!({"role": "db", "jwt": jwt}).to_string();
    let answer = bao.call("POST", &format!("/v1/auth/{mount}/login"), None, &body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!([200, 400].contains(&answer.status), "{answer:?}");
    body["auth"]["client_token"].as_str().map(str::to_owned)
}

fn lives(bao: &OpenBao, session: &str) -> bool {
    bao.call("GET", "/v1/auth/token/lookup-self", Some(session), "").status == 200
}

fn destroyed(world: &World) {
    let status = wait_for("the key to be destroyed", DEADLINE, || {
        let status = world.json(&["kill", "status"]).json();
        (status["issuing_keys"][0]["destruction"] == "done").then_some(status)
    });
    assert_eq!(status["issuing_keys"].as_array().unwrap().len(), 1, "{status}");
    let shown = world.breakglass(&["kill", "status"]).ok();
    for line in [
        "is destroyed. A lift does not bring it back.",
        "vault: REFUSES what the killed key signed",
        "vault: its revocation hook has taken the kill",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

/// What an operator puts beside `OpenBao`: told of a kill, it ends the sessions that tokens have begun.
struct Hook {
    url: String,
    /// What it was told.
    told: Arc<Mutex<Vec<Value>>>,
    /// A session that it looks at before it ends all, and what it found.
    watches: Arc<Mutex<Option<String>>>,
    found: Arc<Mutex<Vec<bool>>>,
}

impl Hook {
    fn new(bao: &Arc<OpenBao>) -> Self {
        // Not one more owner: the server ends with the test, and this thread never does.
        let bao = Arc::downgrade(bao);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/revoke", listener.local_addr().unwrap());
        let hook = Self { url, told: Arc::default(), watches: Arc::default(), found: Arc::default() };
        let (told, watches, found) =
            (Arc::clone(&hook.told), Arc::clone(&hook.watches), Arc::clone(&hook.found));
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let Some(bao) = bao.upgrade() else { return };
                let mut reader = BufReader::new(&peer);
                let Some(body) = body(&mut reader) else { continue };
                if let Some(session) = watches.lock().unwrap().as_deref() {
                    found.lock().unwrap().push(lives(&bao, session));
                }
                told.lock().unwrap().push(body);
                let ended = bao.call("PUT", SESSIONS, Some(bao.root()), "");
                let status = if ended.status < 300 { 204 } else { 502 };
                let mut out = &peer;
                write!(out, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        });
        hook
    }
}

fn body(reader: &mut BufReader<&std::net::TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
