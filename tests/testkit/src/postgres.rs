//! A PostgreSQL of one's own: a fresh cluster on a free port, run by the user that Debian's package makes, since it refuses root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::{Process, free_port, temp_dir, wait_for};

const DEADLINE: Duration = Duration::from_secs(30);
/// Whom Debian's package runs it as.
const USER: &str = "postgres";

/// A running server with one superuser, `postgres`, whom it trusts.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    dir: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it. It looks every 200 ms whether clients are still there.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not come up.
    #[must_use]
    pub fn start() -> Self {
        let dir = temp_dir();
        if let Some((uid, gid)) = other_user() {
            chown(dir.path(), Some(uid), Some(gid)).expect("a directory of its own");
        }
        let data = dir.path().join("data");
        let output = program("initdb")
            .arg("--pgdata")
            .arg(&data)
            .args(["--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"])
            .current_dir(dir.path())
            .output()
            .expect("initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        for _ in 0..5 {
            let port = free_port();
            if let Some(process) = try_start(&dir, &data, port) {
                return Self { process, port, dir };
            }
        }
        panic!("no port stayed free five times");
    }

    /// `psql` against this port or that of something in front of it.
    #[must_use]
    pub fn psql(&self, port: u16) -> Command {
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--host", "127.0.0.1"]);
        command.args(["--username", USER, "--dbname", USER, "--port", &port.to_string()]);
        command.env("PGCONNECT_TIMEOUT", "20").current_dir(self.dir.path());
        command
    }

    /// Asks the server itself, without anything in between.
    ///
    /// # Panics
    /// If it refuses.
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        let output = self.psql(self.port).args(["--command", sql]).output().expect("psql");
        assert!(output.status.success(), "{sql}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Has the server itself do something.
    ///
    /// # Panics
    /// If it refuses.
    pub fn execute(&self, sql: &str) {
        drop(self.query(sql));
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, its children included: killed outright it would leave them, and shared memory, behind.
        self.process.signal(Signal::QUIT);
        let ended = std::time::Instant::now();
        while self.process.exited().is_none() && ended.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// None if another process took the port.
fn try_start(dir: &TempDir, data: &Path, port: u16) -> Option<Process> {
    let mut command = program("postgres");
    command.arg("-D").arg(data).args(["-p", &port.to_string()]).current_dir(dir.path());
    for setting in ["listen_addresses=127.0.0.1", "fsync=off", "client_connection_check_interval=200ms"] {
        command.args(["-c", setting]);
    }
    command.arg("-c").arg(format!("unix_socket_directories={}", dir.path().display()));
    let mut process = Process::spawn("postgres", dir.path(), &mut command);
    let up = wait_for("PostgreSQL to answer or to end", DEADLINE, || {
        if process.exited().is_some() {
            return Some(false);
        }
        let mut ready = Command::new("pg_isready");
        let port = port.to_string();
        let ready =
            ready.args(["--quiet", "--host", "127.0.0.1", "--port", &port]).status().expect("pg_isready");
        ready.success().then_some(true)
    });
    if !up {
        let log = process.log();
        assert!(log.contains("Address already in use"), "PostgreSQL did not start:\n{log}");
    }
    up.then_some(process)
}

/// A program of the newest version that is installed, run by a user that is not root.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path()).filter_map(|path| Some((number(&path)?, path))).max();
    let (_, folder) = newest.expect("PostgreSQL is installed (Debian: postgresql-15)");
    let program = folder.join("bin").join(name);
    let Some((uid, gid)) = other_user() else { return Command::new(program) };
    // It replaces itself by the program, so the process id is the program's.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups", "--"]);
    command.arg(program);
    command
}

fn number(path: &Path) -> Option<u32> {
    path.file_name().and_then(OsStr::to_str)?.parse().ok()
}

/// Whom to become, where this is root.
fn other_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let line = users.lines().find_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    let mut fields = line.expect("the user postgres").split(':').skip(1);
    let mut id = || fields.next().and_then(|id| id.parse().ok()).expect("a user's number");
    Some((id(), id()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
