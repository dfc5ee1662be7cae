//! The ceremony scripts as they are shipped, rehearsed whole and killed at every step.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

/// A ceremony's folder; its path is short, since it holds sockets.
struct Room {
    dir: tempfile::TempDir,
    ceremony: &'static str,
    options: &'static [&'static str],
}

impl Room {
    fn new(ceremony: &'static str) -> Self {
        Self { dir: testkit::temp_dir(), ceremony, options: &[] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("c").join(name)
    }

    fn script(&self) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_breakglass")).parent().unwrap();
        assert!(binaries.join("virtual-yubikey").exists(), "build the whole workspace first");
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(format!("ceremony-{}", self.ceremony));
        let mut command = Command::new(script);
        command
            .args(["--rehearse", "--dir"])
            .arg(self.path(""))
            .args(self.options)
            .env("PATH", format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap()))
            .env_remove("BREAKGLASS_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // To be killed with all it started, as a terminal that is closed does.
            .process_group(0);
        command
    }

    /// Lets it run to its end; what it said.
    fn hold(&self) -> String {
        let output = self.script().output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Kills it as soon as it says this line; whether it got that far. What ends before that has to end well.
    fn kill_at(&self, line: usize) -> bool {
        let mut script = self.script().spawn().unwrap();
        let mut said = BufReader::new(script.stdout.take().unwrap()).lines();
        if said.by_ref().nth(line).is_some() {
            end(&mut script);
            return true;
        }
        let output = script.wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "it failed before line {line}:\n{why}");
        false
    }

    fn transcript(&self) -> Value {
        let jws: Value = serde_json::from_slice(&fs::read(self.path("transcript.json")).unwrap()).unwrap();
        let payload = breakglass::jose::b64::decode(jws["payload"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }
}

/// Ends a script and what it started, and waits until none of it is left to hold a file or a port.
fn end(script: &mut Child) {
    let group = Pid::from_child(script);
    kill_process_group(group, Signal::KILL).unwrap();
    let mut rest = String::new();
    script.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    script.wait().unwrap();
}

/// Every file below, with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path(), fs::read(entry.path()).unwrap()));
        }
    }
    found
}

#[test]
fn genesis_is_rehearsed_recorded_and_printed() {
    let room = Room::new("genesis");
    let said = room.hold();
    for part in ["This is a rehearsal", "read aloud", "The log is right", "1 transcript_recorded"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let transcript = room.transcript();
    assert_eq!((&transcript["ceremony"], &transcript["rehearsal"]), (&"genesis".into(), &true.into()));
    assert_eq!(transcript["present"], serde_json::json!(["alice", "bob", "carol"]));
    assert_eq!(transcript["steps"].as_array().unwrap().len(), 11);
    assert!(fs::read_to_string(room.path("transcript.html")).unwrap().contains("A rehearsal"));
    // Held again, it has nothing left to do and changes nothing.
    let again = room.hold();
    assert_eq!(again.matches("done already").count(), 11, "{again}");
    assert_eq!(room.transcript(), transcript);

    let secrets: Vec<Vec<u8>> = ["pin", "issuing.pin", "log.pin"]
        .map(|name| fs::read(room.path(name)).unwrap().trim_ascii().to_vec())
        .to_vec();
    for (path, content) in files(&room.path("")) {
        let own = path.extension().is_some_and(|kind| kind == "pin") || path.ends_with("pin");
        // The virtual cards and the token keep their own PINs.
        if own || path.starts_with(room.path("cards")) || path.starts_with(room.path("tokens")) {
            continue;
        }
        for secret in &secrets {
            let leaks = content.windows(secret.len()).any(|window| window == secret.as_slice());
            assert!(!leaks, "{} holds a PIN", path.display());
        }
    }
}

/// Kills each run a few lines further on than the one before, so that every step is cut through, most of them more than
/// once; then lets it come to its end. What it said then, and its transcript.
fn kill_and_go_on(room: &Room, every: usize) -> (String, Value) {
    let (mut line, mut kills) = (3, 0);
    while room.kill_at(line) {
        (line, kills) = (line + every, kills + 1);
    }
    assert!(kills > 8, "it was killed {kills} times only");
    let said = room.hold();
    assert!(said.contains("The log is right"), "{said}");
    let transcript = room.transcript();
    let steps = transcript["steps"].as_array().unwrap();
    let mut names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "no step is told twice: {names:?}");
    (said, transcript)
}

/// The charter that a step tells of.
fn charter_of(transcript: &Value, name: &str) -> Value {
    let steps = transcript["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"].as_str().unwrap().contains(name)).unwrap();
    assert!(step["facts"]["charter"].is_string(), "{step}");
    step["facts"]["charter"].clone()
}

#[test]
fn genesis_goes_on_after_being_killed_at_any_point() {
    let room = Room::new("genesis");
    let (_, transcript) = kill_and_go_on(&room, 4);
    assert_eq!(transcript["steps"].as_array().unwrap().len(), 11);
    let (written, pinned) =
        (charter_of(&transcript, "written down"), charter_of(&transcript, "pins the rules"));
    assert_eq!(written, pinned, "what was written down is what is in force");
}

#[test]
fn a_change_goes_on_after_being_killed_at_any_point() {
    let room = Room::new("replace-device");
    // The first run sets the stage as well: it is let go to its end, and the ceremony begun anew on that stage.
    room.hold();
    for kept in
        ["done", "transcript.draft.json", "transcript.json", "charter.next.json", "charter.next.signed.json"]
    {
        let path = room.path(kept);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    // Held again, it would replace a device that is gone: nothing to change is said, and nothing is done.
    let refused = room.script().output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no device with serial number"));

    let room = Room::new("replace-device");
    let (said, transcript) = kill_and_go_on(&room, 5);
    assert!(said.contains("2 charter_adopted"), "the change came into force once:\n{said}");
    assert_eq!(charter_of(&transcript, "is written down"), charter_of(&transcript, "puts the new version"));
}

#[test]
fn every_change_is_rehearsed() {
    for (ceremony, present, charters) in [
        ("enrol-custodian", &["alice", "bob", "erin"][..], "2 charter_adopted"),
        ("rotate-key", &["alice", "bob"], "3 charter_adopted"),
        ("panic", &["alice", "bob"], "2 charter_adopted"),
    ] {
        let room = Room::new(ceremony);
        let said = room.hold();
        for part in ["This is a rehearsal", "The log is right", charters, "is entry"] {
            assert!(said.contains(part), "{ceremony}: {part} is missing:\n{said}");
        }
        let transcript = room.transcript();
        assert_eq!((&transcript["ceremony"], &transcript["present"]), (&ceremony.into(), &present.into()));
        if ceremony == "panic" {
            for part in [
                "This DESTROYS the issuing key",
                "KILLED: the key",
                "1 kill_recorded",
                "issuing_key_destroyed",
            ] {
                assert!(said.contains(part), "{part} is missing:\n{said}");
            }
        }
    }
}

/// Announced, activated, and at last ended: the three phases of a rotation in one evening.
#[test]
fn a_rotation_ends_with_the_destruction_of_the_old_key() {
    let room = Room { options: &["--phase", "destroy"], ..Room::new("rotate-key") };
    let said = room.hold();
    for part in [
        "becomes destroyed",
        "The daemon destroys the key in the HSM",
        "4 charter_adopted",
        "The log is right",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

/// Rehearses one of the ways out; what it said, and what the daemon wrote meanwhile.
fn recovered(options: &'static [&'static str], present: &[&str], says: &[&str]) -> (String, String) {
    let room = Room { options, ..Room::new("recover") };
    let said = room.hold();
    for part in says.iter().chain(&["This is a rehearsal", "The log is right"]) {
        assert!(said.contains(part), "{options:?}: {part} is missing:\n{said}");
    }
    let transcript = room.transcript();
    assert_eq!((&transcript["ceremony"], &transcript["present"]), (&"recover".into(), &present.into()));
    (said, fs::read_to_string(room.path("stage/log/breakglassd")).unwrap())
}

#[test]
fn few_custodians_lost_are_replaced_by_those_who_are_left() {
    let (said, log) = recovered(
        &["--lost", "few"],
        &["alice", "bob", "erin"],
        &["removes carol", "2 charter_adopted", "2 transcript_recorded"],
    );
    assert!(!said.contains("RECOVERY"), "governance needs no recovery:\n{said}");
    assert!(!log.contains("ALARM"), "nothing to be alarmed about:\n{log}");
}

#[test]
fn many_custodians_lost_are_replaced_by_sealed_devices() {
    let (_, log) = recovered(
        &["--lost", "many"],
        &["erin", "frank", "sam", "sid"],
        &["WEAKER  IS A RECOVERY", "removes bob", "adds frank", "2 charter_adopted"],
    );
    assert!(log.contains("ALARM: recovery custodians have replaced the custodians"), "{log}");
}

#[test]
fn below_any_quorum_a_new_genesis_is_announced_and_cancelled() {
    let (said, log) = recovered(
        &["--lost", "all"],
        &["alice", "erin", "frank"],
        &[
            "BEGINS ANEW",
            "ALARM: alice has announced a new chain",
            "0 of 7 days",
            "Cancelled: this chain goes on",
            "1 charter_adopted",
            "1 genesis_announced",
            "1 genesis_cancelled",
        ],
    );
    // By genesis status, list, charter show and doctor.
    assert_eq!(said.matches("ALARM: alice has announced").count(), 4, "{said}");
    assert!(log.contains("ALARM: a new chain is announced in place of this one"), "{log}");
}

#[test]
fn a_recovery_goes_on_after_being_killed_at_any_point() {
    let room = Room::new("recover");
    let (said, transcript) = kill_and_go_on(&room, 6);
    for part in ["2 charter_adopted", "2 transcript_recorded"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert_eq!(transcript["present"], serde_json::json!(["erin", "frank", "sam", "sid"]));
    assert_eq!(charter_of(&transcript, "is written down"), charter_of(&transcript, "puts the new version"));
    let signed = fs::read(room.path("charter.next.signed.json")).unwrap();
    let jws: Value = serde_json::from_slice(&signed).unwrap();
    let payload = breakglass::jose::b64::decode(jws["payload"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["by_recovery"], true);
}
