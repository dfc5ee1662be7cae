//! Issuing keys that the charter has ended, or that were killed, are destroyed in the HSM.
//!
//! The signed charter or kill is the intent, so nothing has to be recorded before; destroying twice does no harm, and a key that is
//! gone is recorded as gone. So after a crash at any point the same is done again, until the log has it. A device that does
//! not obey is an alarm, and is asked again, ever more rarely.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{Engine, EngineError, start::stopped};
use crate::{
    domain::{Command, State},
    jose::Digest,
};

/// How often it is looked whether there is something to destroy.
const LOOK: Duration = Duration::from_millis(500);
/// Waits between attempts at one key.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What the last attempt at each key failed of, and when the next is due.
#[derive(Debug, Default)]
pub(super) struct Undestroyed(Mutex<BTreeMap<Digest, Failed>>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    reason: &'static str,
    pause: Duration,
    due: Instant,
}

impl Undestroyed {
    fn of(&self, kid: &Digest) -> Option<Failed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kid).copied()
    }

    fn note(&self, kid: Digest, reason: &'static str) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = failed.get(&kid).map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        failed.insert(kid, Failed { reason, pause, due: Instant::now() + pause });
    }

    fn forget(&self, kid: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(kid);
    }
}

impl Engine {
    /// Issuing keys that a charter or a kill has ended and that may still be in the HSM, each with the reason of the last failure to
    /// destroy it.
    #[must_use]
    pub fn keys_to_destroy(&self) -> Vec<(Digest, Option<&'static str>)> {
        let kids: Vec<Digest> = self.read(|state| state.keys_to_destroy().collect());
        let reason = |kid: &Digest| self.shared.undestroyed.of(kid).map(|failed| failed.reason);
        kids.into_iter().map(|kid| (kid, reason(&kid))).collect()
    }

    async fn destroy(&self, kid: Digest) -> Result<bool, EngineError> {
        let issuing = std::sync::Arc::clone(&self.shared.keys.issuing);
        let found = self.with_devices(move |turn| {
            drop(turn);
            Ok(issuing.destroy(&kid)?)
        });
        let found = found.await?;
        self.submit(self.daemon(), Command::KeyDestroyed { kid, found }).await?;
        Ok(found)
    }
}

/// Destroys what is to be destroyed, until a stop is asked for.
pub(super) async fn run(engine: Engine, mut stop: watch::Receiver<bool>) {
    loop {
        let due = |kid: &Digest| {
            engine.shared.undestroyed.of(kid).is_none_or(|failed| failed.due <= Instant::now())
        };
        let kids: Vec<Digest> = engine.read(|state: &State| state.keys_to_destroy().filter(due).collect());
        for kid in kids {
            match engine.destroy(kid).await {
                Ok(found) => {
                    engine.shared.undestroyed.forget(&kid);
                    tracing::info!(name: "issuing_key.destroyed", %kid, found, "an issuing key that was killed, or that the charter has ended, is in no device any more");
                }
                Err(error) => {
                    engine.shared.undestroyed.note(kid, error.reason());
                    let (reason, error) = (error.reason(), &error as &dyn std::error::Error);
                    tracing::error!(
                        name: "issuing_key.not_destroyed", %kid, reason, error,
                        "ALARM: an issuing key was killed, or ended by the charter, and it is still in the HSM: it can sign for whoever has the PIN; destroying it is tried again"
                    );
                }
            }
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
