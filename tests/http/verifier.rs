//! Verifiers of several kinds, each on a port of its own: one that caches JWKS as most do, and some that do worse.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use breakglass::{
    domain::charter::IssuingKey,
    jose::{CompactJwt, Digest},
};
use serde_json::{Value, json};

use crate::client::{DEADLINE, get};

/// What it does with a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keeps the keys it has fetched, and fetches them anew when it sees one that it does not know, if it can.
    Caching(SocketAddr),
    /// The same, but fetches them once only.
    Stubborn(SocketAddr),
    /// Answers this to everything.
    Fixed(u16),
    /// Never answers.
    Silent,
}

pub struct Verifier {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    kind: Mutex<Kind>,
    keys: Mutex<Vec<Value>>,
    /// Key ids of the tokens that it was shown, and its answers.
    seen: Mutex<Vec<(Digest, u16)>>,
    /// What its revocation hook was told.
    told: Mutex<Vec<Value>>,
}

impl Verifier {
    pub fn new(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/login", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            kind: Mutex::new(kind),
            keys: Mutex::default(),
            seen: Mutex::default(),
            told: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(&peer));
            }
        });
        Self { url, shared }
    }

    pub fn become_kind(&self, kind: Kind) {
        *self.shared.kind.lock().unwrap() = kind;
    }

    /// What its revocation hook was told.
    pub fn told(&self) -> Vec<Value> {
        self.shared.told.lock().unwrap().clone()
    }

    pub fn seen(&self) -> Vec<(Digest, u16)> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, peer: &TcpStream) {
        let mut peer = BufReader::new(peer);
        while let Some(shown) = read(&mut peer) {
            let kind = *self.kind.lock().unwrap();
            let jwt = match shown {
                Shown::Token(jwt) => jwt,
                Shown::Kill(told) => {
                    let status = if let Kind::Fixed(status) = kind { status } else { 204 };
                    self.told.lock().unwrap().push(told);
                    let mut out: &TcpStream = peer.get_ref();
                    write!(out, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").unwrap();
                    continue;
                }
            };
            let status = match kind {
                Kind::Fixed(status) => status,
                Kind::Silent => {
                    peer.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
                    let _until_it_gives_up = peer.read(&mut [0; 1]);
                    return;
                }
                Kind::Caching(daemon) | Kind::Stubborn(daemon) => {
                    let stubborn = matches!(kind, Kind::Stubborn(_));
                    if self.judge(&jwt, daemon, stubborn) { 200 } else { 401 }
                }
            };
            self.seen.lock().unwrap().push((kid(&jwt), status));
            let more = if status == 302 { "location: http://127.0.0.1:1/\r\n" } else { "" };
            let mut out: &TcpStream = peer.get_ref();
            write!(out, "HTTP/1.1 {status} X\r\n{more}content-length: 0\r\n\r\n").unwrap();
        }
    }

    fn judge(&self, jwt: &str, daemon: SocketAddr, stubborn: bool) -> bool {
        let mut keys = self.keys.lock().unwrap();
        let knows = |keys: &[Value]| keys.iter().any(|key| key["kid"] == json!(kid(jwt)));
        if !knows(&keys) && (keys.is_empty() || !stubborn) {
            keys.clone_from(get(daemon, "/jwks.json").json()["keys"].as_array().unwrap());
        }
        let token = CompactJwt::parse(jwt, 8_000).unwrap();
        keys.iter().any(|key| {
            let jwk = json!({"kty": key["kty"], "crv": key["crv"], "x": key["x"], "y": key["y"]});
            let key = json!({"key": jwk, "profiles": [], "state": "active"});
            let key: IssuingKey = serde_json::from_value(key).unwrap();
            token.verify(&key.key).is_ok()
        })
    }
}

fn kid(jwt: &str) -> Digest {
    *CompactJwt::parse(jwt, 8_000).unwrap().kid()
}

/// What it is sent.
enum Shown {
    Token(String),
    /// To its revocation hook.
    Kill(Value),
}

/// The next request: a token in its body, a bearer token, or a kill.
fn read(peer: &mut BufReader<&TcpStream>) -> Option<Shown> {
    let (mut length, mut bearer) = (0, None);
    loop {
        let mut line = String::new();
        if peer.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => bearer = value.strip_prefix("Bearer ").map(str::to_owned),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    peer.read_exact(&mut body).ok()?;
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    match body {
        Some(body) if body["kill"].is_object() => Some(Shown::Kill(body)),
        Some(body) => Some(Shown::Token(body["jwt"].as_str().unwrap().to_owned())),
        None => bearer.map(Shown::Token),
    }
}
