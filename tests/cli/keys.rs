//! File keys.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::run::Place;

#[test]
fn a_new_key_is_private_and_is_never_overwritten() {
    let place = Place::new();
    let made = place.json(&["key", "new", "--out", "keys", "--name", "alice"]);
    let file = place.path().join("keys/alice.key.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        made["jwk"],
        serde_json::from_slice::<serde_json::Value>(&place.read("keys/alice.jwk.json")).unwrap()
    );
    let before = place.read("keys/alice.key.pem");
    insta::assert_snapshot!(place.shown(&["key", "new", "--out", "keys", "--name", "alice"]));
    assert_eq!(place.read("keys/alice.key.pem"), before);
    // The certificate carries the very key, for openssl as well.
    let of = |kind: &str, file: &str| {
        let arguments: &[&str] = if kind == "pkey" { &["-pubout"] } else { &["-noout", "-pubkey"] };
        let ran = std::process::Command::new("openssl")
            .args([kind, "-in"])
            .arg(place.path().join(file))
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success());
        ran.stdout
    };
    assert_eq!(of("pkey", "keys/alice.key.pem"), of("x509", "keys/alice.cert.pem"));
}

#[test]
fn a_secret_is_in_its_file_alone_and_the_charter_gets_its_digest() {
    let place = Place::new();
    let ran = place.run(&["--json", "key", "secret", "--out", "vault.secret"]);
    let made: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let file = place.path().join("vault.secret");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = place.read("vault.secret");
    assert_eq!(breakglass::jose::b64::decode(std::str::from_utf8(&secret).unwrap()).unwrap().len(), 32);
    assert_eq!(made["digest"], breakglass::jose::Digest::of(&secret).to_string());
    assert!(!ran.stdout.contains(std::str::from_utf8(&secret).unwrap()), "it is printed");
    assert_eq!(place.run(&["key", "secret", "--out", "vault.secret"]).code, 1);
    assert_eq!(place.read("vault.secret"), secret, "it was overwritten");
}
