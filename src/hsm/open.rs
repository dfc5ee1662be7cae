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
use super::lookup::{self, Lookup};
use super::module::{Loaded, lock};
use super::pool::Pooled;
use super::token::Pkcs11Token;
use crate::jose::{Digest, PublicKey};

/// In how many initialisations of the module a key that was here may be looked for in vain until its absence is taken for an
/// answer. Measured: `SoftHSM` loses sight of an object for a while when another process uses the token.
const MISSES: u8 = 5;

/// Handles of private keys, valid for one initialisation and one login, and keys that were here once.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) generation: u64,
    pub(crate) handles: HashMap<Digest, ObjectHandle>,
    seen: HashMap<Digest, Missed>,
}

/// How often a key that was here has been missed since, and in which initialisation last.
#[derive(Default)]
struct Missed {
    times: u8,
    generation: u64,
}

impl Keys {
    /// The key is here: from now on its absence is a fault.
    pub(crate) fn remember(&mut self, name: &Digest) {
        self.seen.insert(*name, Missed::default());
    }

    /// The key was destroyed on purpose: its absence is no fault.
    pub(crate) fn forget(&mut self, name: &Digest) {
        self.handles.remove(name);
        self.seen.remove(name);
    }

    /// Whether the absence of this key is a fault: it was here, and was not missed too often.
    fn misses(&mut self, name: &Digest, generation: u64) -> bool {
        let Some(missed) = self.seen.get_mut(name) else { return false };
        if missed.generation != generation {
            *missed = Missed { times: missed.times + 1, generation };
        }
        let expected = missed.times < MISSES;
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
                keys.remember(name);
                Ok(handle)
            }
            Lookup::Nothing => {
                let error = HsmError::KeyNotFound { device: self.token.name(), kid: name.to_string() };
                self.still_there()?;
                Err(if lock(&self.token.keys).misses(name, self.generation) {
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
    pub(crate) fn usable_keys(&self) -> Result<Vec<PublicKey>, Attempt> {
        self.still_there()?;
        let mut usable = Vec::new();
        for object in lookup::public_objects(self.session)? {
            match self.private_key(&object.key.thumbprint()) {
                Ok(_) if usable.contains(&object.key) => {}
                Ok(_) => usable.push(object.key),
                Err(Attempt::Final(HsmError::KeyNotFound { .. } | HsmError::KeyAmbiguous { .. })) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_here_is_missed_for_a_while() {
        let (here, never) = (Digest::of(b"here"), Digest::of(b"never"));
        let mut keys = Keys::default();
        assert!(!keys.misses(&never, 1), "an answer at once");
        keys.remember(&here);
        for generation in 1..u64::from(MISSES) {
            for _ in 0..100 {
                assert!(keys.misses(&here, generation), "a fault, however often one initialisation is asked");
            }
        }
        assert!(!keys.misses(&here, 99), "an answer in the end");
        assert!(!keys.misses(&here, 100));
        keys.remember(&here);
        assert!(keys.misses(&here, 101), "a fault again, once it was seen again");
        keys.forget(&here);
        assert!(!keys.misses(&here, 102), "an answer, once it was destroyed");
    }
}
