//! `breakglass-gate check`: what is wrong is said before anything is served.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use breakglass::jose::Digest;

use crate::{kit, place::Place};

#[test]
fn a_configuration_is_checked_against_charter_and_key() {
    let place = Place::new();
    let check = |change: &dyn Fn(String) -> String| {
        let path = place.path("gate.toml");
        fs::write(&path, change(place.configuration("orders-1", 1, 2))).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_breakglass-gate")).arg("check").arg(path).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (good, told) = check(&|config| config);
    assert!(good && told.contains("charter version 1") && told.contains("1 rules, 1 daemons"), "{told}");
    let genesis = place.world.charter.digest().to_string();
    let other = Digest::of(b"another genesis").to_string();
    for (from, to, says) in [
        (genesis.as_str(), other.as_str(), "the chain of charters cannot be used"),
        ("gate.key.pem", "erin.key.pem", "cannot be used together"),
        (kit::AUD, "https://elsewhere.example", "is for the audience"),
        ("development = true", "development = false", "marked for development"),
        ("gate.cert.pem", "missing.pem", "missing.pem could not be read"),
        ("charter = \"charter.json\"", "charter = \"missing.json\"", "missing.json could not be read"),
        ("control", "kontrol", "unknown field `kontrol`"),
    ] {
        let (good, told) = check(&|config| config.replace(from, to));
        assert!(!good && told.contains(says), "{told:?} does not say {says:?}");
    }
    // A key that is somebody else's in the charter is not the verifier's.
    let erins =
        |config: String| config.replace("gate.key", "mallory.key").replace("gate.cert", "mallory.cert");
    let (good, told) = check(&erins);
    assert!(!good && told.contains("of no verifier in version 1"), "{told}");
    fs::set_permissions(place.path("gate.key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let (good, told) = check(&|config| config);
    assert!(!good && told.contains("can be read by others (mode 640)"), "{told}");
}
