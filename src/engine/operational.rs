//! Operational keys: what the daemon says about tokens is signed by them, on a device of their own.
//!
//! Invariants: they sign nothing but the closed list of [`Said`]; what the device signed is verified with the charter's key
//! before it goes anywhere; the issuing device is not asked, nor kept waiting: one thread at most is in the operational
//! device, and one that hangs there hangs alone.

use std::{path::PathBuf, sync::Arc};

use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

use super::{
    Engine, EngineError, StatusList,
    events::{self, Events},
    status_list,
};
use crate::{
    domain::id::Issuer,
    hsm::{HsmError, SigningDevice},
    jose::{CompactJwt, Digest, P256PublicKey, Said, TokenAlg},
};

/// What is needed to tell others about tokens.
pub(super) struct Operational {
    device: Option<Arc<dyn SigningDevice>>,
    /// Held by the thread that is in the device.
    turn: Arc<Mutex<()>>,
    /// The newest list.
    pub(super) list: watch::Sender<Option<Arc<StatusList>>>,
    pub(super) events: Events,
}

impl Operational {
    pub(super) fn new(device: Option<Arc<dyn SigningDevice>>, folder: Option<PathBuf>) -> Self {
        Self { device, turn: Arc::default(), list: watch::Sender::new(None), events: Events::new(folder) }
    }
}

/// Begins to tell others, if there is a device to sign it.
pub(super) fn begin(engine: &Engine, stop: &watch::Sender<bool>) -> Vec<JoinHandle<()>> {
    if engine.shared.operational.device.is_none() {
        return Vec::new();
    }
    let list = status_list::run(engine.clone(), stop.subscribe());
    vec![tokio::spawn(list), tokio::spawn(events::run(engine.clone(), stop.subscribe()))]
}

impl Engine {
    /// The issuer of what is said about tokens, by the charter in force.
    #[must_use]
    pub fn operational_issuer(&self) -> Option<Issuer> {
        self.read(|state| Some(state.charter()?.document().operational_keys.first()?.iss.clone()))
    }

    /// Signs this payload with the first operational key of the charter that the device has, and checks the signature.
    pub(super) async fn say(&self, said: Said, payload: Vec<u8>) -> Result<String, EngineError> {
        let device = self.shared.operational.device.clone().ok_or(EngineError::NoOperationalKey)?;
        let turn = Arc::clone(&self.shared.operational.turn);
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
