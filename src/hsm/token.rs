//! One `hsm_token`: chosen by label, logged in, kept alive.
//!
//! Every call climbs the same ladder: with a pooled session; with a new session, login and look-up; after
//! `C_Finalize` and `C_Initialize`, no more often than [`ReinitLimit`] allows. Invariants: a session that saw an error is
//! closed, because a half-done operation sticks to it; handles are forgotten at every login, which gives new ones;
//! a PIN that was refused is never tried again by this process.
//! Spec: PKCS #11 v3.0 sections 5.5 to 5.7.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use super::error::HsmError;
use super::fault::{Attempt, Remedy, pin_refusal};
use super::module::{Loaded, NotRestarted, Pkcs11Module, lock};
use super::names::TokenSelector;
use super::open::{Keys, Open};
use super::pin::UserPin;
use super::pool::{Lease, Pool, Pooled};
use super::reinit::ReinitLimit;
use super::report::DeviceDescription;
use super::select::{find_and_describe, select};

/// How a token is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOptions {
    /// Number of `pkcs11_session`s that sign at the same time; two is the best for `SoftHSM` on two cores.
    pub sessions: usize,
    /// How long a caller waits for one of them.
    pub patience: Duration,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { sessions: 2, patience: Duration::from_secs(10) }
    }
}

/// One attempt at a call: in which initialisation of the module it was made, and how high its error may climb.
struct Tried<T> {
    generation: u64,
    result: Result<T, Attempt>,
    highest: Remedy,
}

/// An open `hsm_token`. Blocking; share it by `Arc`.
pub struct Pkcs11Token {
    pub(crate) module: Arc<Pkcs11Module>,
    selector: TokenSelector,
    pin: UserPin,
    refused: OnceLock<&'static str>,
    options: TokenOptions,
    pool: Pool,
    limit: Mutex<ReinitLimit>,
    slot: Mutex<Option<(u64, Slot)>>,
    pub(crate) keys: Mutex<Keys>,
    pub(crate) description: DeviceDescription,
}

impl std::fmt::Debug for Pkcs11Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Token")
            .field("module", &self.module)
            .field("selector", &self.selector)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Pkcs11Token {
    /// Finds the token, reads what it is and can do, and logs in once to prove the PIN.
    ///
    /// # Errors
    /// [`HsmError::TokenNotFound`], [`HsmError::TokenAmbiguous`], [`HsmError::PinRefused`], or a fault of the device.
    pub fn open(
        module: &Arc<Pkcs11Module>,
        selector: TokenSelector,
        pin: UserPin,
        options: TokenOptions,
    ) -> Result<Arc<Self>, HsmError> {
        let limit = Mutex::new(ReinitLimit::new());
        let (description, slot) = find_and_describe(module, &selector, &limit)?;
        let token = Self {
            module: Arc::clone(module),
            selector,
            pin,
            refused: OnceLock::new(),
            options,
            pool: Pool::new(options.sessions),
            limit,
            slot: Mutex::new(Some(slot)),
            keys: Mutex::new(Keys::default()),
            description,
        };
        token.run("C_Login", |_| Ok(()))?;
        Ok(Arc::new(token))
    }

    /// Runs `op` on a pooled session, climbing the ladder as far as its errors ask for.
    pub(crate) fn run<T>(
        &self,
        action: &'static str,
        op: impl Fn(&Open<'_>) -> Result<T, Attempt>,
    ) -> Result<T, HsmError> {
        let lease = self
            .pool
            .lease(self.options.patience)
            .map_err(|waited| HsmError::Busy { device: self.name(), waited })?;
        self.climb(action, || {
            let loaded = self.module.enter();
            let result = self.attempt(&loaded, &lease, &op);
            Tried { generation: loaded.generation, result, highest: Remedy::Module }
        })
    }

    /// Runs `op` on a read-write session of its own while nobody else uses the module. For an error of `op` itself the
    /// ladder is climbed no higher than `highest`.
    pub(crate) fn run_alone<T>(
        &self,
        action: &'static str,
        highest: Remedy,
        op: impl Fn(&Open<'_>) -> Result<T, Attempt>,
    ) -> Result<T, HsmError> {
        self.climb(action, || {
            let loaded = self.module.enter_alone();
            let generation = loaded.generation;
            let pooled = match self.open_session(&loaded, true) {
                Ok(pooled) => pooled,
                Err(error) => return Tried { generation, result: Err(error), highest: Remedy::Module },
            };
            let result = op(&Open::new(self, &pooled, &loaded));
            pooled.discard(generation);
            self.forget_handles();
            Tried { generation, result, highest }
        })
    }

    fn climb<T>(&self, action: &'static str, attempt: impl Fn() -> Tried<T>) -> Result<T, HsmError> {
        let mut tried = attempt();
        for rung in [Remedy::Session, Remedy::Module] {
            let error = match tried.result {
                Ok(value) => return Ok(self.healed(value)),
                Err(error) if error.remedy().min(tried.highest) < rung => {
                    return Err(error.into_error(&self.name(), action));
                }
                Err(error) => error,
            };
            tracing::warn!(name: "hsm.token.retry", device = %self.selector, action, ?rung, error = ?error);
            if rung == Remedy::Module {
                self.revive(tried.generation, error, action)?;
            }
            tried = attempt();
        }
        tried.result.map(|value| self.healed(value)).map_err(|error| error.into_error(&self.name(), action))
    }

    fn revive(&self, seen: u64, error: Attempt, action: &'static str) -> Result<(), HsmError> {
        self.module.reinitialise(seen, &self.limit).map_err(|why| match why {
            NotRestarted::TooSoon(retry_after) => HsmError::Unavailable {
                device: self.name(),
                retry_after,
                source: error.into_error(&self.name(), action).into(),
            },
            NotRestarted::Refused(source) => {
                HsmError::Fault { device: self.name(), action: "C_Initialize", source: source.into() }
            }
        })
    }

    fn healed<T>(&self, value: T) -> T {
        lock(&self.limit).healed();
        value
    }

    fn attempt<T>(
        &self,
        loaded: &Loaded,
        lease: &Lease<'_>,
        op: &impl Fn(&Open<'_>) -> Result<T, Attempt>,
    ) -> Result<T, Attempt> {
        let pooled = loop {
            match lease.take() {
                Some(pooled) if pooled.generation == loaded.generation => break pooled,
                Some(stale) => stale.discard(loaded.generation),
                None => break self.open_session(loaded, false)?,
            }
        };
        let result = op(&Open::new(self, &pooled, loaded));
        match &result {
            Ok(_) | Err(Attempt::Final(_)) => lease.put(pooled),
            Err(_) => {
                // What broke this session has most likely broken the idle ones too.
                pooled.discard(loaded.generation);
                self.pool.drain().into_iter().for_each(|idle| idle.discard(loaded.generation));
                self.forget_handles();
            }
        }
        result
    }

    fn open_session(&self, loaded: &Loaded, read_write: bool) -> Result<Pooled, Attempt> {
        let slot = self.find_slot(loaded)?;
        let session = if read_write {
            loaded.pkcs11.open_rw_session_no_drop(slot)?
        } else {
            loaded.pkcs11.open_ro_session_no_drop(slot)?
        };
        let pooled = Pooled { session, generation: loaded.generation };
        match self.login(&pooled.session) {
            Ok(()) => Ok(pooled),
            Err(error) => {
                pooled.discard(loaded.generation);
                Err(error)
            }
        }
    }

    fn login(&self, session: &Session) -> Result<(), Attempt> {
        if let Some(detail) = self.refused.get() {
            return Err(Attempt::Final(HsmError::PinRefused { device: self.name(), detail }));
        }
        match session.login(UserType::User, Some(&self.pin.auth_pin())) {
            Ok(()) => {
                self.forget_handles();
                Ok(())
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => {
                let serial = self.description.serial.clone();
                Err(Attempt::Final(HsmError::TokenHalfMade { device: self.name(), serial }))
            }
            Err(error) => Err(match pin_refusal(&error) {
                Some(detail) => {
                    let detail = self.refused.get_or_init(|| detail);
                    Attempt::Final(HsmError::PinRefused { device: self.name(), detail })
                }
                None => error.into(),
            }),
        }
    }

    fn find_slot(&self, loaded: &Loaded) -> Result<Slot, Attempt> {
        let mut cached = lock(&self.slot);
        match *cached {
            Some((generation, slot)) if generation == loaded.generation => Ok(slot),
            _ => {
                let (slot, _) = select(&self.module, loaded, &self.selector)?;
                *cached = Some((loaded.generation, slot));
                Ok(slot)
            }
        }
    }

    fn forget_handles(&self) {
        lock(&self.keys).handles.clear();
    }

    pub(crate) fn name(&self) -> String {
        self.selector.to_string()
    }
}

impl Drop for Pkcs11Token {
    fn drop(&mut self) {
        let loaded = self.module.enter();
        self.pool.drain().into_iter().for_each(|idle| idle.discard(loaded.generation));
    }
}
