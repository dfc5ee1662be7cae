//! A custodian whose machine has no network: the request comes by file or QR code, the verdict goes back by file.

use std::fs;

use serde_json::json;

use super::world::{ALICE, BOB, CAROL, World};

/// One chapter of the day.
pub fn a_custodian_without_a_network(world: &World) {
    let id = world.request();
    let arg = format!("id:{id}");
    world.judge("approve", &arg, BOB).ok();
    let exported =
        world.json(&["request", "export", &arg, "--out", "carried.json", "--qr", "carried.svg"]).json();
    assert_eq!(exported["request_id"], json!(id));
    let carried = fs::read_to_string(world.path("carried.json")).unwrap();
    assert_eq!(super::scan::scan(&world.path("carried.svg")), carried, "as somebody else's scanner reads it");

    // Her configuration names a daemon that nobody can reach, and a charter.
    let lonely = fs::read_to_string(world.path("client.toml")).unwrap();
    let lonely: String = lonely
        .lines()
        .map(|line| {
            if line.starts_with("daemon") {
                "daemon = \"https://127.0.0.1:1\"\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(world.path("lonely.toml"), lonely).unwrap();
    let (config, pin) = (world.file("lonely.toml"), world.file("pin"));
    let alone = |verdict: &str, file: &str, serial: u32, out: &str| {
        let serial = serial.to_string();
        let device = ["--serial", &serial, "--pin-file", &pin, "--yes"];
        world.json(&[&["--config", &config, verdict, "--offline", file, "--out", out], &device[..]].concat())
    };
    alone("approve", "carried.json", BOB, "twice.json").refused(1, "ALREADY_SIGNED");
    let tampered = fs::read_to_string(world.path("carried.json")).unwrap().replacen(
        "\"payload\":\"ey",
        "\"payload\":\"ez",
        1,
    );
    fs::write(world.path("tampered.json"), tampered).unwrap();
    let refused = alone("approve", "tampered.json", ALICE, "never.json");
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(!world.path("never.json").exists(), "nothing was signed");

    let signed = alone("approve", "carried.json", ALICE, "approval.json").json();
    assert_eq!((&signed["person"], &signed["verdict"]), (&json!("alice"), &json!("approve")));
    world.json(&["approval", "submit", "carried.json"]).refused(2, "NOT_ONE_SIGNATURE");
    world.json(&["approval", "submit", "approval.json"]).ok();
    world.redeem(&arg);
    // Carried twice, it changes nothing.
    let again = world.json(&["approval", "submit", "approval.json"]).json();
    assert_eq!(again["state"], "issued");

    let other = world.request();
    let arg = format!("id:{other}");
    world.json(&["request", "export", &arg, "--out", "other.json"]).ok();
    alone("deny", "other.json", CAROL, "denial.json").ok();
    let denied = world.json(&["approval", "submit", "denial.json"]).json();
    assert_eq!((&denied["state"], &denied["verdict"]), (&json!("denied"), &json!("deny")));
    assert_eq!(world.json(&["approve", "--serial", "1"]).code, 2, "an id, or a file");
}
