//! One `hsm_token`: chosen by label, logged in, kept alive.
//!
//! Every call climbs the same ladder: with a pooled session; with a new session, login and look-up; after
//! `C_Finalize` and `C_Initialize`, no more often than [`ReinitLimit`] allows. Invariants: a session that saw an error is
//! closed, because a half-done operation sticks to it; handles are forgotten at every login, which gives new ones;
//! a PIN that was refused is never tried again by this process.
//! Spec: PKCS #11 v3.0 sections 5.5 to 5.7.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use super::error::HsmError;
use super::fault::{Attempt, Remedy, pin_refusal};
use super::lookup::{self, Lookup};
use super::module::{Loaded, NotRestarted, Pkcs11Module, lock};
use super::names::TokenSelector;
use super::pin::UserPin;
use super::pool::{Lease, Pool, Pooled};
use super::reinit::ReinitLimit;
use super::report::{Backend, Capabilities, DeviceDescription};
use crate::jose::Digest;

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
    keys: Mutex<Keys>,
    pub(crate) description: DeviceDescription,
}

/// Handles of private keys, valid for one initialisation and one login, and names of keys that were here once.
#[derive(Default)]
struct Keys {
    generation: u64,
    handles: HashMap<Digest, ObjectHandle>,
    seen: BTreeSet<Digest>,
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
            (loaded.generation, self.attempt(&loaded, &lease, &op))
        })
    }

    /// Runs `op` on a read-write session of its own while nobody else uses the module.
    pub(crate) fn run_alone<T>(
        &self,
        action: &'static str,
        op: impl Fn(&Open<'_>) -> Result<T, Attempt>,
    ) -> Result<T, HsmError> {
        self.climb(action, || {
            let loaded = self.module.enter_alone();
            let result = self.open_session(&loaded, true).and_then(|pooled| {
                let result =
                    op(&Open { token: self, session: &pooled.session, generation: loaded.generation });
                pooled.discard(loaded.generation);
                result
            });
            self.forget_handles();
            (loaded.generation, result)
        })
    }

    fn climb<T>(
        &self,
        action: &'static str,
        attempt: impl Fn() -> (u64, Result<T, Attempt>),
    ) -> Result<T, HsmError> {
        let mut tried = attempt();
        for rung in [Remedy::Session, Remedy::Module] {
            let error = match tried.1 {
                Ok(value) => return Ok(self.healed(value)),
                Err(error) if error.remedy() < rung => return Err(error.into_error(&self.name(), action)),
                Err(error) => error,
            };
            tracing::warn!(name: "hsm.token.retry", device = %self.selector, action, ?rung, error = ?error);
            if rung == Remedy::Module {
                self.revive(tried.0, error, action)?;
            }
            tried = attempt();
        }
        match tried.1 {
            Ok(value) => Ok(self.healed(value)),
            Err(error) => Err(error.into_error(&self.name(), action)),
        }
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
        let result = op(&Open { token: self, session: &pooled.session, generation: loaded.generation });
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

    /// A key was destroyed on purpose: its absence is no fault from now on.
    pub(crate) fn forget_key(&self, name: &Digest) {
        let mut keys = lock(&self.keys);
        keys.handles.remove(name);
        keys.seen.remove(name);
    }

    pub(crate) fn name(&self) -> String {
        self.selector.to_string()
    }
}

/// A session in use, logged in.
pub(crate) struct Open<'a> {
    pub(crate) token: &'a Pkcs11Token,
    pub(crate) session: &'a Session,
    pub(crate) generation: u64,
}

impl Open<'_> {
    /// Handle of the private key called `name`.
    pub(crate) fn private_key(&self, name: &Digest) -> Result<ObjectHandle, Attempt> {
        {
            let mut keys = lock(&self.token.keys);
            if keys.generation != self.generation {
                keys.generation = self.generation;
                keys.handles.clear();
            }
            if let Some(handle) = keys.handles.get(name) {
                return Ok(*handle);
            }
        }
        match lookup::private_object(self.session, name)? {
            Lookup::Found(handle) => {
                let mut keys = lock(&self.token.keys);
                keys.handles.insert(*name, handle);
                keys.seen.insert(*name);
                Ok(handle)
            }
            Lookup::Nothing => {
                let error = HsmError::KeyNotFound { device: self.token.name(), kid: name.to_string() };
                let was_here = lock(&self.token.keys).seen.contains(name);
                Err(if was_here { Attempt::KeyGone(error) } else { Attempt::Final(error) })
            }
            Lookup::Ambiguous(count) => Err(Attempt::Final(HsmError::KeyAmbiguous {
                device: self.token.name(),
                kid: name.to_string(),
                count,
            })),
        }
    }
}

/// The slot of the token that `selector` means. A missing token may be a fault: some modules list them once.
fn select(
    module: &Pkcs11Module,
    loaded: &Loaded,
    selector: &TokenSelector,
) -> Result<(Slot, TokenInfo), Attempt> {
    let mut fitting = Vec::new();
    let mut labels = Vec::new();
    for slot in loaded.pkcs11.get_slots_with_token()? {
        // One broken token must not hide the others.
        let Ok(info) = loaded.pkcs11.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        labels.push(info.label().to_owned());
        if selector.fits(info.label(), info.serial_number()) {
            fitting.push((slot, info));
        }
    }
    match (fitting.pop(), fitting.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), others) => {
            Err(Attempt::Final(HsmError::TokenAmbiguous { wanted: selector.to_string(), count: others + 1 }))
        }
        (None, _) => Err(Attempt::KeyGone(HsmError::TokenNotFound {
            wanted: selector.to_string(),
            found: if labels.is_empty() { "none".into() } else { labels.join(", ") },
            path: module.path().to_owned(),
        })),
    }
}

fn find_and_describe(
    module: &Pkcs11Module,
    selector: &TokenSelector,
    limit: &Mutex<ReinitLimit>,
) -> Result<(DeviceDescription, (u64, Slot)), HsmError> {
    let attempt = || {
        let loaded = module.enter();
        let found = select(module, &loaded, selector).and_then(|(slot, info)| {
            let description = describe(module, &loaded, slot, &info)?;
            Ok((description, (loaded.generation, slot)))
        });
        (loaded.generation, found)
    };
    let (seen, first) = attempt();
    match first {
        Ok(found) => return Ok(found),
        Err(error) if error.remedy() < Remedy::Module => {
            return Err(error.into_error(selector.label(), "C_GetSlotList"));
        }
        Err(_) => {}
    }
    // The token may have been made after the module was initialised.
    if let Err(NotRestarted::Refused(source)) = module.reinitialise(seen, limit) {
        return Err(HsmError::Module { path: module.path().to_owned(), source: source.into() });
    }
    attempt().1.map_err(|error| error.into_error(selector.label(), "C_GetSlotList"))
}

fn describe(
    module: &Pkcs11Module,
    loaded: &Loaded,
    slot: Slot,
    info: &TokenInfo,
) -> Result<DeviceDescription, Attempt> {
    let library = loaded.pkcs11.get_library_info()?;
    let mechanisms = loaded.pkcs11.get_mechanism_list(slot)?;
    Ok(DeviceDescription {
        backend: Backend::Pkcs11,
        name: info.label().to_owned(),
        location: module.path().display().to_string(),
        manufacturer: info.manufacturer_id().to_owned(),
        model: info.model().to_owned(),
        serial: info.serial_number().to_owned(),
        version: format!("firmware {}, library {}", info.firmware_version(), library.library_version()),
        capabilities: Capabilities {
            es256: mechanisms.contains(&MechanismType::ECDSA),
            ed25519: mechanisms.contains(&MechanismType::EDDSA),
        },
    })
}
