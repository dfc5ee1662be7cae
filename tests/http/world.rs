//! A whole daemon but for gRPC: a log on disk, an engine with software keys, and the HTTP server on a free port.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use breakglass::{
    domain::{Command, charter::Charter, event::Actor, id::RequestId, replay::Replay, request::Life},
    engine::{self, CanaryKey, Decided, Engine, EngineError, Keys, Options, Running, SystemClock},
    hsm::{FileLogKey, LogSigner as _},
    http::{self, Settings},
    jose::{Digest, GeneralJws, Typ, jwe},
    store::{SqliteStore, StoreOptions},
    telemetry::Metrics,
};
use getrandom::{SysRng, rand_core::UnwrapErr};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle};

use crate::{
    client::DEADLINE,
    device::{Soft, secret},
    kit::{self, key},
};

pub struct World {
    pub address: SocketAddr,
    pub issuer: String,
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    /// Set it, and the issuing device signs nothing.
    pub hsm_broken: Arc<AtomicBool>,
    /// The same of the operational device, and how often it has signed.
    pub ops_broken: Arc<AtomicBool>,
    pub ops_signed: Arc<AtomicUsize>,
    pub runtime: Runtime,
    serving: Option<(oneshot::Sender<()>, JoinHandle<std::io::Result<()>>)>,
    running: Running,
    directory: tempfile::TempDir,
}

/// Examines devices often, so that tests need not wait long.
pub fn settings() -> Settings {
    let often = Duration::from_millis(20);
    Settings { canary_every: often, checkpoint_every: often, ..Settings::default() }
}

impl World {
    pub fn new() -> Self {
        Self::with("", settings(), |document| document)
    }

    /// `path` follows the issuer's authority; `change` may alter the charter.
    pub fn with(path: &str, settings: Settings, change: impl FnOnce(Value) -> Value) -> Self {
        Self::built(path, settings, None, change)
    }

    /// One that makes canaries, and shows them to verifiers.
    pub fn asking(change: impl FnOnce(Value) -> Value) -> Self {
        Self::built("", settings(), Some(CanaryKey::new(secret("canary"))), change)
    }

    fn built(
        path: &str,
        settings: Settings,
        canary_key: Option<CanaryKey>,
        change: impl FnOnce(Value) -> Value,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directory = testkit::temp_dir();
        let log_key = FileLogKey::create(&directory.path().join("log.key"), &mut UnwrapErr(SysRng)).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}{path}");
        let device = Soft::new(&["hsm/1", "hsm/old", "hsm/bad"]);
        let hsm_broken = Arc::clone(&device.broken);
        let ops = Soft::new(&["ops/1"]);
        let (ops_broken, ops_signed) = (Arc::clone(&ops.broken), Arc::clone(&ops.signed));
        let log = json!([{"origin": kit::ORIGIN, "key": log_key.public_key()}]);
        let charter = charter(change(kit::patch(kit::document(), json!({"iss": issuer, "log_keys": log}))));
        let keys =
            Keys { issuing: Arc::new(device), log: Arc::new(log_key), operational: Some(Arc::new(ops)) };
        let running =
            runtime.block_on(start(&directory.path().join("log.sqlite"), charter, keys, canary_key));
        let (engine, metrics) = (running.engine.clone(), Arc::new(Metrics::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let serving = http::serve_with(listener, engine.clone(), Arc::clone(&metrics), settings, stopped);
        let serving = Some((stop, runtime.spawn(serving)));
        Self {
            address,
            issuer,
            engine,
            metrics,
            hsm_broken,
            ops_broken,
            ops_signed,
            runtime,
            serving,
            running,
            directory,
        }
    }

    /// The same engine over the same log, in another process as it were, and no server.
    pub fn restarted(mut self) -> Self {
        self.stop();
        let Self { address, issuer, engine, metrics, hsm_broken, ops_broken, ops_signed, runtime, .. } = self;
        let (directory, running) = (self.directory, self.running);
        let (keys, mut store) = (engine.keys().clone(), Arc::clone(engine.store()));
        drop(engine);
        let running = runtime.block_on(async {
            running.stop().await;
            let closed = async {
                loop {
                    match Arc::try_unwrap(store) {
                        Ok(store) => break store.close().await,
                        // A task that was told to end still has it.
                        Err(held) => store = held,
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, closed).await.unwrap();
            let path = directory.path().join("log.sqlite");
            let store = SqliteStore::open(&path, StoreOptions::default()).await.unwrap();
            let canary_key = Some(CanaryKey::new(secret("canary")));
            let options = Options { canary_key, ..Options::new("d1", 1000) };
            let clock = Arc::new(SystemClock::default());
            Running::start(Arc::new(store), keys, clock, &options).await.unwrap()
        });
        let engine = running.engine.clone();
        Self {
            address,
            issuer,
            engine,
            metrics,
            hsm_broken,
            ops_broken,
            ops_signed,
            runtime,
            serving: None,
            running,
            directory,
        }
    }

    /// The database of the log.
    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("log.sqlite")
    }

    /// Makes the log longer by one entry.
    pub fn grow(&self) {
        self.try_grow().unwrap();
    }

    pub fn try_grow(&self) -> Result<Decided, EngineError> {
        let actor = Actor::Daemon { instance: self.engine.instance().clone() };
        let start = Command::Start { version: "test".into() };
        self.runtime.block_on(self.engine.submit(actor, start))
    }

    /// Stops the HTTP server and waits until it has ended.
    pub fn stop(&mut self) {
        let (stop, serving) = self.serving.take().unwrap();
        stop.send(()).unwrap();
        let ended = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, serving).await });
        ended.unwrap().unwrap().unwrap();
    }

    /// The log.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.runtime.block_on(async {
            let store = self.engine.store();
            let mut batches = store.read(0..store.size());
            let mut entries = Vec::new();
            while let Some(batch) = batches.next().await.unwrap() {
                entries.extend(batch);
            }
            entries
        })
    }

    /// Replays a log; the index of the first entry that is wrong.
    pub fn replay(&self, entries: &[Vec<u8>]) -> Result<(), usize> {
        let genesis = self.engine.read(|state| state.versions()[0].digest);
        let mut replay = Replay::new(genesis);
        entries.iter().enumerate().try_for_each(|(at, bytes)| replay.next(bytes).map(drop).map_err(|_| at))
    }

    /// The log, which an auditor finds right.
    pub fn audited(&self) -> Vec<Vec<u8>> {
        let entries = self.entries();
        self.replay(&entries).unwrap();
        entries
    }

    /// Files a request.
    pub fn file(&self, name: &str) -> RequestId {
        let now = self.engine.now().seconds();
        let charter = self.engine.charter().unwrap();
        let times = json!({"requested_at": now, "expires_at": now + 600, "ttl": 600});
        let payload = kit::bytes(&kit::patch(kit::grant_named(&charter, name), times));
        let request = key("erin/file").jws(Typ::Request, &payload, now).to_json();
        let filed = self.engine.file(Actor::Peer { key: None }, &request);
        self.runtime.block_on(filed).unwrap().0
    }

    /// Files a request and has it approved by alice and bob.
    pub fn authorize(&self, name: &str) -> RequestId {
        let now = self.engine.now().seconds();
        let charter = self.engine.charter().unwrap();
        let times = json!({"requested_at": now, "expires_at": now + 600, "ttl": 600});
        let payload = kit::bytes(&kit::patch(kit::grant_named(&charter, name), times));
        let request = key("erin/file").jws(Typ::Request, &payload, now);
        let verdicts =
            ["alice/1", "bob/1"].map(|device| key(device).state(Typ::Approval, &payload, now)).to_vec();
        let verdicts = GeneralJws { payload, signatures: verdicts };
        let actor = || Actor::Peer { key: None };
        self.runtime.block_on(async {
            let (id, _) = self.engine.file(actor(), &request.to_json()).await.unwrap();
            self.engine.judge(actor(), id, &verdicts.to_json()).await.unwrap();
            id
        })
    }

    /// Kills under alice's key; the id of the kill, and the epoch that it began.
    pub fn kill(&self, level: &str, target: Option<&str>) -> (String, u64) {
        let id = kit::nonce(&format!("kill {level} {target:?}"));
        let charter = self.engine.charter().unwrap();
        let kill = json!({"iss": self.issuer, "charter": charter.digest(), "id": id, "level": level,
            "reason": "Seen where it should not be"});
        let kill =
            target.map_or_else(|| kill.clone(), |name| kit::patch(kill.clone(), json!({"target": name})));
        let jws = key("alice/1").jws(Typ::Kill, &kit::bytes(&kill), self.engine.now().seconds());
        let jws = jws.to_json();
        let killed = self.engine.kill(Actor::Peer { key: None }, &jws);
        (id, self.runtime.block_on(killed).unwrap().epoch)
    }

    /// Lifts it with a quorum.
    pub fn lift(&self, (id, epoch): &(String, u64)) {
        let charter = self.engine.charter().unwrap();
        let lift = json!({"iss": self.issuer, "charter": charter.digest(), "kills": [id], "epoch": epoch});
        let (payload, now) = (kit::bytes(&lift), self.engine.now().seconds());
        let signatures = ["alice/1", "bob/1"].map(|by| key(by).state(Typ::Lift, &payload, now)).to_vec();
        let jws = GeneralJws { payload, signatures };
        self.runtime.block_on(self.engine.lift(Actor::Peer { key: None }, &jws.to_json())).unwrap();
    }

    /// The whole way of a token; the compact JWT.
    pub fn token(&self, name: &str) -> String {
        let id = self.authorize(name);
        self.runtime.block_on(async {
            let mut changes = self.engine.changes();
            let issued = async {
                while self.engine.state_of(&id) != "issued" {
                    changes.recv().await.unwrap();
                }
            };
            tokio::time::timeout(DEADLINE, issued).await.unwrap();
        });
        let jwe = self.engine.read(|state| match state.request(&id).unwrap().life() {
            Life::Issued { jwe, .. } => jwe.clone(),
            other => panic!("{other:?}"),
        });
        let jwt = jwe::decrypt(&jwe, &secret(&format!("{name}/redeem"))).unwrap();
        String::from_utf8(jwt.to_vec()).unwrap()
    }
}

/// The kit lives at a moment of its own; verifiers of others, and so the charter here, live now.
fn charter(document: Value) -> Charter {
    let now = engine::Clock::wall(&SystemClock::default()).seconds();
    // How long ago, in seconds, where a test has a reason to say so.
    let age = document["issued_at"].as_i64().filter(|age| *age < 0).unwrap_or(-3600);
    let mut document = kit::patch(document, json!({"issued_at": now + age, "expires_at": now + 80 * 86_400}));
    for person in document["persons"].as_array_mut().unwrap() {
        if person["term"]["until"].is_number() {
            person["term"]["until"] = json!(now + 1000);
        }
    }
    let payload = kit::payload(&document);
    let statement = kit::signed_at(&payload, &kit::DEVICES, now + age);
    Charter::genesis(statement, Digest::of(&payload)).unwrap()
}

async fn start(
    path: &std::path::Path,
    charter: Charter,
    keys: Keys,
    canary_key: Option<CanaryKey>,
) -> Running {
    let store = SqliteStore::create(path, StoreOptions::default()).await.unwrap();
    let clock = SystemClock::default();
    let instance = "d1.init".parse().unwrap();
    engine::initialise(&store, &clock, instance, charter, Vec::new()).await.unwrap();
    let options = Options { canary_key, probe_deadline: Duration::from_secs(1), ..Options::new("d1", 1000) };
    let running = Running::start(Arc::new(store), keys, Arc::new(clock), &options).await.unwrap();
    // Keys of the past are recorded as gone first: from here on the log grows only by what a test does.
    while !running.engine.keys_to_destroy().is_empty() {
        tokio::task::yield_now().await;
    }
    running
}

/// The kid of the kit's key of this name.
pub fn kid(name: &str) -> Digest {
    key(name).kid()
}
