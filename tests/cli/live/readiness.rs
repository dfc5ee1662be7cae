//! Custodians show that they can reach their keys: online, apart from the network, and by somebody else's hand.

use std::fs;

use serde_json::json;
use virtual_yubikey::harness::Remote;

use super::world::{ALICE, BOB, ERIN, Ran, World};

impl World {
    fn check_in(&self, serial: u32, more: &[&str]) -> Ran {
        let (serial, pin) = (serial.to_string(), self.file("pin"));
        let device = ["check-in", "--serial", &serial, "--pin-file", &pin, "--yes"];
        self.json(&[device.as_slice(), more].concat())
    }
}

pub fn custodians_check_in(world: &World, stack: &Remote) {
    let touches = stack.counts(ALICE).touches.asked;
    let done = world.check_in(ALICE, &[]).json();
    assert_eq!((&done["person"], &done["serial"]), (&json!("alice"), &json!(ALICE)));
    assert_eq!(stack.counts(ALICE).touches.asked, touches + 1, "it takes a touch");
    let proof = world.json(&["audit", "prove", &done["index"].to_string()]).json();
    assert_eq!(proof["entry_json"]["event"]["type"], "checked_in");

    world.check_in(ERIN, &[]).refused(1, "NOT_A_CUSTODIAN");
    let serial = BOB.to_string();
    world.json(&["check-in", "--serial", &serial]).refused(5, "NOT_CONFIRMED");

    let file = world.file("bob.check-in.json");
    let kept = world.check_in(BOB, &["--offline", "--out", &file]).json();
    assert_eq!(kept["file"], json!(file));
    let handed_in = world.json(&["check-in", "--submit", &file]).json();
    assert_eq!(handed_in["person"], "bob", "{handed_in}");
    world.json(&["check-in", "--submit", &file]).refused(1, "CHECK_IN_KNOWN");
    let other = fs::read_to_string(&file).unwrap().replacen("signature\":\"", "signature\":\"AA", 1);
    fs::write(&file, other).unwrap();
    world.json(&["check-in", "--submit", &file]).refused(1, "LENGTH_WRONG");
    let doctor = world.json(&["doctor"]).json();
    let outlook = |place: &str| {
        let checks = doctor["checks"].as_array().unwrap();
        let found = checks.iter().find_map(|check| check["found"].as_str()?.strip_prefix(place)).unwrap();
        assert!(
            found.starts_with(": 3 of 3 custodians seen within 30 days; needs 2 of custodians;"),
            "{found}"
        );
        assert!(
            found.contains("survives the loss of any one key: yes; until the charter expires"),
            "{found}"
        );
    };
    for place in ["governance", "db-admin", "db-root"] {
        outlook(place);
    }
    // Nobody was away for a month here: nothing to remind of.
    assert!(!world.breakglass(&["list"]).err.contains("check-in"));
}
