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
