//! Something is wrong: custodians kill, everybody sees it, and a quorum lifts it, by a file that travels.

use std::fs;

use serde_json::{Value, json};
use virtual_yubikey::harness::Remote;

use super::world::{ALICE, BOB, CAROL, ERIN, Ran, World};

impl World {
    fn kill(&self, arguments: &[&str], serial: u32) -> Ran {
        let why = ["--reason", "Seen where it should not be"];
        self.signing("kill", &[arguments, &why].concat(), serial)
    }

    pub fn signing(&self, command: &str, arguments: &[&str], serial: u32) -> Ran {
        let (serial, pin) = (serial.to_string(), self.file("pin"));
        let device = ["--serial", &serial, "--pin-file", &pin, "--yes"];
        self.json(&[&[command], arguments, &device].concat())
    }
}

fn marked(id: &Value) -> String {
    format!("id:{}", id.as_str().unwrap())
}

pub fn something_is_wrong(world: &World, stack: &Remote) {
    let nothing = world.breakglass(&["kill", "status"]).ok();
    assert!(nothing.starts_with("Nothing is killed.\nKill epoch 0"), "{nothing}");
    one_token(world, stack);
    a_requester_by_file(world);
    a_lockdown(world, stack);
}

fn one_token(world: &World, stack: &Remote) {
    let id = world.request();
    world.judge("approve", &id, ALICE).ok();
    world.judge("approve", &id, BOB).ok();
    fs::write(world.path("stolen"), world.redeem(&id)).unwrap();
    let verify = || world.json(&["verify", "stolen", "--aud", "postgres-prod", "--development"]);
    assert_eq!(verify().json()["killed"], "no");
    let asked = stack.counts(ERIN).touches.asked;
    world.kill(&["jti", &format!("id:{id}")], ERIN).refused(1, "NOT_A_CUSTODIAN");
    assert_eq!(stack.counts(ERIN).touches.asked, asked, "she was not asked for a touch");
    let killed = world.kill(&["jti", &format!("id:{id}")], CAROL).json();
    assert_eq!(
        (&killed["epoch"], &killed["recorded"], &killed["target"]),
        (&json!(1), &json!(true), &json!(id))
    );
    verify().refused(4, "TOKEN_KILLED");
    assert_eq!(world.json(&["show", &format!("id:{id}")]).json()["state"], "killed");
    // Nobody is warned above everything else of one token.
    assert!(!world.breakglass(&["list"]).err.contains("KILLED"));
    let lift = world.file("final.json");
    world.json(&["lift", "create", &marked(&killed["id"]), "--out", &lift]).refused(1, "KILL_FINAL");
}

/// Signed where there is no network, and handed in by somebody else.
fn a_requester_by_file(world: &World) {
    let out = world.file("kill.json");
    world.kill(&["requester", "dana", "--out", &out], ALICE).ok();
    assert_eq!(world.json(&["kill", "status"]).json()["epoch"], 1);
    let sent = world.json(&["kill", "send", &out]).json();
    assert_eq!((&sent["epoch"], &sent["level"]), (&json!(2), &json!("requester")));
    let again = world.json(&["kill", "send", &out]).json();
    assert_eq!(again["epoch"], 2, "sending it twice is harmless");
    world.kill(&["profile", "db-amdin"], ALICE).refused(1, "KILL_TARGET_UNKNOWN");
    let listed = world.breakglass(&["list"]).err;
    assert!(
        listed.contains("KILLED: the requester dana") && listed.contains("\"Seen where it should not be\""),
        "{listed}"
    );
}

fn a_lockdown(world: &World, stack: &Remote) {
    let asked = stack.counts(BOB).touches.asked;
    let killed = world.kill(&["all"], BOB).json();
    assert_eq!(stack.counts(BOB).touches.asked, asked + 1);
    assert_eq!(killed["in_force"]["lockdown"], true);
    let ask = [
        "request",
        "--profile",
        "db-admin",
        "--reason",
        "Now",
        "--incident",
        "INC-1",
        "--detail",
        super::world::DETAIL,
    ];
    world.json(&ask).refused(1, "LOCKDOWN");
    let doctor = world.json(&["doctor"]);
    let checks: Value = serde_json::from_str(&doctor.out).unwrap();
    assert_eq!(
        (&checks["checks"][0]["name"], &checks["checks"][0]["health"]),
        (&json!("kills"), &json!("warn"))
    );
    assert!(checks["checks"][0]["found"].as_str().unwrap().starts_with("LOCKDOWN: everything is stopped"));

    let status = world.json(&["kill", "status"]).json();
    let wide: Vec<String> = status["kills"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|kill| kill["level"] != "jti")
        .map(|kill| marked(&kill["id"]))
        .collect();
    let lift = world.file("lift.json");
    let create: Vec<&str> =
        ["lift", "create", "--out", &lift].into_iter().chain(wide.iter().map(String::as_str)).collect();
    world.json(&create).ok();
    world.json(&["lift", "submit", &lift]).error(1);
    let one = world.signing("lift", &["sign", &lift], ALICE).json();
    assert!(one["missing"].as_str().unwrap().contains("one more of"), "{one}");
    world.json(&["lift", "submit", &lift]).refused(1, "LIFT_INCOMPLETE");
    world.signing("lift", &["sign", &lift], ALICE).refused(1, "ALREADY_SIGNED");
    assert_eq!(world.signing("lift", &["sign", &lift], CAROL).json()["missing"], json!(null));
    let lifted = world.json(&["lift", "submit", &lift]).json();
    assert_eq!(lifted["in_force"]["lockdown"], false);
    world.json(&["lift", "submit", &lift]).refused(1, "KILL_LIFTED");
    let id = testkit::wait_for("the second of the lift to pass", super::world::DEADLINE, || {
        let asked = world.json(&ask);
        (asked.code == 0).then(|| asked.json()["request_id"].as_str().unwrap().to_owned())
    });
    world.judge("approve", &id, ALICE).ok();
}
