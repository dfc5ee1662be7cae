//! Whole stories, told by the programs alone.

use std::fs;

use serde_json::{Value, json};
use testkit::{Process, wait_for};

use crate::world::{DEADLINE, DETAIL, SERIALS, World};

const ALICE: &str = SERIALS[0];
const BOB: &str = SERIALS[1];
const CAROL: &str = SERIALS[2];

#[test]
fn from_request_to_audit() {
    let world = World::new();
    let id = world.request();
    let prefix = &id.replacen('-', "id:-", usize::from(id.starts_with('-')))[..12];
    assert_eq!(world.refused(&["redeem", prefix]).0, 1);
    assert_eq!(world.approve(prefix, ALICE)["state"], "pending");
    let again = ["approve", prefix, "--serial", ALICE, "--pin-file", "pin", "--yes"];
    assert_eq!(world.refused(&again), (1, "ALREADY_SIGNED".into()));
    let wrong = ["approve", prefix, "--serial", BOB, "--pin-file", "wrong", "--yes"];
    assert_eq!(world.refused(&wrong), (1, "PIV_WRONG_PIN".into()));
    let shown = world.json(&["show", prefix]);
    assert_eq!((&shown["state"], &shown["approvals"][0]["person"]), (&json!("pending"), &json!("alice")));
    world.approve(prefix, BOB);

    let token = world.json(&["redeem", prefix])["jwt"].as_str().unwrap().to_owned();
    assert_eq!(world.run(&["redeem", prefix]).stdout.trim(), token, "the same token, alone on stdout");
    fs::write(world.path("token"), &token).unwrap();
    let accepted = world.json(&["verify", "token", "--aud", "https://db.example", "--development"]);
    assert_eq!(accepted["approvers"], json!(["alice", "bob"]));
    assert_eq!(accepted["killed"], "unknown");
    let verify = |arguments: &[&str]| world.refused(&[&["verify", "token", "--aud"], arguments].concat());
    assert_eq!(verify(&["https://db.example"]), (4, "DEVELOPMENT_CHARTER".into()));
    assert_eq!(verify(&["https://other.example", "--development"]), (4, "AUDIENCE_MISMATCH".into()));
    assert_eq!(world.refused(&["verify", "token"]), (2, "AUDIENCE_NEEDED".into()));

    // Somebody else's machine cannot open it, even with the requester's key.
    fs::rename(world.path("state"), world.path("elsewhere")).unwrap();
    assert_eq!(world.refused(&["redeem", &format!("id:{id}")]), (1, "REDEEM_KEY_MISSING".into()));
    fs::rename(world.path("elsewhere"), world.path("state")).unwrap();

    audit(&world);
    let log = world.stop();
    assert!(!log.contains(&token) && !log.contains("123456"), "neither token nor PIN is in the daemon's log");
}

fn audit(world: &World) {
    let exported = world.json(&["audit", "export", "copy"]);
    let verified = world.json(&["audit", "verify", "copy"]);
    assert_eq!(verified["root"], exported["root"]);
    assert_eq!(verified["events"]["approval_recorded"], 2);
    let proof = world.json(&["audit", "prove", "3"]);
    assert_eq!(proof["entry_json"]["event"]["type"], "charter_adopted");
    let genesis = "AAAAqDfJODmxLHzRNgGYWsvjv6wRz_2GkhiXAFVQomY";
    assert_eq!(world.refused(&["audit", "verify", "copy", "--genesis", genesis]), (4, "ENTRY_WRONG".into()));
    // The same entries as lines, but one approval taken out.
    let size = exported["entries"].as_u64().unwrap();
    let bundle = fs::read(world.path(&format!("copy/tile/entries/000.p/{size}"))).unwrap();
    let mut lines = Vec::new();
    let mut rest = bundle.as_slice();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        lines.push(String::from_utf8(entry.to_vec()).unwrap());
        rest = tail;
    }
    fs::write(world.path("lines"), lines.join("\n")).unwrap();
    assert_eq!(world.json(&["audit", "verify", "lines"])["checkpoint"], Value::Null);
    let approval = lines.iter().position(|line| line.contains("approval_recorded")).unwrap();
    lines.remove(approval);
    fs::write(world.path("lines"), lines.join("\n")).unwrap();
    let told = world.run(&["audit", "verify", "lines"]);
    assert_eq!(told.code, 4);
    assert!(told.stderr.contains(&format!("entry {} ", approval + 1)), "{}", told.stderr);
    // One byte of the export.
    let file = world.path(&format!("copy/tile/entries/000.p/{size}"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(world.refused(&["audit", "verify", "copy"]).0, 4);
}

#[test]
fn requests_that_end_early_and_one_that_is_waited_for() {
    let world = World::new();
    let denied = world.request();
    let deny = ["deny", &denied, "--serial", CAROL, "--pin-file", "pin", "--yes"];
    assert_eq!(world.json(&deny)["state"], "denied");
    let approve = ["approve", &denied, "--serial", ALICE, "--pin-file", "pin", "--yes"];
    assert_eq!(world.refused(&approve), (1, "WRONG_STATE".into()));
    let withdrawn = world.request();
    assert_eq!(world.json(&["withdraw", &withdrawn])["state"], "withdrawn");
    assert_eq!(world.refused(&["withdraw", &withdrawn]), (1, "WRONG_STATE".into()));

    let arguments =
        ["request", "--reason", "Wait for it", "--incident", "INC-8", "--detail", DETAIL, "--wait", "--json"];
    let mut waiting = Process::spawn("waiting", &world.path(""), &mut world.command(&arguments));
    let id = wait_for("the request", DEADLINE, || {
        let listed = world.json(&["list", "--mine"]);
        Some(listed["requests"].as_array()?.first()?["request_id"].as_str()?.to_owned())
    });
    world.approve(&id, BOB);
    world.approve(&id, CAROL);
    assert!(waiting.wait_exit(DEADLINE).success());
    let log = waiting.log();
    let result: Value = serde_json::from_str(&log[log.find("{\n").unwrap()..]).unwrap_or_default();
    assert_eq!(result["request_id"], json!(id), "{log}");
    let watched = world.run(&["watch", &id, "--json"]);
    let last: Value = serde_json::from_str(watched.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((watched.code, &last["state"]), (0, &json!("issued")));
    let all = world.json(&["list", "--all"]);
    let states: Vec<&Value> = all["requests"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states.len(), 3, "{all}");
    assert_eq!(world.json(&["doctor"])["healthy"], true);
}

#[test]
fn a_station_serves_whoever_plugs_in() {
    let world = World::new();
    let cards: Vec<_> =
        SERIALS.iter().map(|serial| world.stack.card(serial.parse().unwrap()).unwrap()).collect();
    for card in &cards {
        card.unplug();
    }
    let id = world.request();
    let arguments = ["station", "--id", "war-room-1", "--yes", "--pin-file", "pin"];
    let mut station = Process::spawn("station", &world.path(""), &mut world.command(&arguments));
    station.wait_until("what is pending", DEADLINE, |log| log.contains("Plug in your YubiKey").then_some(()));
    cards[2].plug();
    station.wait_until("Carol's approval", DEADLINE, |log| log.contains("Thank you, Carol").then_some(()));
    cards[2].unplug();
    cards[0].plug();
    station.wait_until("Alice's approval", DEADLINE, |log| log.contains("Thank you, Alice").then_some(()));
    let shown = world.json(&["show", &id]);
    let approvals = shown["approvals"].as_array().unwrap();
    let mut said: Vec<_> =
        approvals.iter().map(|one| (one["person"].as_str(), one["station"].as_str())).collect();
    said.sort_unstable();
    let here = Some("war-room-1");
    assert_eq!(said, [(Some("alice"), here), (Some("carol"), here)]);
    // Alice's key is still there: she hears of the next request without plugging in again.
    let next = world.request();
    let short = &next[..10];
    station.wait_until("the next request", DEADLINE, |log| {
        log.matches("Thank you, Alice").nth(1).is_some().then_some(())
    });
    assert!(station.log().contains(short));
    station.kill();
}
