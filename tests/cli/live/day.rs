//! A day at work: what everybody does, and what scripts rely on. One team serves all chapters.

use std::fs;

use serde_json::{Value, json};
use testkit::{Process, wait_for};
use virtual_yubikey::{CardSpec, harness::in_stack};

use super::world::{ALICE, BOB, CAROL, DEADLINE, DETAIL, ERIN, Issuer, World};

#[test]
fn a_day_at_work() {
    let cards = [ALICE, BOB, CAROL, ERIN].map(CardSpec::new);
    in_stack("live::day::a_day_at_work", &cards, |stack| {
        let mut world = World::new(stack, &Issuer::SoftHsm);
        let token = a_token_and_who_may_have_it(&world);
        one_that_is_waited_for(&world);
        a_requester_signs_with_a_yubikey(&world);
        a_station_goes_on_with_who_stays(&world);
        super::ceremony::it_has_a_transcript(&world);
        super::offline::a_custodian_without_a_network(&world);
        super::readiness::custodians_check_in(&world, stack);
        super::kill::something_is_wrong(&world, stack);
        super::review::uses_are_reviewed(&world, stack);
        the_log_as_lines(&world);
        let log = world.stop_and_read();
        assert!(!log.contains(&token) && !log.contains("123456"), "neither token nor PIN is in the log");
    });
}

fn a_token_and_who_may_have_it(world: &World) -> String {
    let id = world.request();
    let shown = world.judge("approve", &id, ALICE).json();
    assert_eq!(shown["state"], "pending");
    let shown = world.json(&["show", &id]).json();
    assert_eq!((&shown["state"], &shown["approvals"][0]["person"]), (&json!("pending"), &json!("alice")));
    world.judge("approve", &id, BOB).ok();
    let token = world.redeem(&id);
    fs::write(world.path("token"), &token).unwrap();
    let accepted = world.json(&["verify", "token", "--aud", "postgres-prod", "--development"]).json();
    assert_eq!(accepted["approvers"], json!(["alice", "bob"]));
    assert_eq!(accepted["killed"], "no");

    // A verifier that was told nothing accepts nothing.
    let bare = fs::read_to_string(world.path("client.toml")).unwrap();
    let (bare, _) = bare.split_once("[verify]").unwrap();
    fs::write(world.path("bare.toml"), bare).unwrap();
    let config = world.file("bare.toml");
    let verify = |more: &[&str]| world.json(&[&["--config", &config, "verify", "token"], more].concat());
    verify(&["--aud", "postgres-prod"]).refused(4, "DEVELOPMENT_CHARTER");
    verify(&["--aud", "mysql-prod", "--development"]).refused(4, "AUDIENCE_MISMATCH");
    verify(&[]).refused(2, "AUDIENCE_NEEDED");

    // Somebody else's machine cannot open it, even with the requester's key.
    fs::rename(world.path("requests"), world.path("elsewhere")).unwrap();
    world.json(&["redeem", &format!("id:{id}")]).refused(1, "REDEEM_KEY_MISSING");
    fs::rename(world.path("elsewhere"), world.path("requests")).unwrap();
    token
}

fn one_that_is_waited_for(world: &World) {
    let ask = ["request", "--profile", "db-admin", "--reason", "Wait for it", "--incident", "INC-8"];
    let mut command = world.command();
    command.args(ask).args(["--detail", DETAIL, "--wait", "--json"]);
    let mut waiting = Process::spawn("waiting", &world.path(""), &mut command);
    let id = wait_for("the request", DEADLINE, || {
        let listed = world.json(&["list", "--mine"]).json();
        let mut open = listed["requests"].as_array()?.iter().filter(|one| one["state"] == "pending");
        Some(open.next()?["request_id"].as_str()?.to_owned())
    });
    world.judge("approve", &id, BOB).ok();
    world.judge("approve", &id, CAROL).ok();
    assert!(waiting.wait_exit(DEADLINE).success());
    let log = waiting.log();
    let result: Value = serde_json::from_str(&log[log.find("{\n").unwrap()..]).unwrap_or_default();
    assert_eq!(result["request_id"], json!(id), "{log}");
    let watched = world.breakglass(&["watch", &id, "--json"]).ok();
    let last: Value = serde_json::from_str(watched.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "issued");
    let all = world.json(&["list", "--all"]).json();
    assert_eq!(all["requests"].as_array().unwrap().len(), 2, "{all}");
}

/// Where the profile demands a hardware key of the requester, his file key is not enough.
fn a_requester_signs_with_a_yubikey(world: &World) {
    let (config, pin, erin) = (world.file("erin.toml"), world.file("pin"), ERIN.to_string());
    let ask = |scripted: &[&str]| {
        let what = ["--config", &config, "request", "--profile", "db-root", "--detail", DETAIL];
        let why = ["--reason", "The disk is full", "--incident", "INC-9"];
        world.json(&[what.as_slice(), &why, scripted].concat())
    };
    ask(&["--serial", &erin]).refused(5, "NOT_CONFIRMED");
    ask(&["--serial", &erin, "--yes", "--pin-file", &world.file("wrong-pin")]).refused(1, "PIV_WRONG_PIN");
    let custodian = ask(&["--serial", &ALICE.to_string(), "--yes", "--pin-file", &pin]);
    custodian.refused(1, "REQUESTER_UNKNOWN");
    let listed = world.json(&["list"]).json();
    assert!(!listed.to_string().contains("INC-9"), "nothing was filed: {listed}");

    let filed = ask(&["--serial", &erin, "--yes", "--pin-file", &pin]).json();
    let id = filed["request_id"].as_str().unwrap();
    let shown = world.json(&["show", id]).json();
    let device: Value = serde_json::from_slice(&fs::read(world.path("erin.json")).unwrap()).unwrap();
    let key: breakglass::jose::P256PublicKey =
        serde_json::from_value(device["device"]["key"].clone()).unwrap();
    assert_eq!(shown["grant"]["requester_key"], key.thumbprint().to_string(), "by the YubiKey's key");
    assert_eq!(shown["grant"]["sub"], "erin");
    world.judge("approve", id, ALICE).ok();
    world.judge("approve", id, BOB).ok();
    // The token is hers, not dana's, whose machine this is as well.
    world.json(&["redeem", id]).refused(1, "NOT_THE_REQUESTER");
    let token = world.json(&["--config", &config, "redeem", id]).json()["jwt"].as_str().unwrap().to_owned();
    fs::write(world.path("erins.token"), token).unwrap();
    let accepted = world.json(&["verify", "erins.token"]).json();
    assert!(accepted.to_string().contains("erin"), "{accepted}");
}

/// Whose key stays plugged in hears of the next request without plugging in again.
fn a_station_goes_on_with_who_stays(world: &World) {
    let first = world.request();
    let (pin, mut command) = (world.file("pin"), world.command());
    command.args(["station", "--id", "war-room-2", "--yes", "--pin-file", &pin]);
    let mut station = Process::spawn("station", &world.path(""), &mut command);
    let mut thanks = |times: usize| {
        station.wait_until("everybody's approval", DEADLINE, |log| {
            let all = ["alice", "bob", "carol"];
            let thanked = |name: &&str| log.matches(&format!("Thank you, {name}")).count() >= times;
            all.iter().filter(|name| thanked(name)).nth(1).is_some().then_some(())
        });
    };
    thanks(1);
    world.redeem(&first);
    let second = world.request();
    thanks(2);
    world.redeem(&second);
    station.kill();
}

fn the_log_as_lines(world: &World) {
    let exported = world.json(&["audit", "export", "copy"]).json();
    let verified = world.json(&["audit", "verify", "copy"]).json();
    assert_eq!(verified["root"], exported["root"]);
    assert_eq!(verified["events"]["request_filed"], 10);
    let size = exported["entries"].as_u64().unwrap();
    let charter = (0..size).find(|index| {
        let proof = world.json(&["audit", "prove", &index.to_string()]).json();
        proof["entry_json"]["event"]["type"] == "charter_adopted"
    });
    assert!(charter.is_some(), "an entry is proven by its index");
    let genesis = "AAAAqDfJODmxLHzRNgGYWsvjv6wRz_2GkhiXAFVQomY";
    world.json(&["audit", "verify", "copy", "--genesis", genesis]).refused(4, "ENTRY_WRONG");
}
