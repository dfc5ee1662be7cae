//! Parsers of foreign bytes under mutated input: nothing panics, nothing takes long, and what is accepted comes back as the
//! same bytes, so that there is one way to write each thing.
//!
//! A short run, always the same, belongs to the tests. `scripts/soak` runs it for longer, from another seed each time:
//! `BREAKGLASS_FUZZ_SECONDS` for each parser, `BREAKGLASS_FUZZ_SEED` (printed with every failure) to repeat one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests stand outside test functions, which clippy's exception covers"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! makes values, and tests read better without borrowing each"
)]

mod domain;
mod gate;
mod jose;
#[path = "../core/kit.rs"]
#[expect(dead_code, reason = "the kit serves the tests of the core as well, which use other parts of it")]
mod kit;
mod log;
mod mutate;
mod wire;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use mutate::{Rng, mutate};

/// Inputs of a short run.
const INPUTS: u32 = 5_000;
/// The longest that one input may take: far more than any takes, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(5);
/// Memory of the process, in KiB, that no input may make it exceed.
const MOST_MEMORY: u64 = 512 * 1024;

/// What a parser made of an input.
pub enum Parsed {
    /// It is not what the parser reads.
    Refused,
    /// Accepted; this is how the program writes it.
    As(Vec<u8>),
    /// Accepted, where other bytes may mean the same.
    Loosely,
}

/// Has a parser judge mutated members of a corpus, and holds what it accepts against its input. The corpus itself has to be
/// accepted, or the mutations would prove nothing.
///
/// # Panics
/// If the parser does, takes too long, or accepts what it would write otherwise.
pub fn fuzz(corpus: &[Vec<u8>], parse: impl Fn(&[u8]) -> Parsed) {
    for good in corpus {
        match parse(good) {
            Parsed::As(back) => assert_eq!(back, *good, "{}", String::from_utf8_lossy(good)),
            Parsed::Loosely => {}
            Parsed::Refused => panic!("a good input is refused: {}", String::from_utf8_lossy(good)),
        }
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("BREAKGLASS_FUZZ_SEED").unwrap_or(20_261_122);
    let until =
        number("BREAKGLASS_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut rng, mut inputs, mut accepted) = (Rng(seed), 0_u32, 0_u32);
    while until.map_or(inputs < INPUTS, |until| Instant::now() < until) {
        let input = mutate(&mut rng, corpus);
        let told = || format!("input {inputs} of seed {seed}: {:?}", String::from_utf8_lossy(&input));
        let begun = Instant::now();
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        assert!(begun.elapsed() < LONGEST, "{:?} for {}", begun.elapsed(), told());
        match parsed {
            Ok(Parsed::As(back)) => {
                assert!(back == input, "{} comes back as {:?}", told(), String::from_utf8_lossy(&back));
                accepted += 1;
            }
            Ok(Parsed::Loosely) => accepted += 1,
            Ok(Parsed::Refused) => {}
            Err(cause) => panic!("a panic at {}: {:?}", told(), cause.downcast_ref::<&str>()),
        }
        inputs += 1;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
    assert!(peak.is_some_and(|peak: u64| peak < MOST_MEMORY), "{peak:?} KiB");
    println!("{inputs} inputs of seed {seed}, {accepted} accepted, {} KiB at most", peak.unwrap_or(0));
}

/// The judge on trial: parsers that forgive, break or dawdle are found.
#[test]
fn a_parser_that_forgives_or_breaks_is_found() {
    let judged = |parse: fn(&[u8]) -> Parsed| catch_unwind(|| fuzz(&[b"a good input".to_vec()], parse));
    assert!(judged(|bytes| Parsed::As(bytes.to_vec())).is_ok());
    assert!(judged(|bytes| Parsed::As(bytes.trim_ascii().to_vec())).is_err(), "forgives blanks");
    assert!(judged(|bytes| if bytes.contains(&b'{') { panic!("a brace") } else { Parsed::Loosely }).is_err());
    assert!(judged(|_| Parsed::Refused).is_err(), "refuses what is good");
}
