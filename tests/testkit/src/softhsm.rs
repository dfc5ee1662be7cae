//! A `SoftHSM` of one's own: a directory of tokens and the configuration that points at it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::temp_dir;

/// Where Debian and Ubuntu install the module.
pub const SOFTHSM_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token that is not there for a while, as after a cable was pulled.
#[derive(Debug)]
#[must_use = "a token comes back only when it is asked to"]
pub struct Away {
    here: PathBuf,
    away: PathBuf,
}

impl Away {
    /// Puts the token back as it was.
    ///
    /// # Panics
    /// If something else stands in its place.
    pub fn bring_back(self) {
        fs::rename(self.away, self.here).expect("the token's place");
    }
}

/// A private `SoftHSM` directory. Give [`SoftHsm::env`] to each process that shall see it.
#[derive(Debug)]
pub struct SoftHsm {
    dir: PathBuf,
    /// Removes the directory; absent where another process owns it.
    _owner: Option<TempDir>,
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftHsm {
    /// An empty `SoftHSM`.
    ///
    /// # Panics
    /// If the directory cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let owner = temp_dir();
        let dir = owner.path().to_owned();
        let tokens = dir.join("tokens");
        fs::create_dir(&tokens).expect("the tokens' directory");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            tokens.display()
        );
        fs::write(dir.join("softhsm2.conf"), text).expect("softhsm2.conf");
        Self { dir, _owner: Some(owner) }
    }

    /// The `SoftHSM` that this process was started with, owned by the process that started it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn from_env() -> Self {
        let conf = std::env::var_os("SOFTHSM2_CONF").expect("SOFTHSM2_CONF");
        let dir = Path::new(&conf).parent().expect("a directory").to_owned();
        Self { dir, _owner: None }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that holds the tokens, one directory each.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    /// Takes the token with this label away.
    ///
    /// # Panics
    /// If there is none.
    pub fn take_away(&self, label: &str) -> Away {
        let holds = |path: &PathBuf| {
            let object = fs::read(path.join("token.object")).unwrap_or_default();
            object.windows(label.len()).any(|window| window == label.as_bytes())
        };
        let mut tokens = fs::read_dir(self.tokens()).expect("the tokens").flatten().map(|entry| entry.path());
        let here = tokens.find(holds).expect("a token with this label");
        let away = self.dir.join(format!("{label} is away"));
        fs::rename(&here, &away).expect("the token's directory");
        Away { here, away }
    }

    /// Path of the configuration.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.dir.join("softhsm2.conf")
    }

    /// The variable that makes a process use this `SoftHSM`.
    #[must_use]
    pub fn env(&self) -> (String, String) {
        ("SOFTHSM2_CONF".to_owned(), self.conf().display().to_string())
    }

    /// Makes a token with the foreign tool, security officer's PIN included. Only for tests that need one quickly:
    /// the program makes its own with a PIN that nobody knows.
    ///
    /// # Panics
    /// If `softhsm2-util` fails.
    pub fn init_token(&self, label: &str, user_pin: &str) {
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "test-so-pin", "--pin", user_pin])
            .envs([self.env()])
            .output()
            .expect("softhsm2-util, from the package softhsm2");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
