//! Samples of durations, and the processor time of threads and processes.

use std::{fs, time::Duration};

use serde_json::{Value, json};

/// Durations of one thing done many times, sorted.
#[derive(Debug)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn new(mut samples: Vec<Duration>) -> Self {
        assert!(!samples.is_empty(), "something was measured");
        samples.sort_unstable();
        Self(samples)
    }

    /// The duration that this part of a thousand do not exceed, in milliseconds.
    pub fn permille(&self, part: usize) -> f64 {
        let at = (self.0.len() * part).div_ceil(1000).clamp(1, self.0.len());
        self.0[at - 1].as_secs_f64() * 1e3
    }

    pub fn p50(&self) -> f64 {
        self.permille(500)
    }

    pub fn p99(&self) -> f64 {
        self.permille(990)
    }

    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    pub fn into_inner(self) -> Vec<Duration> {
        self.0
    }

    pub fn to_json(&self) -> Value {
        let all = (self.0.len(), self.p50(), self.p99(), self.permille(1000));
        json!({"n": all.0, "p50": round(all.1), "p99": round(all.2), "max": round(all.3)})
    }
}

/// Three decimals are more than any of these figures is worth.
pub fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Processor time of the calling thread so far, to the nanosecond.
pub fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Processor time of a process so far, user and system, of all its threads, those that have ended included. Counted in
/// ticks of 10 ms, so it takes a run of seconds.
pub fn process_cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in brackets may contain anything; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// A field of `/proc/PID/FILE`, in MiB.
pub fn memory(pid: u32, file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
