//! The rules change: drafted, read as a difference, proposed, signed by a second custodian, in force; and everybody goes on
//! under the new version.

use std::fs;

use serde_json::{Value, json};
use testkit::Process;
use virtual_yubikey::harness::Remote;

use super::world::{ALICE, BOB, CAROL, DEADLINE, ERIN, STRANGER, World};

impl World {
    /// A charter command of the owner of a key.
    fn charter(&self, arguments: &[&str], serial: u32) -> super::world::Ran {
        let (serial, pin) = (serial.to_string(), self.file("pin"));
        let device = ["--serial", &serial, "--pin-file", &pin, "--yes"];
        self.json(&[&["charter"], arguments, &device].concat())
    }

    /// A draft of the next version, edited.
    fn draft(&self, name: &str, edit: impl FnOnce(&mut Value)) -> String {
        let out = self.file(name);
        self.breakglass(&["charter", "draft", "--out", &out]).ok();
        let mut document: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        edit(&mut document);
        fs::write(&out, serde_json::to_vec_pretty(&document).unwrap()).unwrap();
        out
    }
}

fn marked(id: &Value) -> String {
    format!("id:{}", &id.as_str().unwrap()[..10])
}

pub fn change(world: &World, stack: &Remote) {
    let pending = world.request();
    let next = world.draft("next.json", |document| {
        document["profiles"][0]["max_ttl"] = json!(600);
        document["profiles"][0]["authorization_details"][0]["locations"] = json!(["postgres/*"]);
    });
    let diff = world.json(&["charter", "diff", &next]).json();
    let said = |text: &str| {
        let changes = diff["changes"].as_array().unwrap();
        changes.iter().find(|change| change["text"].as_str().unwrap().contains(text)).cloned().unwrap()
    };
    assert_eq!(said("shortens the longest life of tokens of db-admin from 900 s to 600 s")["weakens"], false);
    assert_eq!(said("db-admin allows read, write on postgres/* (database)")["weakens"], true);
    let told = world.breakglass(&["charter", "diff", &next]).ok();
    assert!(told.contains("WEAKER  db-admin allows") && told.contains("1 change weakens"), "{told}");

    let proposed = world.charter(&["propose", &next], ALICE).json();
    assert_eq!((&proposed["version"], &proposed["in_force"]), (&json!(2), &json!(false)));
    let id = marked(&proposed["id"]);
    let listed = world.json(&["charter", "proposals"]).json();
    assert_eq!(listed[0]["id"], proposed["id"]);
    assert!(listed[0]["missing"].as_str().unwrap().contains("one more of custodians"), "{listed}");

    let mut command = world.command();
    command.args(["charter", "proposals", "--watch", "--json"]);
    let mut watching = Process::spawn("watching", &world.path(""), &mut command);
    let whole = proposed["id"].as_str().unwrap();
    watching.wait_until("the proposal", DEADLINE, |log| log.contains(whole).then_some(()));

    let asked = stack.counts(ALICE).touches.asked;
    world.charter(&["sign", &id], ALICE).refused(1, "ALREADY_SIGNED");
    assert_eq!(stack.counts(ALICE).touches.asked, asked, "she was not asked for a touch");
    world.charter(&["sign", &id], ERIN).refused(1, "NOT_A_CUSTODIAN");
    world.charter(&["retract", &id], BOB).refused(1, "NOT_THE_AUTHOR");

    let signed = world.charter(&["sign", &id], BOB).json();
    assert_eq!(signed["in_force"], true, "{signed}");
    watching.wait_until("its end", DEADLINE, |log| log.lines().any(|line| line == "[]").then_some(()));
    watching.kill();
    assert_eq!(world.json(&["show", &pending]).json()["state"], "superseded");
    let what = ["request", "--profile", "db-admin", "--detail", super::world::DETAIL, "--ttl", "5m"];
    let stale = [what.as_slice(), &["--reason", "r", "--incident", "I"]].concat();
    let refused = world.json(&stale).error(1);
    assert_eq!(refused["reason"], "CHARTER_MISMATCH", "{refused}");

    let old = fs::read(world.path("charter.json")).unwrap();
    let pulled = world.json(&["charter", "pull"]).json();
    assert_eq!((&pulled["version"], &pulled["digest"]), (&json!(2), &proposed["id"]));
    let token = granted(world);
    fs::write(world.path("second.jwt"), token).unwrap();
    world.breakglass(&["verify", "second.jwt"]).ok();
    let genesis = format!("--genesis={}", world.digest);
    let chain = world.file("charter.json");
    let verified = world.json(&["charter", "verify", &chain, &genesis]).json();
    assert_eq!(verified["version"], 2);
    // Every version of the chain can be read again.
    let first = world.json(&["charter", "show", "1"]).json();
    assert_eq!(
        (&first["digest"], &first["charter"]["version"]),
        (&json!(world.digest), &json!(1)),
        "{first}"
    );
    assert_eq!(world.json(&["charter", "show", "2"]).json()["digest"], proposed["id"]);
    world.json(&["charter", "show", "3"]).refused(1, "CHARTER_VERSION_UNKNOWN");
    let other = format!("--genesis={}", proposed["id"].as_str().unwrap());
    world.json(&["charter", "verify", &chain, &other]).refused(4, "CHARTER_NOT_PINNED");

    // What has been seen here is not forgotten when somebody puts the old file back.
    let new = fs::read(world.path("charter.json")).unwrap();
    fs::write(world.path("charter.json"), old).unwrap();
    world.json(&["verify", "second.jwt"]).refused(4, "CHARTER_ROLLBACK");
    fs::write(world.path("charter.json"), new).unwrap();
    by_file(world);
    by_code(world);
    a_new_device(world);
}

/// Asked, approved, redeemed under whatever is in force: the token.
fn granted(world: &World) -> String {
    let id = world.request();
    world.judge("approve", &id, ALICE).ok();
    world.judge("approve", &id, CAROL).ok();
    world.redeem(&id)
}

/// The same without the daemon until the end: signed by file, by two, and handed in by somebody else.
fn by_file(world: &World) {
    let next = world.draft("third.json", |document| document["persons"][3]["name"] = json!("Erin"));
    let out = world.file("third.signed.json");
    for (serial, missing) in [(CAROL, "one more of custodians"), (BOB, "")] {
        let signed = world.charter(&["sign", &next, "--out", &out], serial).json();
        assert!(signed["missing"].as_str().unwrap().contains(missing), "{signed}");
    }
    let before = world.draft("fork.json", |_| ());
    world.charter(&["propose", &before], ALICE).ok();
    let submitted = world.json(&["charter", "submit", &out]).json();
    assert_eq!((&submitted["version"], &submitted["in_force"]), (&json!(3), &json!(true)));
    assert_eq!(world.json(&["charter", "pull"]).json()["version"], 3);
    assert_eq!(world.json(&["charter", "proposals"]).json(), json!([]), "what was overtaken is gone");
    world.charter(&["propose", &before], ALICE).refused(4, "CHARTER_FORK");
}

/// The document travels as a file, and the signature back as a QR code, read by somebody else's scanner.
fn by_code(world: &World) {
    let next = world.draft("by-code.json", |document| document["persons"][3]["name"] = json!("Erin E."));
    world.charter(&["propose", &next], ALICE).ok();
    let (out, code) = (world.file("by-code.signed.json"), world.file("by-code.svg"));
    let signed = world.charter(&["sign", &next, "--out", &out, "--qr", &code], BOB).json();
    assert_eq!(signed["qr"], json!(code));
    let text = super::scan::scan(&world.path("by-code.svg"));
    let scanned = world.path("scanned");
    let spoilt = text.replacen("\"signature\":{\"protected\":\"", "\"signature\":{\"protected\":\"AA", 1);
    assert_ne!(spoilt, text);
    fs::write(&scanned, spoilt).unwrap();
    assert_ne!(world.json(&["charter", "submit", "--signature", &world.file("scanned")]).code, 0);
    // Scanners end what they type with a line break.
    fs::write(&scanned, text + "\r\n").unwrap();
    let submitted = world.json(&["charter", "submit", "--signature", &world.file("scanned")]).json();
    assert_eq!((&submitted["version"], &submitted["in_force"]), (&json!(4), &json!(true)));
    assert_eq!(world.json(&["charter", "pull"]).json()["version"], 4);
}

/// Carol gets a second key: with evidence, and with a signature of its own.
fn a_new_device(world: &World) {
    let (serial, pin, record) = (STRANGER.to_string(), world.file("pin"), world.file("carol-2.json"));
    let root = world.root();
    let device = ["--serial", &serial, "--pin-file", &pin, "--root", &root];
    let enrol = ["custodian", "enrol", "--person", "carol", "--out", &record];
    world.breakglass(&[enrol.as_slice(), &device].concat()).ok();
    let enrolled: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let next = world.draft("fourth.json", |document| {
        document["persons"][2]["devices"].as_array_mut().unwrap().push(enrolled["device"].clone());
    });
    world.charter(&["propose", &next], ALICE).refused(1, "ATTESTATION_REFUSED");
    let proposed = world.charter(&["propose", &next, "--evidence", &record], ALICE).json();
    let id = marked(&proposed["id"]);
    let signed = world.charter(&["sign", &id], BOB).json();
    assert_eq!(signed["missing"], "new devices: carol with device 5", "{signed}");
    let signed = world.charter(&["sign", &id], STRANGER).json();
    assert_eq!(signed["in_force"], true, "{signed}");
    assert_eq!(world.json(&["charter", "pull"]).json()["version"], 5);
    let request = world.request();
    world.judge("approve", &request, ALICE).ok();
    world.judge("approve", &request, STRANGER).ok();
    world.redeem(&request);
}
