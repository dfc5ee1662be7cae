//! The program as scripts use it: one line of JSON, a control socket, and nothing left behind however it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do, by panicking")]

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_virtual-yubikey");

struct Running {
    child: Child,
    line: Value,
    dir: PathBuf,
}

impl Running {
    fn start(dir: &Path, cards: u32) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["stack", "--cards", &cards.to_string(), "--version", "5.4.3", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line: serde_json::from_str(&line).unwrap(), dir: dir.to_path_buf() }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn control(&self, action: &[&str]) -> Value {
        let output = Command::new(PROGRAM)
            .args(["control", "--serial", "10000001", "--dir"])
            .arg(&self.dir)
            .args(action)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn status(&self) -> String {
        let mut client = Command::new("yubico-piv-tool");
        client.env("PCSCLITE_CSOCK_NAME", self.line.get("socket").and_then(Value::as_str).unwrap());
        String::from_utf8(client.args(["-a", "status"]).output().unwrap().stdout).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails leaves nothing running; after a test that passed there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes whose command line names this directory.
fn processes(dir: &Path) -> Vec<String> {
    let name = dir.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(name)).collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        // Processes that end tell only their parents: asking again is all that others can do.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sigterm_ends_all_and_the_cards_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), 1);
    assert_eq!(running.line["serials"], serde_json::json!([10_000_001]));
    assert!(Path::new(running.line["attestation_root"].as_str().unwrap()).exists());
    assert!(running.status().contains("10000001"));
    running.signal("-TERM");
    assert!(running.child.wait().unwrap().success());
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    let memory = dir.path().join("cards/10000001.json");
    let before = std::fs::read(&memory).unwrap();
    let mut again = Running::start(dir.path(), 1);
    assert_eq!(std::fs::read(&memory).unwrap(), before, "the same card");
    again.signal("-INT");
    assert!(again.child.wait().unwrap().success());
}

#[test]
fn killed_it_leaves_no_pcscd_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), 1);
    assert!(!processes(dir.path()).is_empty());
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    wait_until("pcscd outlives its parent", || processes(dir.path()).is_empty());
    let mut again = Running::start(dir.path(), 1);
    assert!(again.status().contains("10000001"), "and what it left does not disturb");
    again.signal("-TERM");
    again.child.wait().unwrap();
}

#[test]
fn stacks_side_by_side_see_only_their_own_cards() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut first = Running::start(dirs[0].path(), 3);
    let mut second = Running::start(dirs[1].path(), 1);
    assert_ne!(first.line["socket"], second.line["socket"]);
    second.signal("-TERM");
    second.child.wait().unwrap();
    assert!(first.status().contains("5.4.3"), "untouched by the end of the other");
    first.signal("-TERM");
    first.child.wait().unwrap();
}

#[test]
fn a_running_card_is_controlled_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), 1);
    assert_eq!(running.control(&["counts"])["plugged"], true);
    assert_eq!(running.control(&["unplug"])["plugged"], false);
    wait_until("the card is still seen", || !running.status().contains("10000001"));
    assert_eq!(running.control(&["plug"])["plugged"], true);
    wait_until("the card is not seen again", || running.status().contains("10000001"));
    for action in [&["manual"][..], &["press"], &["delay", "800"], &["refuse"], &["grant"], &["wait", "0"]] {
        assert_eq!(running.control(action)["asked"], 0);
    }
    running.signal("-TERM");
    running.child.wait().unwrap();
    let silent = Command::new(PROGRAM)
        .args(["control", "--serial", "10000001", "counts", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(!silent.status.success(), "nobody answers any more");
}
