//! The whole API over a real engine: `SoftHSM`, SQLite, a charter, and people whose keys the test holds.
//!
//! Custodians' keys are in the test's memory instead of in YubiKeys: what a custodian's device does is another
//! boundary's matter, here it is the bytes that arrive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use breakglass::client::{Channel, ClientError, Dial};
use breakglass::domain::charter::Charter;
use breakglass::domain::time::Timestamp;
use breakglass::engine::{self, Clock, Keys, Options, Running, SystemClock};
use breakglass::grpc::api;
use breakglass::grpc::tls::Identity;
use breakglass::grpc::v1;
use breakglass::hsm::{
    FileLogKey, KeyName, LogSigner as _, Pkcs11Module, Pkcs11Token, SigningDevice, TokenOptions,
    TokenSelector, UserPin, initialise_token,
};
use breakglass::jose::{
    Digest, GeneralJws, IssuingPublicKey, P256PublicKey, ProtectedHeader, Signature, TokenAlg, Typ, b64, json,
};
use breakglass::store::{SqliteStore, StoreOptions};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};
use testkit::{SOFTHSM_MODULE, SoftHsm, in_child};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{key, within};

/// Custodians: two of three approve.
pub const CUSTODIANS: [&str; 3] = ["alice", "bob", "carol"];
/// How long the client `temp` is in term.
pub const TEMP_SECONDS: i64 = 120;
/// The log's name.
pub const ORIGIN: &str = "test.example/log";

/// Runs a test in a process with its own `SoftHSM`, on two threads like the daemon.
pub fn with_world<F: Future<Output = ()>>(test: &str, body: impl FnOnce(World) -> F) {
    with_world_as(test, api::Options::default(), body);
}

/// As [`with_world`], over another issuing device than the token alone.
pub fn with_device<F: Future<Output = ()>>(
    test: &str,
    device: impl FnOnce(Arc<dyn SigningDevice>) -> Arc<dyn SigningDevice>,
    body: impl FnOnce(World) -> F,
) {
    run(test, api::Options::default(), device, body);
}

/// As [`with_world`], with options.
pub fn with_world_as<F: Future<Output = ()>>(
    test: &str,
    options: api::Options,
    body: impl FnOnce(World) -> F,
) {
    run(test, options, |token| token, body);
}

fn run<F: Future<Output = ()>>(
    test: &str,
    options: api::Options,
    device: impl FnOnce(Arc<dyn SigningDevice>) -> Arc<dyn SigningDevice>,
    body: impl FnOnce(World) -> F,
) {
    let setup = || {
        let softhsm = SoftHsm::new();
        let env = vec![softhsm.env()];
        (softhsm, env)
    };
    in_child(test, setup, || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { body(World::start(options, device).await).await });
    });
}

/// The machine's clocks, which a test can set forward; not by ten minutes, which the engine takes for a fault.
#[derive(Default)]
pub struct TestClock {
    machine: SystemClock,
    ahead_millis: AtomicI64,
    passed_millis: AtomicI64,
}

impl TestClock {
    pub fn advance(&self, seconds: i64) {
        self.ahead_millis.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// As if so many seconds had really passed, which is no fault of the clock.
    pub fn pass(&self, seconds: i64) {
        self.passed_millis.fetch_add(seconds * 1000, Ordering::Relaxed);
        self.advance(seconds);
    }
}

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        let ahead = self.ahead_millis.load(Ordering::Relaxed);
        Timestamp::from_millis(self.machine.wall().millis() + ahead)
    }

    fn monotonic(&self) -> i64 {
        self.machine.monotonic() + self.passed_millis.load(Ordering::Relaxed)
    }
}

pub struct World {
    pub clock: Arc<TestClock>,
    pub folder: tempfile::TempDir,
    pub address: String,
    pub server: Arc<Identity>,
    pub server_pem: String,
    pub charter: Charter,
    /// By name: custodians' device keys (`alice`), and file keys of all (`alice.tls`, `dave.tls`, …).
    pub keys: BTreeMap<String, p256::SecretKey>,
    pub running: Running,
    pub store: Arc<SqliteStore>,
    pub stop: watch::Sender<bool>,
    api: JoinHandle<Result<(), breakglass::grpc::server::ServerError>>,
}

impl World {
    async fn start(
        options: api::Options,
        device: impl FnOnce(Arc<dyn SigningDevice>) -> Arc<dyn SigningDevice>,
    ) -> Self {
        let folder = testkit::temp_dir();
        let mut rng = UnwrapErr(SysRng);
        let token = issuing_token(&mut rng);
        let name = KeyName::new("issuing-1").unwrap();
        let issuing = token.generate_issuing(TokenAlg::Es256, &name, &mut rng).unwrap().public_key;
        let log = FileLogKey::create(&folder.path().join("log.key"), &mut rng).unwrap();

        let mut keys: BTreeMap<String, p256::SecretKey> =
            CUSTODIANS.iter().map(|name| ((*name).to_owned(), key())).collect();
        for name in ["alice", "bob", "carol", "dave", "eve", "tool", "temp", "vault"] {
            keys.insert(format!("{name}.tls"), key());
        }
        let (server_pem, server_key) = pems(&key(), "breakglassd");
        let server = Arc::new(Identity::from_pem(server_pem.as_bytes(), server_key.as_bytes()).unwrap());
        let charter = charter(&keys, &issuing, &json!(log.public_key()), server.spki());

        let path = folder.path().join("log.sqlite");
        let store = SqliteStore::create(&path, StoreOptions::default()).await.unwrap();
        let instance = "d1.init".parse().unwrap();
        engine::initialise(&store, &SystemClock::default(), instance, charter.clone(), Vec::new())
            .await
            .unwrap();
        let store = Arc::new(store);
        let keys_of_daemon = Keys { issuing: device(token), log: Arc::new(log), operational: None };
        let how = Options { device_patience: Duration::from_secs(1), ..Options::new("d1", 10_000) };
        let clock = Arc::new(TestClock::default());
        let running = Running::start(Arc::clone(&store), keys_of_daemon, clock.clone(), &how).await.unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let stop = watch::Sender::new(false);
        let api = {
            let (engine, server, stopped) = (running.engine.clone(), Arc::clone(&server), stop.subscribe());
            tokio::spawn(async move { api::serve(engine, listener, &server, options, stopped).await })
        };
        Self { clock, folder, address, server, server_pem, charter, keys, running, store, stop, api }
    }

    /// A connection with the file key of `name`; `stranger` has one that nobody knows.
    pub async fn connect(&self, name: &str) -> Channel {
        let key = self.keys.get(&format!("{name}.tls")).cloned().unwrap_or_else(key);
        let identity = Identity::from_key(&key, name, &[]).unwrap();
        let dial = Dial::new(self.address.clone(), vec![self.server.spki()], Some(identity));
        Channel::connect(dial).await.unwrap()
    }

    /// Stops the API; the engine goes on.
    pub async fn stop_api(&mut self) {
        self.stop.send_replace(true);
        within(&mut self.api).await.unwrap().unwrap();
    }

    /// All entries of the log, as JSON.
    pub async fn entries(&self) -> Vec<Value> {
        let mut batches = self.store.read(0..self.store.size());
        let mut entries = Vec::new();
        while let Some(batch) = batches.next().await.unwrap() {
            entries.extend(batch.iter().map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap()));
        }
        entries
    }

    /// What a grant of `sub`, filed with the file key of `who`, holds; tests change what they test.
    pub fn grant(&self, who: &str, sub: &str, redeem: &p256::SecretKey) -> Value {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).unwrap();
        let now = now();
        json!({
            "iss": "https://issuer.example", "charter": self.charter.digest(), "profile": "db", "nonce": b64::encode(&nonce),
            "sub": sub, "client_id": who, "requester_key": public(&self.keys[&format!("{who}.tls")]).thumbprint(),
            "aud": "https://db.example",
            "authorization_details": [{"type": "database", "actions": ["read"], "locations": ["pg/prod"]}],
            "reason": "failover ist stuck – 2 rows", "incident": "INC-7", "ttl": 600,
            "cnf": {"jkt": public(&key()).thumbprint()}, "redeem_key": public(redeem),
            "requested_at": now, "expires_at": now + 600, "drill": false,
        })
    }

    /// A request as `who` signs it; the id, and the bytes to file.
    pub fn request(&self, who: &str, grant: &Value) -> (String, Vec<u8>) {
        let payload = json::canonical(grant).unwrap();
        let id = Digest::of(&payload).to_string();
        let iat = grant["requested_at"].as_i64().unwrap();
        (id, jws(payload, &[(&self.keys[&format!("{who}.tls")], Typ::Request, iat)]))
    }

    /// Files a plain request of `who` for himself.
    pub async fn file(&self, who: &str) -> (String, Vec<u8>, p256::SecretKey) {
        let redeem = key();
        let grant = self.grant(who, who, &redeem);
        let (id, bytes) = self.request(who, &grant);
        let message = v1::FileRequestRequest { jws: bytes.clone() };
        let filed = self.connect(who).await.access().file_request(message).await.unwrap().into_inner();
        assert_eq!(filed.request.unwrap().request_id, id);
        (id, json::canonical(&grant).unwrap(), redeem)
    }

    /// What `who` says of his own request.
    pub fn about(&self, who: &str, id: &str, typ: Typ) -> Vec<u8> {
        self.about_at(who, id, typ, now())
    }

    /// As [`Self::about`], signed at a time of the test's choice.
    pub fn about_at(&self, who: &str, id: &str, typ: Typ, at: i64) -> Vec<u8> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).unwrap();
        let about = json!({
            "iss": "https://issuer.example", "charter": self.charter.digest(), "request_id": id,
            "nonce": b64::encode(&nonce),
        });
        jws(json::canonical(&about).unwrap(), &[(&self.keys[&format!("{who}.tls")], typ, at)])
    }

    /// Custodians' signatures over a grant.
    pub fn verdicts(&self, grant: &[u8], typ: Typ, custodians: &[&str]) -> Vec<u8> {
        let signers: Vec<_> = custodians.iter().map(|name| (&self.keys[*name], typ, now())).collect();
        jws(grant.to_vec(), &signers)
    }

    /// Sends custodians' signatures.
    pub async fn submit(&self, id: &str, jws: Vec<u8>) -> Result<v1::Request, ClientError> {
        let message = v1::SubmitSignatureRequest { request_id: id.to_owned(), jws };
        let answer = self.connect("carol").await.access().submit_signature(message).await?;
        Ok(answer.into_inner().request.unwrap())
    }
}

/// A self-signed certificate and the key, as files hold them.
pub fn pems(key: &p256::SecretKey, name: &str) -> (String, String) {
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
    let certificate = breakglass::grpc::cert::self_signed(key, name, &[]).unwrap();
    (certificate, key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string())
}

/// A statement with signatures.
pub fn jws(payload: Vec<u8>, signers: &[(&p256::SecretKey, Typ, i64)]) -> Vec<u8> {
    let sign = |(key, typ, iat): &(&p256::SecretKey, Typ, i64)| {
        let header = ProtectedHeader { kid: public(key).thumbprint(), typ: *typ, iat: *iat, station: None };
        let protected = header.encode().unwrap();
        let input = Signature::signing_input(&protected, &payload);
        let signature: p256::ecdsa::Signature = SigningKey::from(*key).sign(&input);
        Signature::new(protected, signature.to_bytes().into()).unwrap()
    };
    let signatures = signers.iter().map(sign).collect();
    GeneralJws { payload, signatures }.to_json()
}

pub fn public(key: &p256::SecretKey) -> P256PublicKey {
    P256PublicKey::try_from(&key.public_key()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the clients of a test have a clock")]
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_secs()).unwrap()
}

fn issuing_token(rng: &mut UnwrapErr<SysRng>) -> Arc<Pkcs11Token> {
    let module = Pkcs11Module::open(Path::new(SOFTHSM_MODULE)).unwrap();
    let pin = UserPin::random(rng);
    initialise_token(&module, "issuing", &pin, rng).unwrap();
    let selector = TokenSelector::new("issuing", None).unwrap();
    Pkcs11Token::open(&module, selector, pin, TokenOptions::default()).unwrap()
}

fn charter(
    keys: &BTreeMap<String, p256::SecretKey>,
    issuing: &IssuingPublicKey,
    log: &Value,
    daemon: Digest,
) -> Charter {
    let tls = |name: &str| public(&keys[&format!("{name}.tls")]);
    let mut persons: Vec<Value> = CUSTODIANS
        .iter()
        .zip(1_u32..)
        .map(|(name, serial)| {
            let device = json!({"kind": "piv", "key": public(&keys[*name]), "serial": serial, "firmware": "5.7.4"});
            json!({"id": name, "name": name, "roles": ["custodian"], "devices": [device], "keys": [tls(name)]})
        })
        .collect();
    persons.push(
        json!({"id": "dave", "name": "Dave", "roles": ["auditor", "requester"], "keys": [tls("dave")]}),
    );
    persons.push(json!({"id": "eve", "name": "Eve", "roles": ["requester"], "keys": [tls("eve")]}));
    let quorum = json!({"threshold": 2, "of": CUSTODIANS});
    let now = now();
    let document = json!({
        "version": 1, "nonce": b64::encode(&[7; 16]), "iss": "https://issuer.example", "development": true,
        "issued_at": now - 10, "expires_at": now + 86_400,
        "persons": persons,
        "clients": [{
            "id": "temp", "owners": ["eve"], "roles": ["auditor"], "term": {"until": now + TEMP_SECONDS},
            "keys": [tls("temp")],
        }, {"id": "tool", "owners": ["eve"], "roles": ["requester"], "subjects": ["eve"], "keys": [tls("tool")]}],
        "profiles": [{
            "id": "db", "description": "the database", "quorum": quorum, "aud": "https://db.example",
            "authorization_details": [{"type": "database", "actions": ["read"], "locations": ["pg/*"]}],
            "max_ttl": 900, "approval_window": 3600, "requester_key": "file",
        }],
        "verifiers": [{"id": "vault", "aud": "https://db.example", "keys": [tls("vault")]}],
        "governance": quorum,
        "issuing_keys": [{"key": issuing, "profiles": ["db"], "state": "active"}],
        "log_keys": [{"origin": ORIGIN, "key": log}],
        "daemons": [{"id": "d1", "spki": daemon}],
        "attestation": {},
    });
    let payload = json::canonical(&document).unwrap();
    let digest = Digest::of(&payload);
    let signers: Vec<_> = CUSTODIANS.iter().map(|name| (&keys[*name], Typ::Charter, now)).collect();
    let statement = GeneralJws::parse(&jws(payload, &signers), 60_000).unwrap();
    Charter::genesis(statement, digest).unwrap()
}
