//! Runs the program in a folder of its own, and makes what changes from run to run the same.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// A folder with nothing else in it, and the program in it.
pub struct Place(tempfile::TempDir);

/// What a run left.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self(testkit::temp_dir())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    /// Runs `breakglass` here, where nobody has a configuration, a terminal or a smart card service.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_breakglass"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PCSCLITE_CSOCK_NAME", self.path().join("no-pcscd"))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs what must succeed, and returns its result.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Exit code and everything written, with this folder's path left out.
    pub fn shown(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        let text = format!("exit {}\n{}{}", ran.code, ran.stdout, ran.stderr);
        let text = text.replace(&self.path().display().to_string(), "HERE");
        // The checks of a charter say which instant they looked at.
        let mut parts = text.split("looking at ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + "looking at THEN" + &part["2026-11-22T02:03:00.000Z".len()..])
    }
}
