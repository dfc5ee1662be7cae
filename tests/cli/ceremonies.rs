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
}

impl Room {
    fn new() -> Self {
        Self { dir: testkit::temp_dir() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("c").join(name)
    }

    fn genesis(&self) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_breakglass")).parent().unwrap();
        assert!(binaries.join("virtual-yubikey").exists(), "build the whole workspace first");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ceremony-genesis");
        let mut command = Command::new(script);
        command
            .args(["--rehearse", "--dir"])
            .arg(self.path(""))
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
        let output = self.genesis().output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Kills it as soon as it says this line; whether it got that far.
    fn kill_at(&self, line: usize) -> bool {
        let mut script = self.genesis().spawn().unwrap();
        let mut said = BufReader::new(script.stdout.take().unwrap()).lines();
        let reached = said.by_ref().nth(line).is_some();
        end(&mut script);
        reached
    }

    fn transcript(&self) -> Value {
        let jws: Value = serde_json::from_slice(&fs::read(self.path("transcript.json")).unwrap()).unwrap();
        let payload = breakglass::jose::b64::decode(jws["payload"].as_str().unwrap()).unwrap();
        assert_eq!(jws["signatures"].as_array().unwrap().len(), 3, "all three were present and sign");
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
    let room = Room::new();
    let said = room.hold();
    for part in ["This is a rehearsal", "read aloud", "The log is right", "1 transcript_recorded"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let transcript = room.transcript();
    assert_eq!((&transcript["ceremony"], &transcript["rehearsal"]), (&"genesis".into(), &true.into()));
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

#[test]
fn genesis_goes_on_after_being_killed_at_any_point() {
    let room = Room::new();
    // Lines of the output: each run is killed a few lines further on than the one before, so that every step is cut
    // through, most of them more than once.
    let mut line = 3;
    while room.kill_at(line) {
        line += 4;
    }
    assert!(line > 40, "it was killed {} times only", line / 4);
    let said = room.hold();
    assert!(said.contains("The log is right"), "{said}");
    let transcript = room.transcript();
    let steps = transcript["steps"].as_array().unwrap();
    let mut names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 11, "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 11, "no step is told twice");
    let digest = |name: &str| {
        let step = steps.iter().find(|step| step["name"].as_str().unwrap().contains(name)).unwrap();
        step["facts"]["charter"].clone()
    };
    assert_eq!(digest("written down"), digest("pins the rules"), "what was written down is what is in force");
}
