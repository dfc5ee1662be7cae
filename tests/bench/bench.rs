//! Measures Breakglass against the parts it cannot do without, all in one run on one machine.
//!
//! Everything is real: `breakglassd` as a process of its own, a `SoftHSM`, gRPC over pinned mTLS, ES256 statements signed
//! in the run. What a figure is held against (raw signatures of the token, verifications, fsync) is measured beside it,
//! because ratios mean something on a machine whose speed nobody knows. `scripts/bench` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unchecked_time_subtraction,
    clippy::needless_pass_by_value,
    reason = "a benchmark that cannot go on has nothing better to do than to say so and stop"
)]
#![expect(clippy::cast_precision_loss, reason = "figures of a benchmark do not need 53 bits")]

mod chain;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "of the end-to-end tests' client only the runtime and the keys are of use here")]
mod client;
mod crypto;
#[path = "../e2e/daemon.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod daemon;
mod decisions;
mod flows;
mod gates;
#[path = "../core/kit.rs"]
#[expect(dead_code, reason = "the kit serves the tests of the core as well, which use other parts of it")]
mod kit;
mod log;
mod lookup;
mod machine;
mod people;
mod report;
mod stats;
mod token;
#[path = "../e2e/world.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod world;

use std::{env, fs};

use serde_json::json;

use crate::{people::Carriers, report::Report, world::World};

/// How many gates are connected, and how often something is killed then.
const GATES: [(usize, usize); 2] = [(1_000, 20), (10_000, 5)];

fn main() {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some(token::CHILD) => return token::child(&mut arguments),
        Some(gates::CHILD) => return gates::child(&mut arguments),
        _ => {}
    }
    let entries = number("BENCH_ENTRIES", 100_000);
    let seconds = number("BENCH_SECONDS", 10);
    let mut report = Report::new();

    eprintln!("setting up an HSM, a charter and a daemon");
    let carriers = Carriers::new();
    let world = World::with(|document| gates::enrol(carriers.enrol(document)));
    as_shipped(&world);
    report.machine(machine::facts(world.dir.path()));

    eprintln!("the token alone: raw signatures");
    let token = token::measure(&world);
    report.figure("token", token.to_json());
    eprintln!("the disk and the processor alone");
    let fsync = machine::fsync(&world.path("data"));
    report.figure("fsync_ms", fsync.to_json());
    let crypto = crypto::measure();
    report.figure("crypto_us", crypto.to_json());

    eprintln!("a gate's decisions");
    let decisions = decisions::measure();
    eprintln!("OpenBao's token lookup");
    report.decisions(decisions, lookup::openbao());

    eprintln!("a chain of charters");
    report.chain(chain::measure());

    eprintln!("whole flows through the daemon");
    let flows = flows::measure(&world, &carriers, seconds);
    report.flows(&flows, &token, &crypto, &fsync);

    for (count, kills) in GATES {
        eprintln!("{count} connected gates, {kills} kills");
        report.gates(&gates::measure(&world, &carriers, count, kills));
    }

    eprintln!("the log: appends, {entries} entries of whole flows, start, replay");
    let appends = log::appends(&world.path("data"));
    report.appends(&appends);
    let long = log::long(&world, entries, flows.jwe_bytes);
    report.long(&long);

    report.figure("parameters", json!({"entries": entries, "seconds": seconds, "clients": flows::CLIENTS}));
    report.print();
    report.write();
}

/// The tests' daemon takes a snapshot every few entries, so that they see some; what is measured has the defaults.
fn as_shipped(world: &World) {
    let path = world.path("breakglassd.toml");
    let text = fs::read_to_string(&path).unwrap();
    let shipped = text.replace("snapshot_every = 30\n", "");
    assert_ne!(text, shipped, "the tests' configuration has changed");
    fs::write(&path, shipped).unwrap();
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
