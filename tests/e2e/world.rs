//! A place with everything in it: HSM tokens, keys, a charter in force, and the configuration of a daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
    time::Duration,
};

use breakglass::{
    domain::{
        charter::Charter,
        replay::Replay,
        strict::{Accepted, Rejection, Seen, View, verify},
    },
    jose::{Digest, GeneralJws, TokenAlg, Typ},
    store::{SqliteStore, StoreOptions},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{SOFTHSM_MODULE, SoftHsm, free_port, temp_dir};

use crate::{client::wait, kit};

/// How long anything may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Unix seconds, by the clock that the daemon sees, too.
#[expect(clippy::disallowed_methods, reason = "the daemon under test lives by the real clock")]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Where the ports are; taken anew when another process was faster.
#[derive(Clone, Copy)]
pub struct Ports {
    pub grpc: u16,
    pub http: u16,
}

/// See the module.
pub struct World {
    pub dir: TempDir,
    pub hsm: SoftHsm,
    pub charter: Charter,
    /// What a client pins.
    pub spki: Digest,
    ports: Mutex<Ports>,
}

impl World {
    /// Sets up devices and keys with the program, and puts the charter of the kit in force.
    pub fn new() -> Self {
        Self::with(|document| document)
    }

    /// The same under a charter that differs.
    pub fn with(change: impl FnOnce(Value) -> Value) -> Self {
        Self::with_keys(&[], |document, _| change(document))
    }

    /// The same with more issuing keys on the token; the change is given the public half of each.
    pub fn with_keys(keys: &[TokenAlg], change: impl FnOnce(Value, Vec<Value>) -> Value) -> Self {
        Self::made(keys, &[], |_| (), change)
    }

    /// The same with a second token, `standby`, and a key on it that is active for all profiles, after the first.
    pub fn with_standby() -> Self {
        Self::made(&[TokenAlg::Es256], &["--standby"], add_standby, |mut document, keys| {
            let profiles = document["issuing_keys"][0]["profiles"].clone();
            let standby = json!({"key": keys[0], "profiles": profiles, "state": "active"});
            document["issuing_keys"].as_array_mut().unwrap().push(standby);
            document
        })
    }

    /// The same with a third token, `operational`, whose key the charter lists; tokens of `db-read` have a place in the
    /// status list.
    pub fn with_operational(change: impl FnOnce(Value) -> Value) -> Self {
        Self::made(&[], &[], add_operational, |mut document, _| {
            document["profiles"][0]["status"] = json!(true);
            change(document)
        })
    }

    fn made(
        keys: &[TokenAlg],
        where_to: &[&str],
        prepare: impl FnOnce(&Path),
        change: impl FnOnce(Value, Vec<Value>) -> Value,
    ) -> Self {
        let (dir, hsm) = (temp_dir(), SoftHsm::new());
        fs::create_dir(dir.path().join("data")).unwrap();
        let ports = Ports { grpc: free_port(), http: free_port() };
        configure(dir.path(), ports);
        prepare(dir.path());
        let public = dir.path().join("public.json");
        let setup = ["setup", "--initialise", "--origin", kit::ORIGIN, "--public", public.to_str().unwrap()];
        succeeds(&run(dir.path(), &hsm, &setup));
        let public: Value = serde_json::from_slice(&fs::read(public).unwrap()).unwrap();
        let more = keys.iter().map(|alg| issuing_key(dir.path(), &hsm, *alg, where_to)).collect();
        let document = change(document(&public), more);
        let charter = signed(&document);
        let digest = Digest::of(&charter.payload);
        let path = dir.path().join("charter.json");
        fs::write(&path, charter.to_json()).unwrap();
        let init = ["init", "--charter", path.to_str().unwrap(), "--digest", &digest.to_string()];
        succeeds(&run(dir.path(), &hsm, &init));
        Self {
            charter: Charter::genesis(charter, digest).unwrap(),
            spki: public["daemon"]["spki"].as_str().unwrap().parse().unwrap(),
            dir,
            hsm,
            ports: Mutex::new(ports),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file of the audit log.
    pub fn database(&self) -> PathBuf {
        self.path("data/log.sqlite")
    }

    pub fn ports(&self) -> Ports {
        *self.ports.lock().unwrap()
    }

    /// Other ports, and a configuration that names them.
    pub fn other_ports(&self) {
        self.set_ports(Ports { grpc: free_port(), http: free_port() });
    }

    pub fn set_ports(&self, ports: Ports) {
        configure(self.dir.path(), ports);
        *self.ports.lock().unwrap() = ports;
    }

    /// `breakglassd` of this world with arguments of one's own.
    pub fn breakglassd(&self) -> Command {
        program(self.dir.path(), &self.hsm)
    }

    /// Every entry of the log, read from the closed database.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        wait(async {
            let store = SqliteStore::open(&self.database(), StoreOptions::default()).await.unwrap();
            let mut entries = Vec::new();
            let mut batches = store.read(0..store.size());
            while let Some(batch) = batches.next().await.unwrap() {
                entries.extend(batch);
            }
            store.close().await;
            entries
        })
    }

    /// What the auditor's fold says of these entries: the replay at their end, or the first wrong one and why.
    pub fn replay(&self, entries: &[Vec<u8>]) -> Result<Replay, (usize, String)> {
        let mut replay = Replay::new(self.charter.digest());
        for (index, bytes) in entries.iter().enumerate() {
            replay.next(bytes).map_err(|why| (index, why.to_string()))?;
        }
        Ok(replay)
    }

    /// What a strict verifier that has seen nothing before says of a token, now.
    pub fn verify(&self, jwt: &str) -> Result<Accepted, Rejection> {
        self.verify_at(jwt, now(), &mut Seen::default())
    }

    /// The same at another time, with a memory.
    pub fn verify_at(&self, jwt: &str, now: i64, seen: &mut Seen) -> Result<Accepted, Rejection> {
        let audience = kit::AUD.parse().unwrap();
        let view =
            View { charter: &self.charter, audience: &audience, now, allow_development: true, killed: None };
        verify(jwt, &view, seen)
    }
}

/// Makes one more issuing key on the token, with the program; its public half.
fn issuing_key(dir: &Path, hsm: &SoftHsm, alg: TokenAlg, where_to: &[&str]) -> Value {
    let (name, file) = (alg.as_str().to_lowercase(), dir.join(alg.as_str()));
    let arguments =
        ["issuing-key", "--name", &name, "--alg", alg.as_str(), "--public", file.to_str().unwrap()];
    let arguments = [&arguments, where_to].concat();
    succeeds(&run(dir, hsm, &arguments));
    let first = fs::read(&file).unwrap();
    succeeds(&run(dir, hsm, &arguments));
    assert_eq!(fs::read(file).unwrap(), first, "run again, it finds the key that it made");
    serde_json::from_slice(&first).unwrap()
}

/// The charter document of the kit, for this time, this HSM and this daemon.
fn document(public: &Value) -> Value {
    let (now, mut document) = (now(), kit::document());
    document["iss"] = json!("https://breakglass.example.test");
    document["issued_at"] = json!(now - 60);
    document["expires_at"] = json!(now + 80 * 86_400);
    for person in document["persons"].as_array_mut().unwrap() {
        if person.get("term").is_some() {
            person["term"] = json!({"until": now + 3600});
        }
    }
    // The first is the one that the HSM holds; the others are keys of the past.
    document["issuing_keys"][0]["key"] = public["issuing_key"].clone();
    if let Some(key) = public.get("operational_key") {
        document["operational_keys"] = json!([{"iss": "https://breakglass.example.test/ops", "key": key}]);
    }
    document["log_keys"] = json!([public["log_key"]]);
    document["daemons"] = json!([public["daemon"]]);
    document
}

fn signed(document: &Value) -> GeneralJws {
    let payload = kit::payload(document);
    let signatures =
        kit::DEVICES.iter().map(|device| kit::key(device).state(Typ::Charter, &payload, now())).collect();
    GeneralJws { payload, signatures }
}

/// Writes a daemon's configuration into a directory.
pub fn configure(dir: &Path, ports: Ports) {
    let Ports { grpc, http } = ports;
    let text = format!(
        r#"
id = "d1"
data_dir = "data"
snapshot_every = 30

[grpc]
listen = "127.0.0.1:{grpc}"
key = "tls.key.pem"
certificate = "tls.cert.pem"

[http]
listen = "127.0.0.1:{http}"

[hsm]
backend = "pkcs11"
module = "{SOFTHSM_MODULE}"
token = "issuing"
pin_file = "issuing.pin"

[log_key]
module = "{SOFTHSM_MODULE}"
token = "log"
pin_file = "log.pin"
"#
    );
    let path = dir.join("breakglassd.toml");
    // What was added goes on behind other ports.
    let old = fs::read_to_string(&path).unwrap_or_default();
    let added = old.find(ADDED).map(|at| &old[at..]).unwrap_or_default();
    fs::write(path, text + added).unwrap();
}

/// From here on a configuration names what most worlds do not have.
const ADDED: &str = "\n# More devices.\n";

/// Names a second token in that configuration.
fn add_standby(dir: &Path) {
    let path = dir.join("breakglassd.toml");
    let text = fs::read_to_string(&path).unwrap();
    let standby = format!(
        "{ADDED}[standby]\nbackend = \"pkcs11\"\nmodule = \"{SOFTHSM_MODULE}\"\ntoken = \"standby\"\npin_file = \"standby.pin\"\n"
    );
    fs::write(path, text + &standby).unwrap();
}

/// Names a token for operational keys in that configuration.
fn add_operational(dir: &Path) {
    let path = dir.join("breakglassd.toml");
    let text = fs::read_to_string(&path).unwrap();
    let operational = format!(
        "{ADDED}[operational]\nbackend = \"pkcs11\"\nmodule = \"{SOFTHSM_MODULE}\"\ntoken = \"operational\"\npin_file = \"operational.pin\"\n"
    );
    fs::write(path, text + &operational).unwrap();
}

/// `breakglassd` with that configuration.
pub fn program(dir: &Path, hsm: &SoftHsm) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_breakglassd"));
    command.arg("--config").arg(dir.join("breakglassd.toml")).envs([hsm.env()]).env_remove("RUST_LOG");
    command
}

pub fn run(dir: &Path, hsm: &SoftHsm, arguments: &[&str]) -> Output {
    program(dir, hsm).args(arguments).output().unwrap()
}

#[track_caller]
pub fn succeeds(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// JCS of a value with ASCII names, without judging its texts: thieves write what they like.
pub fn canonical(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}
