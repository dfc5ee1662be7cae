//! The machine: what it is, and how fast its disk makes things durable.

use std::{fs, io::Write as _, path::Path, process::Command, time::Instant};

use serde_json::{Value, json};

use crate::stats::Samples;

/// What somebody needs to know who compares this run with another.
pub fn facts(data: &Path) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "kernel": kernel.trim(),
        "filesystem": output("stat", &["--file-system", "--format=%T", &data.display().to_string()]),
        "load_before": load.split(' ').next(),
        "softhsm": output("dpkg-query", &["--show", "--showformat=${Version}", "softhsm2"]),
        "commit": output("git", &["describe", "--always", "--dirty"]),
    })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|run| run.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Appending a page and making it durable, as each commit of the log does at least once.
pub fn fsync(directory: &Path) -> Samples {
    let path = directory.join("fsync.probe");
    let mut file = fs::File::create_new(&path).unwrap();
    let sample = || {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    let samples = std::iter::repeat_with(sample).take(300).collect();
    fs::remove_file(path).unwrap();
    Samples::new(samples)
}
