//! A software TPM 2.0 and a store for tpm2-pkcs11: a token of another maker than `SoftHSM`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, free_port, temp_dir, wait_for};

/// Where Debian and Ubuntu install the module.
pub const TPM2_MODULE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so";

/// A software TPM on its own port, with an empty store.
#[derive(Debug)]
pub struct Swtpm {
    dir: PathBuf,
    port: u16,
    process: Option<Process>,
    /// Removes the directory; absent where another process owns it.
    _owner: Option<TempDir>,
}

impl Default for Swtpm {
    fn default() -> Self {
        Self::new()
    }
}

impl Swtpm {
    /// A TPM that has never been used, not running yet. Its control port is the next one after its data port, as the
    /// TCTI expects.
    ///
    /// # Panics
    /// If there are no two free ports side by side.
    #[must_use]
    pub fn new() -> Self {
        let owner = temp_dir();
        let dir = owner.path().to_owned();
        for part in ["state", "store"] {
            fs::create_dir(dir.join(part)).expect("a directory");
        }
        let port = (0..100).find_map(|_| {
            let port = free_port();
            let next = port.checked_add(1)?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok().then_some(port)
        });
        Self { dir, port: port.expect("two free ports"), process: None, _owner: Some(owner) }
    }

    /// The TPM that this process was started with, not running yet.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn from_env() -> Self {
        let store = std::env::var_os("TPM2_PKCS11_STORE").expect("TPM2_PKCS11_STORE");
        let tcti = std::env::var("TPM2_PKCS11_TCTI").expect("TPM2_PKCS11_TCTI");
        let port = tcti.rsplit('=').next().and_then(|port| port.parse().ok()).expect("a port");
        let dir = Path::new(&store).parent().expect("a directory").to_owned();
        Self { dir, port, process: None, _owner: None }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The variables that make a process use this TPM.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        vec![
            ("TPM2_PKCS11_TCTI".to_owned(), format!("swtpm:host=127.0.0.1,port={}", self.port)),
            ("TPM2_PKCS11_STORE".to_owned(), self.dir.join("store").display().to_string()),
            ("TSS2_LOG".to_owned(), "all+NONE".to_owned()),
        ]
    }

    /// Starts it with what it had stored, if anything.
    ///
    /// # Panics
    /// If it does not come up on its port.
    pub fn start(&mut self) {
        wait_for("swtpm to start on its port", Duration::from_secs(20), || self.try_start().then_some(()));
    }

    /// Ends it as a power cut would.
    pub fn stop(&mut self) {
        self.process = None;
    }

    fn try_start(&mut self) -> bool {
        let mut process = Process::spawn(
            "swtpm",
            &self.dir,
            Command::new("swtpm").args([
                "socket",
                "--tpm2",
                "--tpmstate",
                &format!("dir={}", self.dir.join("state").display()),
                "--server",
                &format!("type=tcp,port={},bindaddr=127.0.0.1", self.port),
                "--ctrl",
                &format!("type=tcp,port={},bindaddr=127.0.0.1", self.port + 1),
                "--flags",
                "not-need-init,startup-clear",
            ]),
        );
        let control = (Ipv4Addr::LOCALHOST, self.port + 1);
        let up = wait_for("swtpm to listen or to end", Duration::from_secs(20), || {
            if process.exited().is_some() {
                return Some(false);
            }
            TcpStream::connect(control).is_ok().then_some(true)
        });
        if up {
            self.process = Some(process);
        }
        up
    }
}
