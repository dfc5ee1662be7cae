//! The log alone: how fast it appends, and what a long one costs at start and in an audit.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use breakglass::{
    domain::{
        self, State,
        statement::{SignedAboutRequest, SignedGrant, SignedVerdict},
    },
    jose::{Digest, Typ},
    store::{Snapshot, SqliteStore, StoreOptions},
};

use crate::{
    client::wait,
    kit,
    people::{People, Wish},
    stats::{memory, process_cpu},
    world::{World, now},
};

/// Bytes of an entry in the measurement of appends: the mean of those of a flow.
const ENTRY_BYTES: usize = 1_700;
/// Entries between snapshots: the daemon's default.
const SNAPSHOT_EVERY: u64 = 10_000;
/// Flows whose signatures are made and checked at once, on all cores.
const CHUNK: usize = 512;
/// Milliseconds between the flows of the long log.
const APART: i64 = 100;

/// Durable entries per second, by entries of a batch.
pub type Appends = Vec<(usize, f64)>;

/// Appends for two seconds each, in batches as a busy queue makes them and one by one.
pub fn appends(data: &Path) -> Appends {
    let path = data.join("appends.sqlite");
    let rate = |batch: usize| {
        let rate = wait(async {
            let store = SqliteStore::create(&path, StoreOptions::default()).await.unwrap();
            let (begun, mut entry) = (Instant::now(), 0_u64);
            while begun.elapsed() < Duration::from_secs(2) {
                let entries: Vec<Vec<u8>> = (entry..).take(batch).map(some_entry).collect();
                store.append(entry, &entries).await.unwrap();
                entry += batch as u64;
            }
            let rate = entry as f64 / begun.elapsed().as_secs_f64();
            store.close().await;
            rate
        });
        for suffix in ["", "-wal", "-shm", ".reserve", ".lock"] {
            let _ = fs::remove_file(format!("{}{suffix}", path.display()));
        }
        (batch, rate)
    };
    [1, 64, 256].into_iter().map(rate).collect()
}

fn some_entry(index: u64) -> Vec<u8> {
    let mut entry = format!("{{\"entry\":{index},\"filling\":\"").into_bytes();
    entry.resize(ENTRY_BYTES - 2, b'x');
    entry.extend_from_slice(b"\"}");
    entry
}

/// What a long log costs.
#[derive(Debug)]
pub struct Long {
    pub entries: u64,
    pub bytes: u64,
    /// From the start of the process to `READY=1`, with a snapshot.
    pub start: Duration,
    /// The daemon's memory in MiB then.
    pub rss: f64,
    /// `breakglass audit verify`, its processor time, and the most memory it took, in MiB.
    pub verify: Duration,
    pub verify_cpu: Duration,
    pub verify_rss: f64,
}

/// Puts a log of whole flows in the place of the world's, starts the daemon on it, and has it audited.
pub fn long(world: &World, entries: u64, jwe_bytes: usize) -> Long {
    let (data, lines) = (world.path("data"), world.path("lines"));
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let begun = Instant::now();
    let written = Writer::new(world, &lines, jwe_bytes).write(entries);
    eprintln!("  {written} entries made in {:.0} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let daemon = world.start();
    let start = begun.elapsed();
    let rss = memory(daemon.process.id(), "status", "VmRSS");
    assert!(daemon.stop().success());
    let (verify, verify_cpu, verify_rss) = audit(world, &lines);
    let bytes = fs::metadata(&lines).unwrap().len() - written;
    Long { entries: written, bytes, start, rss, verify, verify_cpu, verify_rss }
}

/// Runs the auditor's command on the lines: how long it took, its processor time, and its most memory.
fn audit(world: &World, lines: &Path) -> (Duration, Duration, f64) {
    let begun = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass"));
    command.args(["audit", "verify", "--genesis", &world.charter.digest().to_string()]).arg(lines);
    let mut auditor = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut most, mut cpu) = (0.0_f64, Duration::ZERO);
    let status = loop {
        if let Some(status) = auditor.try_wait().unwrap() {
            break status;
        }
        most = most.max(memory(auditor.id(), "status", "VmHWM"));
        cpu = process_cpu(auditor.id());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "the auditor finds the log right");
    (begun.elapsed(), cpu, most)
}

/// Makes a log by the rules: every entry is one that the daemon would have written.
struct Writer<'a> {
    people: People,
    world: &'a World,
    core: kit::Log,
    store: SqliteStore,
    lines: BufWriter<File>,
    jwe: String,
    snapshot_at: u64,
    /// Milliseconds of the newest entry.
    at: i64,
}

/// The statements of a flow, their signatures verified.
struct Statements {
    wish: Wish,
    request: domain::Command,
    verdicts: [domain::Command; 2],
    redemption: domain::Command,
}

impl<'a> Writer<'a> {
    fn new(world: &'a World, lines: &Path, jwe_bytes: usize) -> Self {
        let core = kit::Log {
            state: State::default(),
            entries: Vec::new(),
            instance: "d1.bench".parse().unwrap(),
            pinned: world.charter.digest(),
        };
        let path = world.database();
        Self {
            people: People::of(world),
            core,
            store: wait(SqliteStore::create(&path, StoreOptions::default())).unwrap(),
            lines: BufWriter::new(File::create(lines).unwrap()),
            jwe: "x".repeat(jwe_bytes),
            snapshot_at: SNAPSHOT_EVERY,
            at: 0,
            world,
        }
    }

    /// At least so many entries, ending now with a snapshot; returns how many there are.
    fn write(mut self, entries: u64) -> u64 {
        let flows = i64::try_from(entries / 7).unwrap();
        self.at = (now() - 5) * 1000 - flows * APART;
        let charter = Box::new(self.world.charter.clone());
        self.run(&domain::Command::Adopt { charter, evidence: Vec::new() });
        while self.core.state.size() < entries {
            for flow in self.chunk() {
                if self.core.state.size() < entries {
                    self.flow(&flow);
                }
            }
            self.flush();
        }
        self.snapshot();
        self.flush();
        let size = self.store.size();
        self.lines.flush().unwrap();
        wait(self.store.close());
        size
    }

    /// The next flows, signed and verified on all cores.
    fn chunk(&self) -> Vec<Statements> {
        let times: Vec<i64> = (1..).map(|flow| (self.at + flow * APART) / 1000).take(CHUNK).collect();
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let parts = times.chunks(CHUNK.div_ceil(cores));
            let workers: Vec<_> = parts
                .map(|times| scope.spawn(|| times.iter().map(|at| self.sign(*at)).collect::<Vec<_>>()))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    fn sign(&self, at: i64) -> Statements {
        let (people, rules) = (&self.people, &self.world.charter);
        let wish = people.wish(at);
        let request = SignedGrant::verify(people.erin.jws(Typ::Request, &wish.payload, at), rules).unwrap();
        let verdicts = [&people.alice, &people.bob].map(|custodian| {
            let signature = custodian.state(Typ::Approval, &wish.payload, at);
            let signed = SignedVerdict::verify(&wish.payload, signature, rules).unwrap();
            domain::Command::Judge(Box::new(signed))
        });
        let redemption =
            SignedAboutRequest::verify(people.redemption(&wish.id, at), rules, Typ::Redeem).unwrap();
        Statements {
            wish,
            request: domain::Command::File(Box::new(request)),
            verdicts,
            redemption: domain::Command::Redeem(Box::new(redemption)),
        }
    }

    fn flow(&mut self, flow: &Statements) {
        self.at += APART;
        if self.core.state.next_deadline().is_some_and(|deadline| deadline <= self.at / 1000) {
            self.run(&domain::Command::Tick);
        }
        self.run(&flow.request);
        flow.verdicts.iter().for_each(|verdict| self.run(verdict));
        let (request, jwt) = (flow.wish.id, Digest::of(&flow.wish.payload));
        self.run(&domain::Command::Issued { request, jwt, jwe: self.jwe.clone() });
        self.run(&flow.redemption);
        if self.core.state.size() >= self.snapshot_at {
            self.snapshot();
        }
    }

    fn run(&mut self, command: &domain::Command) {
        self.core.run(command, self.at).unwrap();
    }

    /// As the daemon does it: the snapshot beside the log, its digest in it.
    fn snapshot(&mut self) {
        self.flush();
        self.snapshot_at = self.core.state.size() + SNAPSHOT_EVERY;
        let (size, bytes) = (self.core.state.size(), self.core.state.to_snapshot().unwrap());
        let (digest, root) = (Digest::of(&bytes), self.store.frontier().root());
        let snapshot = Snapshot { size, root, digest: *digest.as_bytes(), bytes };
        wait(self.store.put_snapshot(&snapshot)).unwrap();
        self.run(&domain::Command::Snapshot { size, root: Digest::from_bytes(*root.as_bytes()), digest });
    }

    /// What the core has decided becomes durable.
    fn flush(&mut self) {
        for batch in self.core.entries.chunks(256) {
            wait(self.store.append(self.store.size(), batch)).unwrap();
            for entry in batch {
                self.lines.write_all(entry).unwrap();
                self.lines.write_all(b"\n").unwrap();
            }
        }
        self.core.entries.clear();
    }
}
