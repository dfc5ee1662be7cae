//! The one owner of a PKCS#11 module in this process.
//!
//! `C_Initialize` and `C_Finalize` act on the whole process, so each module path has exactly one [`Pkcs11Module`],
//! and all `hsm_token`s on it share that. Invariants: every call into the module happens under the read side of
//! one gate; initialising again, and generating keys, happen under its write side; each initialisation has a
//! number, and a session or handle of another number is never used nor closed (handle numbers restart, so closing
//! an old one would close somebody's new one).
//! Spec: PKCS #11 v3.0 section 5.4.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::HsmError;
use super::reinit::ReinitLimit;

/// All modules of this process: the C interface is global to the process, so its owner is too.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Pkcs11Module>>> = Mutex::new(BTreeMap::new());

/// A loaded and initialised PKCS#11 module.
pub struct Pkcs11Module {
    path: PathBuf,
    gate: RwLock<Loaded>,
}

impl std::fmt::Debug for Pkcs11Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Module").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a module was not initialised again.
pub(crate) enum NotRestarted {
    /// It was, so recently that it is too soon.
    TooSoon(Duration),
    /// The module refused.
    Refused(Error),
}

/// The module's functions, and which initialisation they belong to.
pub(crate) struct Loaded {
    pub(crate) pkcs11: Pkcs11,
    pub(crate) generation: u64,
}

impl Pkcs11Module {
    /// The owner of the module at `path`, loading and initialising it if this process has not done so.
    ///
    /// Modules stay loaded until the process ends.
    ///
    /// # Errors
    /// [`HsmError::Module`] if the file cannot be loaded or `C_Initialize` fails.
    pub fn open(path: &Path) -> Result<Arc<Self>, HsmError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| HsmError::Module {
            path: path.to_owned(),
            source,
        };
        let real = path.canonicalize().map_err(|e| failed(e.into()))?;
        let mut modules = lock(&MODULES);
        if let Some(module) = modules.get(&real) {
            return Ok(Arc::clone(module));
        }
        let pkcs11 = Pkcs11::new(&real).map_err(|e| failed(e.into()))?;
        initialise(&pkcs11).map_err(|e| failed(e.into()))?;
        let module =
            Arc::new(Self { path: real.clone(), gate: RwLock::new(Loaded { pkcs11, generation: 1 }) });
        modules.insert(real, Arc::clone(&module));
        Ok(module)
    }

    /// Path of the module, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The right to call the module, beside others. Never taken twice by one thread.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, Loaded> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to call the module alone: key generation and initialisation do not bear concurrent sessions.
    pub(crate) fn enter_alone(&self) -> RwLockWriteGuard<'_, Loaded> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// `C_Finalize` and `C_Initialize`, unless another thread has done so since `seen`, or `limit` says that it is too soon.
    /// The limit is the caller's own, so that one dead `hsm_token` does not make the module restart more often because
    /// another one is well.
    pub(crate) fn reinitialise(&self, seen: u64, limit: &Mutex<ReinitLimit>) -> Result<(), NotRestarted> {
        let mut loaded = self.enter_alone();
        if loaded.generation != seen {
            return Ok(());
        }
        lock(limit).claim(Instant::now()).map_err(NotRestarted::TooSoon)?;
        self.restart(&mut loaded).map_err(NotRestarted::Refused)
    }

    /// `C_Finalize` and `C_Initialize` by someone who already is alone, and not because of a fault.
    pub(crate) fn restart(&self, loaded: &mut Loaded) -> Result<(), Error> {
        tracing::warn!(name: "hsm.module.restart", module = %self.path.display(), generation = loaded.generation);
        loaded.generation += 1;
        // A module that was never initialised, or whose device is gone, may refuse to finalise: that is no reason
        // not to try the rest.
        if let Err(error) = loaded.pkcs11.clone().finalize() {
            tracing::debug!(name: "hsm.module.finalize_refused", %error);
        }
        initialise(&loaded.pkcs11)
    }
}

fn initialise(pkcs11: &Pkcs11) -> Result<(), Error> {
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes a lock whose data stays consistent even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
