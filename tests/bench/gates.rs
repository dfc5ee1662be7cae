//! From a kill to its refusal at every connected gate, and what a connected gate costs the daemon.
//!
//! The gates are connections of their own in a process of their own, each with its own view of what was killed: it verifies the
//! custodian's signature of every kill itself. What they do not do is to answer requests.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use breakglass::{
    client::{Channel, Dial},
    domain::{
        charter::Charter,
        id::RequestId,
        kill::{Kills, Target},
        statement::MAX_STATEMENT_BYTES,
        time::Timestamp,
    },
    grpc::{tls::Identity, v1, v1::watch_kills_response::Event},
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    client::secret,
    kit,
    people::{Carriers, People, Signer},
    stats::{Samples, memory, round},
    world::{World, canonical},
};

/// The argument with which this program becomes the child.
pub const CHILD: &str = "be-the-gates";
/// The key that all of these gates share, and the name of their verifier.
const KEY: &str = "gates/key";
const VERIFIER: &str = "gates";
/// Handshakes at a time.
const HANDSHAKES: usize = 32;
/// Whole flows while all gates are connected.
const FLOWS: usize = 50;

/// What was measured with so many gates.
#[derive(Debug)]
pub struct Gates {
    pub count: usize,
    /// From the call of the kill to its refusal, at each gate, for each kill.
    pub refused: Samples,
    /// The same for the last gate of each kill.
    pub last: Samples,
    /// KiB of the daemon's memory (PSS) for each connected gate.
    pub kib_each: f64,
    /// Last approval sent to encrypted token received, one client, while all are connected.
    pub issued: Samples,
}

impl Gates {
    pub fn to_json(&self) -> Value {
        json!({"refused_ms": self.refused.to_json(), "last_gate_ms": self.last.to_json(),
            "daemon_kib_per_gate": round(self.kib_each), "issued_ms": self.issued.to_json()})
    }
}

/// The charter with a verifier whose key the gates have.
pub fn enrol(mut document: Value) -> Value {
    let verifier = json!({"id": VERIFIER, "aud": kit::AUD, "keys": [kit::key(KEY).jwk()]});
    document["verifiers"] = json!([verifier]);
    document
}

/// Starts the daemon of a world, connects so many gates, kills so often, and ends both.
pub fn measure(world: &World, carriers: &Carriers, count: usize, kills: usize) -> Gates {
    let daemon = world.start_with(&[("RUST_LOG", "warn")]);
    let pid = daemon.process.id();
    let before = memory(pid, "smaps_rollup", "Pss");
    let mut crowd = Crowd::connect(world, count);
    let after = memory(pid, "smaps_rollup", "Pss");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let channel = runtime.block_on(connect(&address(world), world.spki, "erin/file"));
    let alice = Signer::named("alice/1");
    let (mut refused, mut last) = (Vec::new(), Vec::new());
    for number in 0..kills {
        let jws = kill(world, &alice, &format!("{count} {number}"));
        let begun = nanos();
        runtime.block_on(channel.kill().kill(v1::KillRequest { jws })).expect("a kill is taken");
        let arrived = crowd.arrivals();
        assert_eq!(arrived.len(), count, "every gate refuses");
        let took = arrived.into_iter().map(|at| Duration::from_nanos(at.saturating_sub(begun)));
        let took = Samples::new(took.collect());
        last.push(took.longest());
        refused.extend(took.into_inner());
    }
    let people = Arc::new(People::of(world));
    let issued = runtime.block_on(crate::flows::some(world, carriers, &people, FLOWS));
    crowd.end();
    assert!(daemon.stop().success(), "the daemon ends in order");
    Gates {
        count,
        refused: Samples::new(refused),
        last: Samples::new(last),
        kib_each: (after - before) * 1024.0 / count as f64,
        issued,
    }
}

fn address(world: &World) -> String {
    format!("127.0.0.1:{}", world.ports().grpc)
}

async fn connect(address: &str, spki: Digest, key: &str) -> Channel {
    let identity = Identity::from_key(&secret(key), "a gate", &[]).unwrap();
    let mut dial = Dial::new(address, vec![spki], Some(identity));
    dial.connect_timeout = Duration::from_mins(1);
    Channel::connect(dial).await.expect("a gate connects")
}

/// A custodian's kill of a token that nobody has: what it costs to spread does not depend on that.
fn kill(world: &World, by: &Signer, name: &str) -> Vec<u8> {
    let document = world.charter.document();
    let target = RequestId(Digest::of(name.as_bytes()));
    let payload = json!({"charter": world.charter.digest(), "id": kit::nonce(name), "iss": document.iss,
        "level": "jti", "reason": "A measurement", "target": target});
    by.jws(Typ::Kill, &canonical(&payload), crate::world::now()).to_json()
}

/// Unix time in nanoseconds: the one clock that two processes share.
#[expect(clippy::disallowed_methods, reason = "two processes are compared")]
fn nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// The process of the gates.
struct Crowd {
    process: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    fn connect(world: &World, count: usize) -> Self {
        let charter = world.path("charter.json");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, &address(world), &world.spki.to_string(), &count.to_string()])
            .arg(charter)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut crowd = Self { process, input, lines: BufReader::new(output).lines() };
        assert_eq!(crowd.line(), "connected");
        crowd
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the gates are there").unwrap()
    }

    /// When each gate began to refuse what was killed last.
    fn arrivals(&mut self) -> Vec<u64> {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn end(mut self) {
        writeln!(self.input, "end").unwrap();
        assert!(self.process.wait().unwrap().success(), "the gates end in order");
    }
}

/// When each gate refused, by what was killed.
type Arrivals = Mutex<HashMap<Target, Vec<u64>>>;

/// The child: so many gates.
pub fn child(arguments: &mut impl Iterator<Item = String>) {
    let mut next = || arguments.next().unwrap();
    let (address, spki): (String, Digest) = (next(), next().parse().unwrap());
    let (count, charter): (usize, _) = (next().parse().unwrap(), std::fs::read(next()).unwrap());
    let statement: GeneralJws = serde_json::from_slice(&charter).unwrap();
    let digest = Digest::of(&statement.payload);
    let charter = Arc::new(Charter::genesis(statement, digest).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (places, arrivals) = (Arc::new(Semaphore::new(HANDSHAKES)), Arc::new(Arrivals::default()));
    let (ready, mut connected) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..count {
        let gate = gate(address.clone(), spki, Arc::clone(&charter), Arc::clone(&places));
        runtime.spawn(gate.run(count, Arc::clone(&arrivals), ready.clone()));
    }
    runtime.block_on(async {
        for _ in 0..count {
            connected.recv().await.expect("a gate connects");
        }
    });
    say("connected");
    // Until the parent has enough, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    // Nobody waits for ten thousand farewells.
    std::process::exit(0);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

struct Gate {
    address: String,
    spki: Digest,
    charter: Arc<Charter>,
    places: Arc<Semaphore>,
}

fn gate(address: String, spki: Digest, charter: Arc<Charter>, places: Arc<Semaphore>) -> Gate {
    Gate { address, spki, charter, places }
}

impl Gate {
    async fn run(self, count: usize, arrivals: Arc<Arrivals>, ready: tokio::sync::mpsc::UnboundedSender<()>) {
        let place = Arc::clone(&self.places).acquire_owned().await.unwrap();
        let channel = connect(&self.address, self.spki, KEY).await;
        let request = v1::WatchKillsRequest::default();
        let mut stream = channel.kill().watch_kills(request).await.expect("a watch").into_inner();
        drop(place);
        let (mut kills, mut heard) = (Kills::default(), false);
        while let Ok(Some(message)) = stream.message().await {
            match message.event {
                Some(Event::Kill(kill)) => {
                    let at = Timestamp::from_seconds(kill.recorded_at.map_or(0, |at| at.seconds));
                    let statement = GeneralJws::parse(&kill.jws, MAX_STATEMENT_BYTES).unwrap();
                    let target = breakglass::domain::kill::Kill::parse(&statement.payload).unwrap().target;
                    kills.learn(statement, &self.charter, kill.epoch, at).expect("a kill that counts");
                    assert!(kills.stops(&target, at.seconds()));
                    if heard {
                        note(&arrivals, target, count);
                    }
                }
                Some(Event::Heartbeat(_)) if !heard => {
                    heard = true;
                    ready.send(()).unwrap();
                }
                _ => {}
            }
        }
    }
}

/// Tells the parent when all of them refuse.
fn note(arrivals: &Arrivals, target: Target, count: usize) {
    let at = nanos();
    let mut all = arrivals.lock().unwrap();
    let those = all.entry(target.clone()).or_default();
    those.push(at);
    if those.len() == count {
        let line = serde_json::to_string(those).unwrap();
        all.remove(&target);
        drop(all);
        say(&line);
    }
}
