//! The whole flow with the issuing key on a YubiKey of the daemon's host, and the log key in a file.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use virtual_yubikey::{CardSpec, harness::in_stack};

use super::world::{ALICE, BOB, CAROL, ERIN, Issuer, World};

const ISSUER: u32 = 20;
const PIN: &str = "20261122";

/// Gives the daemon's key its PIN of eight bytes, as the operator does.
fn change_pin() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib/python-venv");
    let python = Command::new(script).output().unwrap().stdout;
    let ykman = std::path::PathBuf::from(String::from_utf8(python).unwrap().trim()).with_file_name("ykman");
    let change = ["piv", "access", "change-pin", "-P", "123456", "-n", PIN];
    let changed = Command::new(ykman).args(["--device", &ISSUER.to_string()]).args(change).output().unwrap();
    assert!(changed.status.success(), "{changed:?}");
}

#[test]
fn a_token_from_a_yubikey_verifies() {
    let cards = [ALICE, BOB, CAROL, ERIN, ISSUER].map(CardSpec::new);
    in_stack("live::yubikey::a_token_from_a_yubikey_verifies", &cards, |stack| {
        change_pin();
        let pin_file = stack.dir().join("issuer.pin");
        fs::write(&pin_file, PIN).unwrap();
        fs::set_permissions(&pin_file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut world = World::new(stack, &Issuer::Yubikey(ISSUER, pin_file));

        let id = world.request();
        world.judge("approve", &id, ALICE).ok();
        world.judge("approve", &id, BOB).ok();
        let token = world.redeem(&id);
        fs::write(world.path("token.jwt"), &token).unwrap();
        let verified = world.json(&["verify", "token.jwt"]).json();
        assert!(verified.to_string().contains(&id), "{verified}");
        assert_eq!(stack.counts(ISSUER).touches.asked, 0, "nobody is there to touch it");

        // The same key signs after a restart, and what was issued stays issued.
        world.stop();
        world.start();
        assert_eq!(world.redeem(&id), token);
        let export = world.file("export");
        world.breakglass(&["audit", "export", &export]).ok();
        let audit: Value = world.json(&["audit", "verify", &export]).json();
        assert_eq!(audit["valid"], true);
        world.stop();
    });
}
