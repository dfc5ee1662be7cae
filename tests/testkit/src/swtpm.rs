//! A software TPM 2.0 and a store for tpm2-pkcs11: a token of another maker than `SoftHSM`.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, free_port, temp_dir, wait_for};

/// Where Debian and Ubuntu install the module.
pub const TPM2_MODULE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so";

/// A running `swtpm` and an empty store.
#[derive(Debug)]
pub struct Swtpm {
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Default for Swtpm {
    fn default() -> Self {
        Self::start()
    }
}

impl Swtpm {
    /// Starts a TPM that has never been used. Its control port is the next one after its data port, as the TCTI expects.
    ///
    /// # Panics
    /// If `swtpm` cannot be started on five different ports.
    #[must_use]
    pub fn start() -> Self {
        let mut log = String::new();
        for _ in 0..5 {
            let mut tpm = Self { dir: temp_dir(), port: free_port().min(u16::MAX - 1), process: None };
            for part in ["state", "store"] {
                fs::create_dir(tpm.dir.path().join(part)).expect("a directory");
            }
            if tpm.try_start() {
                return tpm;
            }
            log = fs::read_to_string(tpm.dir.path().join("swtpm.log")).unwrap_or_default();
        }
        panic!("swtpm did not start on five ports: {log}");
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The variables that make a process use this TPM.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        vec![
            ("TPM2_PKCS11_TCTI".to_owned(), format!("swtpm:host=127.0.0.1,port={}", self.port)),
            ("TPM2_PKCS11_STORE".to_owned(), self.dir.path().join("store").display().to_string()),
            ("TSS2_LOG".to_owned(), "all+NONE".to_owned()),
        ]
    }

    /// Ends the TPM as a power cut would.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again with what it had stored, on the same port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&mut self) {
        self.stop();
        wait_for("swtpm to start again on its port", Duration::from_secs(20), || {
            self.try_start().then_some(())
        });
    }

    fn try_start(&mut self) -> bool {
        let mut process = Process::spawn(
            "swtpm",
            self.dir.path(),
            Command::new("swtpm").args([
                "socket",
                "--tpm2",
                "--tpmstate",
                &format!("dir={}", self.dir.path().join("state").display()),
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
