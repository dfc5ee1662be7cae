//! A company with everything in it: SoftHSM, three custodians with YubiKeys, a charter in force, a running daemon. All of
//! it is made by the programs themselves.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Process, SOFTHSM_MODULE, SoftHsm, free_port, temp_dir};
use virtual_yubikey::{CardSpec, Stack};

use crate::run::Ran;

/// How long anything may take before it counts as hanging, on a machine that is busy with other things.
pub const DEADLINE: Duration = Duration::from_mins(1);
pub const SERIALS: [&str; 3] = ["30000001", "30000002", "30000003"];
pub const DETAIL: &str = r#"{"type":"database","actions":["read"],"locations":["pg/prod/orders"]}"#;

const DRAFT: &str = r#"
issuer = "https://breakglass.example"
development = true
daemon = "public.json"
attestation_roots = ["yk/ca/root.pem"]
governance = { threshold = 2, of = "custodians" }

[groups]
custodians = ["alice", "bob", "carol"]

[[person]]
id = "alice"
name = "Alice"
roles = ["custodian"]
devices = ["alice.json"]

[[person]]
id = "bob"
name = "Bob"
roles = ["custodian"]
devices = ["bob.json"]

[[person]]
id = "carol"
name = "Carol"
roles = ["custodian"]
devices = ["carol.json"]

[[person]]
id = "dana"
name = "Dana"
roles = ["requester", "auditor"]
keys = ["dana.jwk.json"]

[[profile]]
id = "db-read"
description = "Read the production database"
quorum = { threshold = 2, of = "custodians" }
audience = "https://db.example"
max_ttl = "15m"
approval_window = "1h"
stations = true
allow = [{ type = "database", actions = ["read"], locations = ["pg/prod/*"] }]
"#;

/// See the module. Fields end in this order.
pub struct World {
    daemon: Process,
    pub stack: Stack,
    hsm: SoftHsm,
    dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        let (dir, hsm) = (temp_dir(), SoftHsm::new());
        let serials = SERIALS.map(|serial| CardSpec::new(serial.parse().unwrap()));
        let stack = Stack::start(&dir.path().join("yk"), &serials).unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("data")).unwrap();
        fs::write(path("draft.toml"), DRAFT).unwrap();
        fs::write(path("pin"), "123456\n").unwrap();
        fs::write(path("wrong"), "999999\n").unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        fs::write(path("breakglassd.toml"), daemon_config(&address)).unwrap();
        let setup = ["setup", "--initialise", "--origin", "log.example/1", "--public", "public.json"];
        succeeds(&breakglassd(&dir, &hsm).args(setup).output().unwrap());
        let tool = |arguments: &[&str]| succeeds(&breakglass(&dir, &stack).args(arguments).output().unwrap());
        for (serial, person) in SERIALS.iter().zip(["alice", "bob", "carol"]) {
            let out = format!("{person}.json");
            tool(&[
                "custodian",
                "enrol",
                "--serial",
                serial,
                "--person",
                person,
                "--out",
                &out,
                "--pin-file",
                "pin",
                "--root",
                "yk/ca/root.pem",
            ]);
        }
        tool(&["key", "new", "--out", ".", "--name", "dana"]);
        tool(&["charter", "new", "--from", "draft.toml"]);
        for serial in SERIALS {
            tool(&[
                "charter",
                "sign",
                "charter.payload.json",
                "--serial",
                serial,
                "--pin-file",
                "pin",
                "--yes",
            ]);
        }
        let shown = tool(&["--json", "charter", "show", "charter.json"]);
        let digest = serde_json::from_str::<Value>(&shown).unwrap()["digest"].as_str().unwrap().to_owned();
        let init = [
            "init",
            "--charter",
            "charter.json",
            "--evidence",
            "evidence.json",
            &format!("--digest={digest}"),
        ];
        succeeds(&breakglassd(&dir, &hsm).args(init).output().unwrap());
        let mut daemon = Process::spawn("breakglassd", dir.path(), &mut breakglassd(&dir, &hsm));
        daemon.wait_until("readiness", DEADLINE, |log| log.contains("breakglassd serves").then_some(()));
        let config = format!(
            "daemon = \"https://{address}\"\ngenesis = \"{digest}\"\ncharter = \"charter.json\"\nkey = \"dana.key.pem\"\ncertificate = \"dana.cert.pem\"\n"
        );
        fs::write(path("client.toml"), config).unwrap();
        Self { daemon, stack, hsm, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `breakglass` with this company's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = breakglass(&self.dir, &self.stack);
        command.env("BREAKGLASS_CONFIG", self.path("client.toml")).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs what must succeed, and returns its result.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {}\n{}", ran.stderr, self.daemon.log());
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Runs what must fail, and returns exit code and reason.
    pub fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.stdout, "", "{arguments:?} fails without a result");
        let last = ran.stderr.lines().rfind(|line| line.starts_with("{\"error\"")).unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_default();
        (ran.code, error["error"]["reason"].as_str().unwrap_or(&ran.stderr).to_owned())
    }

    /// A request, filed.
    pub fn request(&self) -> String {
        let filed = self.json(&[
            "request",
            "--reason",
            "Orders are stuck",
            "--incident",
            "INC-7",
            "--detail",
            DETAIL,
        ]);
        filed["request_id"].as_str().unwrap().to_owned()
    }

    /// An approval as scripts give it.
    pub fn approve(&self, id: &str, serial: &str) -> Value {
        self.json(&["approve", id, "--serial", serial, "--pin-file", "pin", "--yes"])
    }

    /// Ends the daemon, and returns what it said.
    pub fn stop(mut self) -> String {
        assert!(self.daemon.terminate(DEADLINE).success());
        let _ = &self.hsm;
        self.daemon.log()
    }
}

fn daemon_config(grpc: &str) -> String {
    let token = |name: &str| {
        format!("module = \"{SOFTHSM_MODULE}\"\ntoken = \"{name}\"\npin_file = \"{name}.pin\"\n")
    };
    format!(
        "id = \"breakglassd-1\"\ndata_dir = \"data\"\n[grpc]\nlisten = \"{grpc}\"\nkey = \"tls.key\"\ncertificate = \"tls.pem\"\n[http]\nlisten = \"127.0.0.1:0\"\n[hsm]\nbackend = \"pkcs11\"\n{}[log_key]\n{}",
        token("issuing"),
        token("log")
    )
}

fn breakglassd(dir: &TempDir, hsm: &SoftHsm) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_breakglassd"));
    command.args(["--config", "breakglassd.toml"]).current_dir(dir.path()).envs([hsm.env()]);
    command
}

fn breakglass(dir: &TempDir, stack: &Stack) -> Command {
    let mut command = stack.command(env!("CARGO_BIN_EXE_breakglass"));
    command
        .current_dir(dir.path())
        .env_remove("BREAKGLASS_CONFIG")
        .env("HOME", dir.path())
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
