//! A team at work: three custodians with a YubiKey each, a requester, a charter that they signed, and a daemon. All of it
//! is made with the product's own programs, as the README tells people to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Process, SOFTHSM_MODULE, SoftHsm, free_port, temp_dir};
use virtual_yubikey::harness::Remote;

/// How long anything may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// The custodians' PIN.
pub const PIN: &str = "123456";
/// What everybody asks for.
pub const DETAIL: &str =
    r#"{"type":"database","actions":["read","write"],"locations":["postgres/prod/orders"]}"#;

/// Serial numbers of the custodians, of a person who is none, and of a key that nobody has enrolled.
pub const ALICE: u32 = 1;
pub const BOB: u32 = 2;
pub const CAROL: u32 = 3;
pub const ERIN: u32 = 4;
pub const STRANGER: u32 = 5;
const PEOPLE: [(&str, u32); 4] = [("alice", ALICE), ("bob", BOB), ("carol", CAROL), ("erin", ERIN)];

/// Where the issuing key is.
pub enum Issuer {
    SoftHsm,
    /// A YubiKey with this serial number, whose PIN is in the file.
    Yubikey(u32, PathBuf),
}

/// See the module.
pub struct World {
    dir: TempDir,
    hsm: SoftHsm,
    root: PathBuf,
    pub digest: String,
    daemon: Option<Process>,
    pub grpc: u16,
    http: u16,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// It succeeded: what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// It succeeded, and printed one JSON document.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}"))
    }

    /// It failed with this exit code, and says so as JSON: the error.
    #[track_caller]
    pub fn error(self, code: i32) -> Value {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        assert_eq!(self.out, "", "a failure has no result");
        let mut error: Value = serde_json::from_str(self.err.lines().last().unwrap()).unwrap();
        assert_eq!(error["error"]["exit_code"], code);
        error["error"].take()
    }

    /// The same, with this reason: the message.
    #[track_caller]
    pub fn refused(self, code: i32, reason: &str) -> String {
        let error = self.error(code);
        assert_eq!(error["reason"], reason, "{error}");
        error["message"].as_str().unwrap().to_owned()
    }
}

impl World {
    /// Holds the ceremonies and starts the daemon. To be called where the smart card service is the test's own.
    pub fn new(stack: &Remote, issuer: &Issuer) -> Self {
        let mut world = Self {
            dir: temp_dir(),
            hsm: SoftHsm::new(),
            root: stack.dir().join("ca/root.pem"),
            digest: String::new(),
            daemon: None,
            grpc: free_port(),
            http: free_port(),
        };
        fs::create_dir(world.path("data")).unwrap();
        for (name, pin) in [("pin", PIN), ("wrong-pin", "654321")] {
            world.write(name, pin);
        }
        world.configure(issuer);
        let public = world.file("public.json");
        let setup = ["setup", "--initialise", "--origin", "log.example.test/cli", "--public", &public];
        Ran::of(world.breakglassd().args(setup)).ok();
        world.enrol();
        world.genesis("charter", true, &format!("http://127.0.0.1:{}", world.http));
        world.digest = world.digest_of("charter");
        world.write("client.toml", &client_toml(world.grpc, &world.digest, "charter", "dana"));
        world.write("erin.toml", &client_toml(world.grpc, &world.digest, "charter", "erin"));
        let (charter, evidence) = (world.file("charter.json"), world.file("charter.evidence.json"));
        let init = ["init", "--charter", &charter, "--evidence", &evidence];
        // One digest in 64 begins with a hyphen.
        let digest = format!("--digest={}", world.digest);
        Ran::of(world.breakglassd().args(init).arg(digest)).ok();
        world.start();
        world
    }

    /// The certificate that all the keys' attestations lead to.
    pub fn root(&self) -> String {
        self.root.to_str().unwrap().to_owned()
    }

    /// As in the charter: where its documents are served.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        write_private(&self.path(name), text);
    }

    /// Starts the daemon and waits until it says that it is well.
    pub fn start(&mut self) {
        let mut daemon = Process::spawn("breakglassd", self.dir.path(), &mut self.breakglassd());
        daemon.wait_until("healthy", DEADLINE, |_| (get(self.http, "/healthz") == Some(200)).then_some(()));
        self.daemon = Some(daemon);
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.stop_and_read();
    }

    /// The same, and what it has written since the first start.
    pub fn stop_and_read(&mut self) -> String {
        let mut daemon = self.daemon.take().unwrap();
        assert!(daemon.terminate(DEADLINE).success());
        daemon.log()
    }

    fn breakglassd(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglassd"));
        command.arg("--config").arg(self.path("breakglassd.toml")).envs([self.hsm.env()]);
        command
    }

    /// `breakglass`, to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass"));
        command.env("BREAKGLASS_CONFIG", self.path("client.toml")).current_dir(self.dir.path());
        command.stdin(std::process::Stdio::null());
        command
    }

    pub fn breakglass(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command().args(arguments))
    }

    /// With `--json`.
    pub fn json(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command().arg("--json").args(arguments))
    }

    /// Files a request: its id.
    pub fn request(&self) -> String {
        let reason = ["--reason", "Orders cannot be written", "--incident", "INC-4711", "--ttl", "10m"];
        let what = ["request", "--profile", "db-admin", "--detail", DETAIL];
        let filed = self.json(&[what.as_slice(), reason.as_slice()].concat()).json();
        assert_eq!(filed["state"], "pending", "{filed}");
        filed["request_id"].as_str().unwrap().to_owned()
    }

    /// `approve` or `deny` by the owner of a key.
    pub fn judge(&self, verdict: &str, id: &str, serial: u32) -> Ran {
        self.judge_with(verdict, id, serial, "pin")
    }

    pub fn judge_with(&self, verdict: &str, id: &str, serial: u32, pin_file: &str) -> Ran {
        let (serial, pin_file) = (serial.to_string(), self.file(pin_file));
        self.json(&[verdict, id, "--serial", &serial, "--pin-file", &pin_file, "--yes"])
    }

    pub fn redeem(&self, id: &str) -> String {
        self.breakglass(&["redeem", id]).ok().trim_end().to_owned()
    }

    fn configure(&self, issuer: &Issuer) {
        let (grpc, http, module) = (self.grpc, self.http, SOFTHSM_MODULE);
        let (hsm, log) = match issuer {
            Issuer::SoftHsm => (
                format!(
                    "backend = \"pkcs11\"\nmodule = \"{module}\"\ntoken = \"issuing\"\npin_file = \"issuing.pin\""
                ),
                format!("module = \"{module}\"\ntoken = \"log\"\npin_file = \"log.pin\""),
            ),
            Issuer::Yubikey(serial, pin_file) => (
                format!("backend = \"yubikey\"\nserial = {serial}\npin_file = \"{}\"", pin_file.display()),
                "file = \"log.key\"".to_owned(),
            ),
        };
        let text = format!(
            r#"
id = "breakglassd-1"
data_dir = "data"

[grpc]
listen = "127.0.0.1:{grpc}"
key = "tls.key.pem"
certificate = "tls.cert.pem"

[http]
listen = "127.0.0.1:{http}"

[hsm]
{hsm}

[log_key]
{log}
"#
        );
        self.write("breakglassd.toml", &text);
    }

    /// Everybody's keys.
    fn enrol(&self) {
        for (person, serial) in PEOPLE {
            let (serial, pin, out) =
                (serial.to_string(), self.file("pin"), self.file(&format!("{person}.json")));
            let root = self.root.to_str().unwrap();
            let device = ["--serial", &serial, "--pin-file", &pin, "--root", root];
            let enrol = ["custodian", "enrol", "--person", person, "--out", &out];
            self.breakglass(&[enrol.as_slice(), &device].concat()).ok();
        }
        for who in ["dana", "erin"] {
            self.breakglass(&["key", "new", "--name", who, "--out", &self.file(who)]).ok();
        }
    }

    /// Drafts a charter and has two custodians sign it: `NAME.json`, `NAME.evidence.json`.
    pub fn genesis(&self, name: &str, development: bool, issuer: &str) {
        let draft = draft(self.root.to_str().unwrap(), development, issuer);
        let at = |suffix: &str| self.file(&format!("{name}.{suffix}"));
        let (from, payload, evidence, signed) =
            (at("draft.toml"), at("payload.json"), at("evidence.json"), at("json"));
        fs::write(&from, draft).unwrap();
        let new = ["charter", "new", "--from", &from, "--out", &payload, "--evidence-out", &evidence];
        self.breakglass(&new).ok();
        for serial in [ALICE, BOB, CAROL] {
            let (serial, pin) = (serial.to_string(), self.file("pin"));
            let sign = ["charter", "sign", &payload, "--out", &signed, "--serial", &serial];
            let scripted: &[&str] = if development { &["--pin-file", &pin, "--yes"] } else { return };
            self.breakglass(&[sign.as_slice(), scripted].concat()).ok();
        }
    }

    /// A client's configuration for another charter of this team.
    pub fn config_of(&self, charter: &str) -> String {
        let (name, digest) = (format!("{charter}.toml"), self.digest_of(charter));
        self.write(&name, &client_toml(self.grpc, &digest, charter, "dana"));
        self.file(&name)
    }

    fn digest_of(&self, name: &str) -> String {
        let shown = self.json(&["charter", "show", &self.file(&format!("{name}.json"))]).json();
        shown["digest"].as_str().unwrap().to_owned()
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The status of `GET path`, if anybody answers.
fn get(port: u16, path: &str) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn client_toml(grpc: u16, genesis: &str, charter: &str, who: &str) -> String {
    format!(
        r#"
daemon = "https://127.0.0.1:{grpc}"
genesis = "{genesis}"
charter = "{charter}.json"
key = "{who}/{who}.key.pem"
certificate = "{who}/{who}.cert.pem"
state_dir = "requests"

[verify]
audience = "postgres-prod"
development = true
"#
    )
}

fn draft(root: &str, development: bool, issuer: &str) -> String {
    let person = |(id, _): (&str, u32)| {
        let (role, keys) =
            if id == "erin" { ("requester", "\"erin/erin.jwk.json\"") } else { ("custodian", "") };
        format!(
            "\n[[person]]\nid = \"{id}\"\nname = \"{id}\"\nroles = [\"{role}\"]\ndevices = [\"{id}.json\"]\nkeys = [{keys}]\n"
        )
    };
    let people: String = PEOPLE.into_iter().map(person).collect();
    format!(
        r#"
issuer = "{issuer}"
development = {development}
daemon = "public.json"
attestation_roots = ["{root}"]
governance = {{ threshold = 2, of = "custodians" }}

[groups]
custodians = ["alice", "bob", "carol"]
{people}
[[person]]
id = "dana"
name = "Dana, on call"
roles = ["requester", "auditor"]
keys = ["dana/dana.jwk.json"]

[[profile]]
id = "db-admin"
description = "Administer the production databases"
quorum = {{ threshold = 2, of = "custodians" }}
audience = "postgres-prod"
max_ttl = "15m"
approval_window = "30m"
stations = true
review = {{ within = "24h", by = {{ threshold = 2, of = "custodians" }} }}
allow = [{{ type = "database", actions = ["read", "write"], locations = ["postgres/prod/*"] }}]

[[profile]]
id = "db-root"
description = "Do anything to the production databases"
quorum = {{ threshold = 2, of = "custodians" }}
audience = "postgres-prod"
max_ttl = "15m"
approval_window = "30m"
requester_key = "piv"
allow = [{{ type = "database", actions = ["read", "write"], locations = ["postgres/prod/*"] }}]
"#
    )
}
