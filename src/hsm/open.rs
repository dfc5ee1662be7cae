//! A session in use: what it can see, and the keys that were found through it.
//!
//! Invariants: "not found" is only an answer when the session is logged in and the token answers, because a logout by
//! somebody else and a lost token both look like missing keys; handles belong to one initialisation of the module.

use std::collections::HashMap;

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};

use super::error::HsmError;
use super::fault::Attempt;
use super::lookup::{self, Lookup, PublicHalf};
use super::module::{Loaded, lock};
use super::pool::Pooled;
use super::token::Pkcs11Token;
use crate::jose::Digest;

/// How often a key that was here may be looked for in vain, each time up to a re-initialisation, until its absence is taken
/// for an answer. Measured: `SoftHSM` loses sight of an object for a while when another process uses the token.
const MISSES: u8 = 30;

/// Handles of private keys, valid for one initialisation and one login, and names of keys that were here once, each with
/// the number of times that it was missed since.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) generation: u64,
    pub(crate) handles: HashMap<Digest, ObjectHandle>,
    pub(crate) seen: HashMap<Digest, u8>,
}

impl Keys {
    /// Whether the absence of this key is a fault: it was here, and has not been missed for long.
    fn misses(&mut self, name: &Digest) -> bool {
        let Some(misses) = self.seen.get_mut(name) else { return false };
        *misses += 1;
        let expected = *misses < MISSES;
        if !expected {
            self.seen.remove(name);
        }
        expected
    }
}

/// A session in use, logged in.
pub(crate) struct Open<'a> {
    pub(crate) token: &'a Pkcs11Token,
    pub(crate) session: &'a Session,
    pub(crate) generation: u64,
    pkcs11: &'a Pkcs11,
}

impl<'a> Open<'a> {
    pub(crate) fn new(token: &'a Pkcs11Token, pooled: &'a Pooled, loaded: &'a Loaded) -> Self {
        Self { token, session: &pooled.session, generation: loaded.generation, pkcs11: &loaded.pkcs11 }
    }

    /// Fails unless the session is logged in and the token answers. Both a logout by somebody else and a token that is
    /// gone show as keys that are not found, which must not be taken for an answer.
    pub(crate) fn still_there(&self) -> Result<(), Attempt> {
        let info = self.session.get_session_info()?;
        match info.session_state() {
            SessionState::RoUser | SessionState::RwUser => {}
            _ => return Err(Error::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo).into()),
        }
        self.pkcs11.get_token_info(info.slot_id())?;
        Ok(())
    }

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
                keys.seen.insert(*name, 0);
                Ok(handle)
            }
            Lookup::Nothing => {
                let error = HsmError::KeyNotFound { device: self.token.name(), kid: name.to_string() };
                self.still_there()?;
                Err(if lock(&self.token.keys).misses(name) {
                    Attempt::Gone(error)
                } else {
                    Attempt::Final(error)
                })
            }
            Lookup::Ambiguous(count) => Err(Attempt::Final(HsmError::KeyAmbiguous {
                device: self.token.name(),
                kid: name.to_string(),
                count,
            })),
        }
    }

    /// All public keys whose private half is here and unambiguous.
    pub(crate) fn usable_keys(&self) -> Result<Vec<PublicHalf>, Attempt> {
        self.still_there()?;
        let mut usable = Vec::new();
        for object in lookup::public_objects(self.session)? {
            match self.private_key(&object.key.name()) {
                Ok(_) if usable.contains(&object.key) => {}
                Ok(_) => usable.push(object.key),
                Err(Attempt::Final(HsmError::KeyNotFound { .. } | HsmError::KeyAmbiguous { .. })) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(usable)
    }
}
