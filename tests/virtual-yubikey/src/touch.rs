//! The finger: what happens when the card asks for a touch, and how a test decides it.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A real YubiKey blinks for about fifteen seconds and then gives up.
pub const TOUCH_TIMEOUT: Duration = Duration::from_secs(15);

/// How the card's touches are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum TouchMode {
    /// Touched at once.
    Grant,
    /// Touched after so many milliseconds.
    Delay {
        /// Milliseconds, below the fifteen seconds of the card's own patience.
        ms: u64,
    },
    /// Refused at once: the card gives up as if its time were over.
    Refuse,
    /// Waits for [`Finger::press`], or until the card's patience ends.
    Manual,
}

/// What a test may count on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchCounts {
    /// Touches the card asked for.
    pub asked: u64,
    /// Touches it got.
    pub given: u64,
}

/// One card's finger; clones share it.
#[derive(Clone)]
pub struct Finger(Arc<(Mutex<Inner>, Condvar)>);

struct Inner {
    mode: TouchMode,
    presses: u64,
    /// Bumped when the card is pulled out, which ends every wait.
    pulled: u64,
    counts: TouchCounts,
}

impl Finger {
    /// A finger in this mode.
    #[must_use]
    pub fn new(mode: TouchMode) -> Self {
        let inner = Inner { mode, presses: 0, pulled: 0, counts: TouchCounts::default() };
        Self(Arc::new((Mutex::new(inner), Condvar::new())))
    }

    /// Changes the mode, also for a touch the card is waiting for.
    pub fn set(&self, mode: TouchMode) {
        self.lock().mode = mode;
        self.0.1.notify_all();
    }

    /// Touches once: the touch being waited for, or nothing if none is.
    pub fn press(&self) {
        self.lock().presses += 1;
        self.0.1.notify_all();
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> TouchCounts {
        self.lock().counts
    }

    /// Waits until the card has asked for `asked` touches since it was made; false when `deadline` passes first.
    #[must_use]
    pub fn wait_until_asked(&self, asked: u64, deadline: Duration) -> bool {
        let (guard, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), deadline, |inner| inner.counts.asked < asked)
            .unwrap_or_else(PoisonError::into_inner);
        guard.counts.asked >= asked
    }

    /// Ends a touch being waited for, because the card was pulled out.
    pub(crate) fn pull(&self) {
        self.lock().pulled += 1;
        self.0.1.notify_all();
    }

    /// Called by the card: blocks until touched (true) or given up (false).
    pub(crate) fn ask(&self) -> bool {
        let started = Instant::now();
        let mut inner = self.lock();
        inner.counts.asked += 1;
        let (presses, pulled) = (inner.presses, inner.pulled);
        self.0.1.notify_all();
        loop {
            let elapsed = started.elapsed();
            let touched = match inner.mode {
                TouchMode::Grant => true,
                TouchMode::Delay { ms } => elapsed >= Duration::from_millis(ms),
                TouchMode::Refuse => return false,
                TouchMode::Manual => inner.presses > presses,
            };
            if inner.pulled > pulled {
                return false;
            }
            if touched {
                inner.counts.given += 1;
                return true;
            }
            let patience = match inner.mode {
                TouchMode::Delay { ms } => Duration::from_millis(ms).min(TOUCH_TIMEOUT),
                _ => TOUCH_TIMEOUT,
            };
            if elapsed >= TOUCH_TIMEOUT {
                return false;
            }
            let left = patience.saturating_sub(elapsed);
            inner = self.0.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
