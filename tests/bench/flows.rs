//! Whole flows through a running daemon: filed, approved twice, issued, redeemed; every call over gRPC and pinned mTLS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use breakglass::{
    client::{Channel, Dial},
    grpc::{tls::Identity, v1},
    jose::{Typ, jwe},
};
use p256::pkcs8::DecodePrivateKey as _;
use tokio::runtime::Runtime;

use crate::{
    client::secret,
    people::{Carriers, People, Wish},
    stats::{Samples, memory, process_cpu},
    world::{World, now},
};

/// Clients that work at the same time.
pub const CLIENTS: usize = 8;

/// What was measured.
#[derive(Debug)]
pub struct Flows {
    /// Last approval sent to encrypted token received, with one client and with all.
    pub one: Samples,
    pub all: Samples,
    /// Whole flows per second, with all clients.
    pub per_second: f64,
    pub count: usize,
    /// Microseconds of processor time of a flow, in the daemon and in the clients.
    pub server_cpu: f64,
    pub client_cpu: f64,
    /// The daemon's memory in MiB, after its start and after the run.
    pub idle_rss: f64,
    pub idle_pss: f64,
    pub busy_rss: f64,
    pub jwe_bytes: usize,
}

/// One client with its connections.
struct Client {
    channels: Vec<Channel>,
    turn: usize,
    people: Arc<People>,
}

/// A flow that was served.
struct Served {
    latency: Duration,
    wish: Wish,
    jwe: String,
}

/// Starts the daemon of a world, loads it with one client and with all, and ends it.
pub fn measure(world: &World, carriers: &Carriers, seconds: u64) -> Flows {
    // Debug output, if somebody asked for it, is about the daemon.
    let rust_log = std::env::var("BENCH_RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let daemon = world.start_with(&[("RUST_LOG", &rust_log)]);
    let pid = daemon.process.id();
    let idle = (memory(pid, "status", "VmRSS"), memory(pid, "smaps_rollup", "Pss"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let people = Arc::new(People::of(world));
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|client| runtime.block_on(Client::connect(world, carriers.of(client), &people)))
        .collect();
    let warm = Duration::from_secs(1);
    run(world, &runtime, &mut clients[..1], warm);
    let one = run(world, &runtime, &mut clients[..1], Duration::from_secs(seconds.div_ceil(2)));
    run(world, &runtime, &mut clients, warm);
    let (cpu, own, begun) = (process_cpu(pid), process_cpu(std::process::id()), Instant::now());
    let all = run(world, &runtime, &mut clients, Duration::from_secs(seconds));
    let took = begun.elapsed();
    let per_flow = |spent: Duration| spent.as_secs_f64() * 1e6 / all.len() as f64;
    let (server, own) = (process_cpu(pid) - cpu, process_cpu(std::process::id()) - own);
    let busy_rss = memory(pid, "status", "VmRSS");
    let jwe_bytes = all[0].jwe.len();
    assert!(daemon.stop().success(), "the daemon ends in order");
    let latencies = |served: Vec<Served>| Samples::new(served.iter().map(|one| one.latency).collect());
    Flows {
        per_second: all.len() as f64 / took.as_secs_f64(),
        count: all.len(),
        server_cpu: per_flow(server),
        client_cpu: per_flow(own),
        one: latencies(one),
        all: latencies(all),
        idle_rss: idle.0,
        idle_pss: idle.1,
        busy_rss,
        jwe_bytes,
    }
}

/// So many flows of one client, one after the other: last approval sent to encrypted token received.
pub async fn some(world: &World, carriers: &Carriers, people: &Arc<People>, count: usize) -> Samples {
    let mut client = Client::connect(world, carriers.of(0), people).await;
    let mut latencies = Vec::new();
    for _ in 0..count {
        latencies.push(client.flow().await.latency);
    }
    Samples::new(latencies)
}

/// All of these clients, for this long.
fn run(world: &World, runtime: &Runtime, clients: &mut [Client], time: Duration) -> Vec<Served> {
    let stop = AtomicBool::new(false);
    let served: Vec<Served> = std::thread::scope(|scope| {
        let handle = runtime.handle();
        let workers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let (handle, stop) = (handle.clone(), &stop);
                scope.spawn(move || {
                    handle.block_on(async {
                        let mut served = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            served.push(client.flow().await);
                        }
                        served
                    })
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    // The newest ones, which have not expired.
    if let Some(last) = served.last() {
        last.verify(world);
    }
    served
}

impl Client {
    async fn connect(world: &World, keys: &[String], people: &Arc<People>) -> Self {
        let mut channels = Vec::new();
        for key in keys {
            let identity = Identity::from_key(&secret(key), "a client", &[]).unwrap();
            let address = format!("127.0.0.1:{}", world.ports().grpc);
            channels
                .push(Channel::connect(Dial::new(address, vec![world.spki], Some(identity))).await.unwrap());
        }
        Self { channels, turn: 0, people: Arc::clone(people) }
    }

    /// One flow from the wish to the encrypted token.
    async fn flow(&mut self) -> Served {
        self.turn = (self.turn + 1) % self.channels.len();
        let mut access = self.channels[self.turn].access();
        let people = &self.people;
        let wish = people.wish(now());
        let jws = people.erin.jws(Typ::Request, &wish.payload, wish.at).to_json();
        access.file_request(v1::FileRequestRequest { jws }).await.expect("a request is filed");
        let approval = |signer: &crate::people::Signer| v1::SubmitSignatureRequest {
            request_id: wish.id.to_string(),
            jws: signer.jws(Typ::Approval, &wish.payload, now()).to_json(),
        };
        access.submit_signature(approval(&people.alice)).await.expect("an approval is taken");
        let last = approval(&people.bob);
        let jws = people.redemption(&wish.id, now()).to_json();
        let begun = Instant::now();
        access.submit_signature(last).await.expect("an approval is taken");
        let redeemed = access.redeem(v1::RedeemRequest { jws, wait_ms: 30_000 }).await.expect("a token");
        let latency = begun.elapsed();
        Served { latency, jwe: redeemed.into_inner().jwe, wish }
    }
}

impl Served {
    /// What came out is a token that a strict verifier accepts.
    fn verify(&self, world: &World) {
        let key = p256::SecretKey::from_pkcs8_der(&self.wish.redeem_key).unwrap();
        let jwt = jwe::decrypt(&self.jwe, &key).unwrap();
        let accepted = world.verify(std::str::from_utf8(&jwt).unwrap()).expect("strict verification");
        assert_eq!(accepted.claims.jti, self.wish.id);
    }
}
