//! From a draft to a charter: what is accepted, and how each mistake is told.

use breakglass::jose::{Digest, GeneralJws, P256PublicKey, ProtectedHeader, Signature, Typ, b64};
use p256::{
    SecretKey,
    ecdsa::{Signature as Ecdsa, SigningKey, signature::Signer as _},
};
use serde_json::{Value, json};

use crate::run::Place;

const DRAFT: &str = r#"
issuer = "https://breakglass.example"
development = true
valid_days = 30
daemon = "daemon.json"
governance = { threshold = 2, of = "custodians" }

[groups]
custodians = ["bob", "carol", "dave"]

[[person]]
id = "alice"
name = "Alice Example"
roles = ["requester", "auditor"]
keys = ["alice.jwk.json"]
until = 2099-01-01T00:00:00Z

[[person]]
id = "bob"
name = "Bob Example"
roles = ["custodian"]
devices = ["bob.json"]

[[person]]
id = "carol"
name = "Carol Example"
roles = ["custodian"]
devices = ["carol.json"]

[[person]]
id = "dave"
name = "Dave Example"
roles = ["custodian"]
devices = ["dave.json"]

[[profile]]
id = "db-read"
description = "Read the production database"
quorum = { threshold = 2, of = "custodians" }
audience = "https://db.example"
max_ttl = "15m"
approval_window = "1h"
allow = [{ type = "database", actions = ["read"], locations = ["pg/prod/*"] }]
"#;

fn key(seed: u8) -> (SigningKey, P256PublicKey) {
    let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
    (SigningKey::from(&secret), P256PublicKey::try_from(&secret.public_key()).unwrap())
}

/// A folder with everything that the draft names.
fn drafted() -> Place {
    let place = Place::new();
    place.write("draft.toml", DRAFT);
    place.write(
        "daemon.json",
        json!({
            "issuing_key": key(30).1,
            "log_key": {"origin": "breakglass.example/log",
                        "key": {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}},
            "daemon": {"id": "daemon-1", "spki": Digest::of(b"daemon")},
        })
        .to_string(),
    );
    place.write("alice.jwk.json", json!(key(1).1).to_string());
    for (id, seed) in [("bob", 11), ("carol", 12), ("dave", 13)] {
        place.write(&format!("{id}.json"), device(id, seed).to_string());
    }
    place
}

fn device(id: &str, seed: u8) -> Value {
    let (statement, intermediate) = (b64::encode(&[seed]), b64::encode(b"f9"));
    let evidence = Digest::of(format!("{statement}.{intermediate}").as_bytes());
    json!({
        "person": id,
        "device": {"kind": "piv", "key": key(seed).1, "serial": seed, "firmware": "5.7.4", "attestation": evidence},
        "evidence": {"statement": statement, "intermediate": intermediate},
    })
}

/// The charter as the owners of these keys would sign it.
fn sign(place: &Place, seeds: &[u8]) {
    let payload = place.read("charter.payload.json");
    let signatures = seeds.iter().map(|seed| {
        let (secret, public) = key(*seed);
        let header = ProtectedHeader {
            kid: public.thumbprint(),
            typ: Typ::Charter,
            iat: 1_795_312_980,
            station: None,
        };
        let protected = header.encode().unwrap();
        let made: Ecdsa = secret.sign(&Signature::signing_input(&protected, &payload));
        Signature::new(protected, made.to_bytes().into()).unwrap()
    });
    let signatures = signatures.collect();
    place.write("charter.json", GeneralJws { payload, signatures }.to_json());
}

#[test]
fn a_draft_becomes_a_charter_that_a_configuration_can_pin() {
    let place = drafted();
    let made = place.json(&["charter", "new", "--from", "draft.toml"]);
    assert_eq!(made["words"].as_str().unwrap().split(' ').count(), 12);
    let evidence: Value = serde_json::from_slice(&place.read("evidence.json")).unwrap();
    assert_eq!(evidence.as_array().unwrap().len(), 3);
    let bare = place.json(&["charter", "show", "charter.payload.json"]);
    assert_eq!((&bare["digest"], &bare["complete"]), (&made["digest"], &json!(false)));
    sign(&place, &[11, 12, 13]);
    let genesis = made["digest"].as_str().unwrap();
    place.write("config.toml", format!("genesis = \"{genesis}\"\ncharter = \"charter.json\"\n"));
    let pinned = place.json(&["--config", "config.toml", "charter", "show"]);
    assert_eq!(pinned["complete"], json!(true));
    assert_eq!(
        place.run(&["--config", "config.toml", "audit", "vkey"]).stdout,
        "breakglass.example/log+a6ba7486+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n"
    );
}

#[test]
fn the_draft_in_the_help_makes_a_charter() {
    let place = drafted();
    let help = place.run(&["charter", "new", "--help"]).stdout;
    let draft =
        help.split("(paths are relative to it):\n").nth(1).unwrap().split("Optional:").next().unwrap();
    let record = |id: &str| {
        format!(
            "[[person]]\nid = \"{id}\"\nname = \"{id}\"\nroles = [\"custodian\"]\ndevices = [\"{id}.json\"]\n"
        )
    };
    let others = record("carol") + &record("dave");
    place.write("draft.toml", draft.replace("# ... carol and dave likewise", &others));
    place.write("bob.jwk.json", json!(key(2).1).to_string());
    root(&place, "yubico-root.pem");
    let made = place.json(&["charter", "new", "--from", "draft.toml"]);
    let shown = place.json(&["charter", "show", "charter.payload.json"]);
    assert_eq!(shown["digest"], made["digest"]);
    assert_eq!(shown["profiles"], json!([{"id": "db-read", "approved_by": "2 of custodians"}]));
}

/// Any certificate serves as a root until a device has to lead to it.
fn root(place: &Place, name: &str) {
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root", "-keyout", "/dev/null"])
        .arg("-out")
        .arg(place.path().join(name))
        .output()
        .unwrap();
    assert!(made.status.success());
}

#[test]
fn a_charter_that_lacks_a_signature_or_is_another_is_not_used() {
    let place = drafted();
    let made = place.json(&["charter", "new", "--from", "draft.toml"]);
    sign(&place, &[11, 12]);
    let genesis = made["digest"].as_str().unwrap();
    place.write("config.toml", format!("genesis = \"{genesis}\"\ncharter = \"charter.json\"\n"));
    let reason = |place: &Place| {
        let ran = place.run(&["--json", "--config", "config.toml", "charter", "show"]);
        assert_eq!(ran.code, 4);
        serde_json::from_str::<Value>(&ran.stderr).unwrap()["error"]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&place), "CHARTER_SIGNATURES");
    // Made again, it has another nonce, so it is another charter, however alike.
    place.json(&["charter", "new", "--from", "draft.toml"]);
    sign(&place, &[11, 12, 13]);
    assert_eq!(reason(&place), "CHARTER_NOT_PINNED");
}

#[test]
fn mistakes_in_a_draft_are_named() {
    let broken = |from: &str, to: &str| {
        let place = drafted();
        assert!(DRAFT.contains(from), "{from}");
        place.write("draft.toml", DRAFT.replacen(from, to, 1));
        let shown = place.shown(&["charter", "new", "--from", "draft.toml"]);
        assert!(!place.path().join("charter.payload.json").exists(), "nothing is written");
        shown
    };
    let shown = [
        broken(
            "threshold = 2, of = \"custodians\" }\n\n[groups]",
            "threshold = 1, of = \"custodians\" }\n\n[groups]",
        ),
        broken(
            "threshold = 2, of = \"custodians\" }\naudience",
            "threshold = 3, of = \"custodians\" }\naudience",
        ),
        broken("max_ttl = \"15m\"", "max_ttl = \"15 minutes\""),
        broken("max_ttl = \"15m\"", "max_ttl = \"25h\""),
        broken("\"carol\", \"dave\"]", "\"carol\", \"dvae\"]"),
        broken("devices = [\"carol.json\"]", "devices = [\"bob.json\"]"),
        broken("devices = [\"carol.json\"]", "devices = [\"nobody.json\"]"),
        broken("development = true", ""),
    ];
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn scripts_sign_only_development_charters() {
    let place = drafted();
    place.write("draft.toml", DRAFT.replacen("development = true", "attestation_roots = [\"root.pem\"]", 1));
    root(&place, "root.pem");
    place.json(&["charter", "new", "--from", "draft.toml"]);
    place.write("pin", "123456");
    let ran = place.run(&[
        "--json",
        "charter",
        "sign",
        "charter.payload.json",
        "--serial",
        "11",
        "--pin-file",
        "pin",
        "--yes",
    ]);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &error["error"]["reason"]), (1, &json!("NOT_DEVELOPMENT")));
}
