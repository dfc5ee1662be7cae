//! What follows a use: custodians say what they found, and whoever owes it is told.

use serde_json::json;
use virtual_yubikey::harness::Remote;

use super::world::{ALICE, BOB, ERIN, Ran, World};

impl World {
    fn review(&self, id: &str, serial: u32, finding: &str) -> Ran {
        let (serial, pin) = (serial.to_string(), self.file("pin"));
        let what = ["review", id, "--finding", finding, "--note", "Two tables, as asked"];
        self.json(&[what.as_slice(), &["--serial", &serial, "--pin-file", &pin, "--yes"]].concat())
    }

    /// Who has reviewed this use, if it is still open.
    fn reviewed_by(&self, id: &str) -> Option<serde_json::Value> {
        let open = self.json(&["review"]).json();
        let open = open["reviews"].as_array().unwrap().iter().find(|open| open["request_id"] == id);
        open.map(|open| open["reviewed_by"].clone())
    }
}

pub fn uses_are_reviewed(world: &World, stack: &Remote) {
    let id = world.request();
    world.judge("approve", &id, ALICE).ok();
    assert_eq!(world.reviewed_by(&id), None, "nothing was issued");
    world.judge("approve", &id, BOB).ok();
    world.redeem(&id);
    assert_eq!(world.reviewed_by(&id), Some(json!([])));
    let table = world.breakglass(&["review"]).ok();
    assert!(table.contains("postgres/prod") && table.contains("two of"), "{table}");

    let touches = stack.counts(ALICE).touches.asked;
    world.review(&id, ERIN, "proper").refused(1, "NOT_A_CUSTODIAN");
    let done = world.review(&id, ALICE, "improper").json();
    assert_eq!((&done["person"], &done["finding"]), (&json!("alice"), &json!("improper")));
    assert_eq!(stack.counts(ALICE).touches.asked, touches + 1, "it takes a touch");
    let proof = world.json(&["audit", "prove", &done["index"].to_string()]).json();
    assert_eq!(proof["entry_json"]["event"]["type"], "review_recorded");
    world.review(&id, ALICE, "proper").refused(1, "ALREADY_SIGNED");
    assert_eq!(world.reviewed_by(&id), Some(json!(["alice"])));
    world.review(&id, BOB, "proper").json();
    assert_eq!(world.reviewed_by(&id), None, "it is complete");
    assert_eq!(world.review(&id, BOB, "proper").error(1)["reason"], "REQUEST_UNKNOWN");
    assert_eq!(world.json(&["review", &id]).code, 2, "a finding and a note are needed");
}
