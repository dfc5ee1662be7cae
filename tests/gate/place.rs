//! A daemon's world with a verifier in its charter, and the gate of that verifier.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use breakglass::{
    client::ClientError,
    grpc::{cert, v1},
    jose::{Digest, Typ},
};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use testkit::{Process, free_port, wait_for};

use crate::{
    client::{Client, secret, wait},
    kit,
    world::{DEADLINE, World, canonical, now},
};

/// The verifier's key.
pub const VERIFIER: &str = "orders gate/file";

/// A world in which erin has a client certificate and the audience a verifier.
pub struct Place {
    pub world: World,
}

impl Place {
    pub fn new() -> Self {
        Self::with(|document| document)
    }

    /// The same under a charter that differs.
    pub fn with(change: impl FnOnce(Value) -> Value) -> Self {
        let (pem, digest) = certificate("erin's client", "erin");
        let world = World::with(|mut document| {
            for person in document["persons"].as_array_mut().unwrap() {
                if person["id"] == "erin" {
                    person["certificates"] = json!([digest]);
                }
            }
            document["verifiers"] =
                json!([{"id": "orders", "aud": kit::AUD, "keys": [kit::key(VERIFIER).jwk()]}]);
            change(document)
        });
        let place = Self { world };
        place.write_pair("erin", &pem, "erin's client");
        let (pem, _) = certificate("mallory's client", "mallory");
        place.write_pair("mallory", &pem, "mallory's client");
        let (pem, _) = certificate(VERIFIER, "orders gate");
        place.write_pair("gate", &pem, VERIFIER);
        place
    }

    pub fn write_pair(&self, name: &str, certificate: &str, key: &str) {
        let pem = secret(key).to_pkcs8_pem(LineEnding::LF).unwrap();
        let path = self.path(&format!("{name}.key.pem"));
        fs::write(&path, pem.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(self.path(&format!("{name}.cert.pem")), certificate).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What a token for erin's certificate is bound to.
    pub fn certificate(&self) -> Digest {
        Digest::of(&CertificateDer::from_pem_slice(self.text("erin.cert.pem").as_bytes()).unwrap())
    }

    /// A token that is bound to erin's certificate, and lives long.
    pub fn bearer(&self, client: &Client) -> String {
        let cnf = json!({"cnf": {"x5t#S256": self.certificate()}, "ttl": 600});
        self.world.wish(cnf).grant_all(client).unwrap()
    }

    /// A token that is bound to the kit's key of this name.
    pub fn dpop(&self, client: &Client, key: &str) -> String {
        let cnf = json!({"cnf": {"jkt": kit::key(key).kid()}, "ttl": 600});
        self.world.wish(cnf).grant_all(client).unwrap()
    }

    /// A token with these changes of what erin usually asks for.
    pub fn granted(&self, client: &Client, changes: Value) -> String {
        self.world.wish(changes).grant_all(client).unwrap()
    }

    /// Starts a gate with this change of its configuration, and waits until it answers; not until it accepts.
    pub fn gate(&self, change: impl Fn(String) -> String) -> Gate {
        self.started(change, &[])
    }

    /// The same with more environment.
    pub fn gate_with(&self, env: &[(&str, &str)]) -> Gate {
        self.started(|config| config, env)
    }

    fn started(&self, change: impl Fn(String) -> String, env: &[(&str, &str)]) -> Gate {
        static GATES: AtomicUsize = AtomicUsize::new(0);
        for _ in 0..5 {
            let name = format!("gate-{}", GATES.fetch_add(1, Ordering::Relaxed));
            let (auth, control) = (free_port(), free_port());
            let text = change(self.configuration(&name, auth, control));
            let path = self.path(&format!("{name}.toml"));
            fs::write(&path, text).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass-gate"));
            command.arg("--config").arg(&path).env("RUST_LOG", "breakglass=debug,info");
            command.envs(env.iter().copied());
            let mut process = Process::spawn(&name, self.world.dir.path(), &mut command);
            let up = wait_for("the gate to answer or to end", DEADLINE, || {
                if process.exited().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", control)).is_ok().then_some(true)
            });
            if up {
                return Gate { process, auth, control };
            }
            // Between finding a port free and using it, another process took it.
            let log = process.log();
            assert!(log.contains("cannot be listened on"), "the gate did not start:\n{log}");
        }
        panic!("no port stayed free five times");
    }

    /// What a gate of this name is told.
    pub fn configuration(&self, name: &str, auth: u16, control: u16) -> String {
        let genesis = self.world.charter.digest();
        format!(
            r#"
name = "{name}"
audience = "{aud}"
genesis = "{genesis}"
charter = "charter.json"
state_dir = "gate-state"
development = true
key = "gate.key.pem"
certificate = "gate.cert.pem"
max_stale = 10
listen = "127.0.0.1:{auth}"
control = "127.0.0.1:{control}"

[[daemons]]
address = "https://127.0.0.1:{grpc}"

[proxy]
kind = "nginx"
certificate = {{ header = "X-Client-Cert", format = "pem" }}

[[map]]
methods = ["GET", "HEAD"]
path = "/orders/{{table}}"
type = "database"
action = "read"
resource = "pg/prod/{{table}}"
"#,
            aud = kit::AUD,
            grpc = self.world.ports().grpc,
        )
    }

    /// Carol kills.
    pub fn kill(
        &self,
        client: &Client,
        level: &str,
        target: Option<&str>,
    ) -> Result<v1::KillResponse, ClientError> {
        static KILLS: AtomicUsize = AtomicUsize::new(0);
        let nonce = kit::nonce(&format!("kill {}", KILLS.fetch_add(1, Ordering::Relaxed)));
        let charter = &self.world.charter;
        let mut payload = json!({"iss": charter.document().iss, "charter": charter.digest(), "id": nonce,
            "level": level, "reason": "Seen where it should not be"});
        if let Some(target) = target {
            payload["target"] = json!(target);
        }
        let jws = kit::key("carol/1").jws(Typ::Kill, &canonical(&payload), now());
        let message = v1::KillRequest { jws: jws.to_json() };
        Ok(wait(client.channel().kill().kill(message))?.into_inner())
    }
}

/// A self-signed certificate of the kit's key, and what it is known by.
pub fn certificate(key: &str, name: &str) -> (String, Digest) {
    let pem = cert::self_signed(&secret(key), name, &[]).unwrap();
    let digest = Digest::of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    (pem, digest)
}

/// A running `breakglass-gate`.
pub struct Gate {
    pub process: Process,
    pub auth: u16,
    pub control: u16,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By name in small letters; several values are joined by commas.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn reason(&self) -> &str {
        self.header("x-breakglass-reason")
    }
}

impl Gate {
    /// Waits until it has heard a daemon.
    pub fn ready(&self) {
        wait_for("the gate to be ready", DEADLINE, || (self.look("/readyz").status == 200).then_some(()));
    }

    /// Asks as a proxy does.
    pub fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        get(self.auth, "/auth", headers).unwrap()
    }

    /// Asks whether a token may read orders, shown by whoever has the certificate.
    pub fn ask_bearer(&self, token: &str, certificate: &str) -> Answer {
        self.ask(&[
            ("X-Original-Method", "GET"),
            ("X-Original-URI", "/orders/orders"),
            ("Authorization", &format!("Bearer {token}")),
            ("X-Client-Cert", &escaped(certificate)),
        ])
    }

    pub fn look(&self, path: &str) -> Answer {
        get(self.control, path, &[]).unwrap()
    }

    /// A whole number of its metrics; 0 where there is no such series yet.
    pub fn metric(&self, series: &str) -> i64 {
        let text = self.look("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().unwrap())
    }
}

/// As nginx's `$ssl_client_escaped_cert`.
pub fn escaped(pem: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    pem.bytes().map(escape).collect::<Vec<_>>().concat()
}

/// `GET` over plain HTTP; an error if the connection ends without an answer.
pub fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.extend([*name, ": ", *value, "\r\n"]);
    }
    stream.write_all(format!("{request}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(answer(&String::from_utf8_lossy(&bytes)))
}

/// Reads an HTTP answer.
pub fn answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let values = headers.entry(name.to_ascii_lowercase()).or_default();
        if !values.is_empty() {
            values.push_str(", ");
        }
        values.push_str(value);
    }
    Answer { status, headers, body: body.to_owned() }
}
