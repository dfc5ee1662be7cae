//! Operational keys: what the daemon says about tokens is signed by them, on a device of their own.
//!
//! Invariants: they sign nothing but the closed list of [`Said`]; what the device signed is verified with the charter's key
//! before it goes anywhere; the issuing device is not asked, nor kept waiting: one thread at most is in the operational
//! device, and one that hangs there hangs alone.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Engine, EngineError};
use crate::{
    domain::id::Issuer,
    hsm::{HsmError, SigningDevice},
    jose::{CompactJwt, Digest, P256PublicKey, Said, TokenAlg},
};

/// The device, and whose turn it is.
#[derive(Clone)]
pub(super) struct Operational {
    device: Option<Arc<dyn SigningDevice>>,
    turn: Arc<Mutex<()>>,
}

impl Operational {
    pub(super) fn new(device: Option<Arc<dyn SigningDevice>>) -> Self {
        Self { device, turn: Arc::default() }
    }
}

impl Engine {
    /// Whether there is a device for what is said about tokens.
    #[must_use]
    pub fn has_operational(&self) -> bool {
        self.shared.operational.device.is_some()
    }

    /// The issuer of what is said about tokens, by the charter in force.
    #[must_use]
    pub fn operational_issuer(&self) -> Option<Issuer> {
        self.read(|state| Some(state.charter()?.document().operational_keys.first()?.iss.clone()))
    }

    /// Signs this payload with the first operational key of the charter that the device has, and checks the signature.
    pub(super) async fn say(&self, said: Said, payload: Vec<u8>) -> Result<String, EngineError> {
        let Operational { device, turn } = self.shared.operational.clone();
        let device = device.ok_or(EngineError::NoOperationalKey)?;
        let keys: Vec<P256PublicKey> = self.read(|state| {
            let document = state.charter().map(|charter| charter.document());
            document.into_iter().flat_map(|document| &document.operational_keys).map(|one| one.key).collect()
        });
        let answer = async {
            // Held by the thread itself: whoever gives up waiting leaves it behind.
            let turn = turn.lock_owned().await;
            super::blocking(move || {
                let _turn = turn;
                sign(device.as_ref(), &keys, said, &payload)
            })
            .await?
        };
        let patience = self.shared.device_patience;
        tokio::time::timeout(patience, answer).await.unwrap_or(Err(EngineError::DeviceSilent))
    }
}

/// Blocks.
fn sign(
    device: &dyn SigningDevice,
    keys: &[P256PublicKey],
    said: Said,
    payload: &[u8],
) -> Result<String, EngineError> {
    for key in keys {
        let kid: Digest = key.thumbprint();
        let input = said.signing_input(&kid, payload);
        let signature = match device.sign(&kid, TokenAlg::Es256, input.as_bytes()) {
            Err(HsmError::KeyNotFound { .. }) => continue,
            signed => signed?,
        };
        let fixed = signature.first_chunk::<64>().filter(|_| signature.len() == 64);
        let is_good = fixed.is_some_and(|signature| key.verify(input.as_bytes(), signature).is_ok());
        if !is_good {
            return Err(EngineError::OperationalSignature);
        }
        return Ok(CompactJwt::assemble(&input, &signature));
    }
    Err(EngineError::NoOperationalKey)
}
