//! A night on call, in the order of a person who is tired: everything that goes wrong says what, and costs nothing.
//!
//! One team serves all chapters, since its ceremonies take most of the time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use breakglass::piv::{PivKey, Serial};
use serde_json::Value;
use testkit::{Process, wait_for};
use virtual_yubikey::{
    CardSpec, TouchMode,
    harness::{Remote, in_stack},
};

use super::world::{ALICE, BOB, CAROL, DEADLINE, ERIN, Issuer, STRANGER, World};

#[test]
fn a_night_on_call() {
    let cards = [ALICE, BOB, CAROL, ERIN, STRANGER].map(CardSpec::new);
    in_stack("live::night::a_night_on_call", &cards, |stack| {
        let mut world = World::new(stack, &Issuer::SoftHsm);
        healthy(&world);
        let issued = the_good_way(&world, stack);
        keys_that_may_not(&world, stack);
        a_wrong_pin_costs_one_try(&world, stack);
        no_touch_and_no_key(&world, stack);
        ids_that_mean_nothing(&world, &issued);
        requests_that_end(&world);
        tokens_that_do_not_verify(&world, &issued);
        a_station_serves_one_after_the_other(&world, stack);
        super::rules::change(&world, stack);
        the_log_is_right_and_a_forged_one_is_not(&world);
        without_a_daemon(&mut world);
    });
}

fn healthy(world: &World) {
    let doctor = world.json(&["doctor"]).json();
    assert_eq!(doctor["healthy"], true, "{doctor}");
    assert!(world.breakglass(&["doctor"]).ok().contains("NOTE  the charter is marked for development"));
}

/// Signatures so far, as the daemon shows them.
fn approvals(world: &World, id: &str) -> usize {
    let shown = world.json(&["show", id]).json();
    shown["approvals"].as_array().unwrap_or_else(|| panic!("{shown}")).len()
}

/// Asked, approved by two, redeemed twice, verified: the id and the token.
fn the_good_way(world: &World, stack: &Remote) -> (String, String) {
    let id = world.request();
    let listed = world.json(&["list"]).json();
    assert!(listed.to_string().contains(&id), "{listed}");

    let early = world.json(&["redeem", &id, "--wait", "1s"]).refused(1, "NOT_ISSUED_YET");
    assert!(early.contains(&id), "{early}");

    let [touched, carols] = [ALICE, CAROL].map(|serial| stack.counts(serial).touches.asked);
    let first = world.judge("approve", &id, ALICE).json();
    assert_eq!((&first["state"], &first["person"]), (&"pending".into(), &"alice".into()));
    assert_eq!(stack.counts(ALICE).touches.asked, touched + 1);
    let again = world.judge("approve", &id, ALICE).refused(1, "ALREADY_SIGNED");
    assert!(again.contains("alice"), "{again}");
    assert_eq!(stack.counts(ALICE).touches.asked, touched + 1, "it was not even asked for a touch");
    assert_eq!(approvals(world, &id), 1);

    let second = world.judge("approve", &id, BOB).json();
    assert_ne!(second["state"], "pending", "{second}");
    let token = world.redeem(&id);
    assert_eq!(world.redeem(&id), token, "redeeming is idempotent");
    assert_eq!(world.json(&["redeem", &beginning(&id, 8)]).json()["jwt"], token);
    fs::write(world.path("token.jwt"), &token).unwrap();
    let verified = world.json(&["verify", "token.jwt"]).json();
    assert!(verified.to_string().contains(&id), "{verified}");
    let said = world.breakglass(&["verify", "token.jwt"]).ok();
    assert!(said.contains("alice") && said.contains("bob"), "{said}");
    let late = world.judge("approve", &id, CAROL).refused(1, "WRONG_STATE");
    assert!(late.contains("nothing to approve any more"), "{late}");
    assert_eq!(stack.counts(CAROL).touches.asked, carols, "she was not asked for a touch");
    (id, token)
}

/// The first characters of an id; marked, since they may look like an option.
fn beginning(id: &str, length: usize) -> String {
    format!("id:{}", &id[..length])
}

fn keys_that_may_not(world: &World, stack: &Remote) {
    let id = world.request();
    let before = [ERIN, STRANGER].map(|serial| stack.counts(serial));
    let stranger = world.judge("approve", &id, STRANGER).refused(1, "KEY_UNKNOWN");
    assert!(stranger.contains("belongs to nobody in this charter"), "{stranger}");
    let requester = world.judge("approve", &id, ERIN).refused(1, "NOT_A_CUSTODIAN");
    assert!(requester.contains("erin"), "{requester}");
    assert_eq!([ERIN, STRANGER].map(|serial| stack.counts(serial)), before, "neither was used");
    assert_eq!([ERIN, STRANGER].map(tries), [3, 3]);
    assert_eq!(approvals(world, &id), 0);
    world.breakglass(&["withdraw", &id]).ok();
}

fn tries(serial: u32) -> u8 {
    PivKey::open(Serial(serial)).unwrap().pin_tries().unwrap()
}

fn a_wrong_pin_costs_one_try(world: &World, stack: &Remote) {
    let id = world.request();
    let before = stack.counts(ALICE);
    let wrong = world.judge_with("approve", &id, ALICE, "wrong-pin").refused(1, "PIV_WRONG_PIN");
    assert!(wrong.contains("2 tries left"), "{wrong}");
    assert_eq!((tries(ALICE), stack.counts(ALICE)), (2, before), "sent once; neither touched nor signed");
    assert_eq!(approvals(world, &id), 0);
    world.judge("approve", &id, ALICE).ok();
    assert_eq!(tries(ALICE), 3, "the right one gives the tries back");
    world.breakglass(&["withdraw", &id]).ok();
}

fn no_touch_and_no_key(world: &World, stack: &Remote) {
    let id = world.request();
    stack.touch(ALICE, TouchMode::Refuse);
    let untouched = world.judge("approve", &id, ALICE).refused(1, "PIV_TOUCH_MISSING");
    assert!(untouched.contains("nothing was signed"), "{untouched}");
    stack.touch(ALICE, TouchMode::Grant);
    assert_eq!(tries(ALICE), 3);

    unplug(stack, BOB);
    let absent = world.judge("approve", &id, BOB).refused(3, "PIV_KEY_NOT_FOUND");
    assert!(absent.contains("plug it in"), "{absent}");
    assert_eq!(approvals(world, &id), 0);
    plug(stack, BOB);
    world.judge("approve", &id, BOB).ok();
    assert_eq!(approvals(world, &id), 1, "and now it works");
    world.breakglass(&["withdraw", &id]).ok();
}

fn ids_that_mean_nothing(world: &World, issued: &(String, String)) {
    let nobody = "A".repeat(43);
    for id in [nobody.as_str(), "AAAAAAAA"] {
        assert_eq!(world.judge("approve", id, ALICE).error(1)["reason"], "REQUEST_UNKNOWN");
    }
    assert_eq!(world.json(&["show", "AAA"]).code, 2, "too short for an id");
    // Nobody finds two requests with the same six characters; a folder of such a name will do.
    let mut twin = issued.0.clone().into_bytes();
    twin[7] = if twin[7] == b'A' { b'B' } else { b'A' };
    let twin = world.path("requests").join(String::from_utf8(twin).unwrap());
    fs::create_dir(&twin).unwrap();
    let both = world.json(&["redeem", &beginning(&issued.0, 6)]).refused(2, "REQUEST_AMBIGUOUS");
    assert!(both.contains(&issued.0), "{both}");
    fs::remove_dir(twin).unwrap();
}

fn requests_that_end(world: &World) {
    let id = world.request();
    world.judge("approve", &id, ALICE).ok();
    assert_eq!(world.judge("deny", &id, BOB).json()["state"], "denied");
    assert_eq!(world.judge("approve", &id, CAROL).error(1)["reason"], "WRONG_STATE");
    assert_eq!(world.json(&["redeem", &id, "--wait", "1s"]).code, 1);

    let id = world.request();
    assert_eq!(world.json(&["withdraw", &id]).json()["state"], "withdrawn");
    assert_eq!(world.json(&["withdraw", &id]).code, 1, "once is enough");
    assert_eq!(world.judge("approve", &id, CAROL).error(1)["reason"], "WRONG_STATE");
}

fn tokens_that_do_not_verify(world: &World, (_, token): &(String, String)) {
    let other = world.json(&["verify", "token.jwt", "--aud", "mysql-prod"]);
    assert_eq!(other.error(4)["reason"], "AUDIENCE_MISMATCH");
    let (start, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    fs::write(world.path("forged.jwt"), format!("{start}.{flipped}{}", &signature[1..])).unwrap();
    assert_eq!(world.json(&["verify", "forged.jwt"]).code, 4);
}

fn plug(stack: &Remote, serial: u32) {
    stack.plug(serial);
    wait_for("the key to be seen", DEADLINE, || PivKey::open(Serial(serial)).ok());
}

fn unplug(stack: &Remote, serial: u32) {
    stack.unplug(serial);
    wait_for("the key to be gone", DEADLINE, || PivKey::open(Serial(serial)).err());
}

fn a_station_serves_one_after_the_other(world: &World, stack: &Remote) {
    let all = [ALICE, BOB, CAROL, ERIN, STRANGER];
    let id = world.request();
    for serial in all {
        unplug(stack, serial);
    }
    let pin = world.file("pin");
    let mut command = world.command();
    command.args(["--json", "station", "--id", "war-room-1", "--pin-file", &pin, "--yes"]);
    let mut station = Process::spawn("station", world.path("").as_path(), &mut command);
    let mut expect = |what: &str| {
        station.wait_until(what, DEADLINE, |log| log.contains(what).then_some(()));
    };
    expect("Plug in your YubiKey.");
    stack.plug(STRANGER);
    expect("KEY_UNKNOWN");
    unplug(stack, STRANGER);
    for (serial, person) in [(ALICE, "alice"), (BOB, "bob")] {
        stack.plug(serial);
        expect(&format!("\"person\":\"{person}\""));
        expect(&format!("Take YubiKey {serial} out"));
        unplug(stack, serial);
    }
    station.kill();
    let token = world.redeem(&id);
    let said = world.json(&["show", &id]).json().to_string();
    assert!(said.contains("war-room-1"), "the station is named: {said}");
    fs::write(world.path("token.jwt"), token).unwrap();
    world.breakglass(&["verify", "token.jwt"]).ok();
    for serial in all {
        plug(stack, serial);
    }
}

/// The one file with entries of an exported log that has less than 256.
fn bundle(export: &Path) -> PathBuf {
    fs::read_dir(export.join("tile/entries/000.p")).unwrap().next().unwrap().unwrap().path()
}

/// The entries of an exported log that has less than 256.
fn entries(export: &Path) -> Vec<Vec<u8>> {
    let (bytes, mut entries) = (fs::read(bundle(export)).unwrap(), Vec::new());
    let mut rest = bytes.as_slice();
    while let [high, low, after @ ..] = rest {
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        entries.push(entry.to_vec());
        rest = after;
    }
    entries
}

fn the_log_is_right_and_a_forged_one_is_not(world: &World) {
    let export = world.file("export");
    world.json(&["audit", "export", &export]).json();
    let verified = world.json(&["audit", "verify", &export]).json();
    assert_eq!(verified["valid"], true);
    let entries = entries(Path::new(&export));
    assert_eq!(verified["entries"], entries.len());

    // Somebody who wants the log to tell another story, and writes all of it anew.
    let forged = |entries: &[Vec<u8>]| {
        let path = world.file("copy.jsonl");
        fs::write(&path, entries.join(&b'\n')).unwrap();
        world.json(&["audit", "verify", &path])
    };
    assert_eq!(forged(&entries).json()["valid"], true);
    let is = |kind: &str| {
        let is = |entry: &Vec<u8>| serde_json::from_slice::<Value>(entry).unwrap()["event"]["type"] == kind;
        entries.iter().position(is).unwrap()
    };
    // Without the first approval, the decision that it belonged to is the first that the rules do not give.
    let authorized = is("issuance_authorized");
    let mut without = entries.clone();
    without.remove(is("approval_recorded"));
    let first = forged(&without).refused(4, "ENTRY_WRONG");
    assert!(first.starts_with(&format!("entry {} ", authorized - 1)), "{first}");

    // Or who changes one byte of an entry in the export.
    let changed = is("approval_recorded");
    let before: usize = entries[..changed].iter().map(|entry| entry.len() + 2).sum();
    let bundle = bundle(Path::new(&export));
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[before + 2 + entries[changed].len() / 2] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let tampered = world.json(&["audit", "verify", &export]).error(4).to_string();
    assert!(tampered.contains(&format!("entry {changed} ")), "{tampered}");
}

fn without_a_daemon(world: &mut World) {
    world.stop();
    assert_eq!(world.json(&["list"]).error(3)["reason"], "SERVER_UNREACHABLE");
    let doctor = world.json(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    let said: Value = serde_json::from_str(&doctor.out).unwrap();
    assert_eq!(said["healthy"], false);
    assert!(doctor.err.contains("UNHEALTHY"), "{}", doctor.err);
    world.start();
    assert_eq!(world.json(&["doctor"]).json()["healthy"], true);
}
