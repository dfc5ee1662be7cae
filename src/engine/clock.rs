//! Time as the engine sees it: the wall clock, checked against a clock that only runs forward.
//!
//! Invariants: what it hands out never goes back; a wall clock that runs ahead of monotonic time by ten minutes latches,
//! one that falls behind the log by more than the tolerated skew refuses until it is right again.

use std::time::Instant;

use crate::domain::{
    decide::MAX_JUMP_MILLIS,
    time::{SKEW, Timestamp},
};

/// A source of wall-clock time and of monotonic time.
pub trait Clock: Send + Sync + 'static {
    /// What the wall clock says.
    fn wall(&self) -> Timestamp;
    /// Milliseconds since some fixed moment, never going back.
    fn monotonic(&self) -> i64;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place in the daemon that reads the wall clock"
    )]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// What is wrong with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockFault {
    /// It jumped ahead: entries dated in the future could never be taken back.
    #[error("the clock jumped ahead to {wall}; by the time that really passed it should be about {expected}")]
    Jumped {
        /// What it says.
        wall: Timestamp,
        /// What it should say.
        expected: Timestamp,
    },
    /// It is behind the log.
    #[error("the clock says {wall}, but the log's last entry is of {last}; set the clock right")]
    Behind {
        /// What it says.
        wall: Timestamp,
        /// What the log says.
        last: Timestamp,
    },
}

/// Hands out the time of decisions.
#[derive(Debug)]
pub(super) struct Reference {
    wall: Timestamp,
    monotonic: i64,
}

impl Reference {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), monotonic: clock.monotonic() }
    }

    /// The time for entries after one of `last`.
    pub(super) fn now(&mut self, clock: &dyn Clock, last: Timestamp) -> Result<Timestamp, ClockFault> {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        let passed = monotonic.saturating_sub(self.monotonic);
        let expected = Timestamp::from_millis(self.wall.millis().saturating_add(passed));
        if wall.millis() - expected.millis() > MAX_JUMP_MILLIS {
            return Err(ClockFault::Jumped { wall, expected });
        }
        if last.millis() - wall.millis() > SKEW * 1000 {
            return Err(ClockFault::Behind { wall, last });
        }
        *self = Self { wall, monotonic };
        Ok(wall.max(last))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hands(AtomicI64, AtomicI64);

    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
        fn monotonic(&self) -> i64 {
            self.1.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn time_runs_forward_jumps_are_refused_and_small_steps_back_are_held() {
        let clock = Hands::default();
        let set = |wall, monotonic| {
            clock.0.store(wall, Ordering::Relaxed);
            clock.1.store(monotonic, Ordering::Relaxed);
        };
        set(1_000_000, 0);
        let mut reference = Reference::new(&clock);
        set(1_005_000, 5_000);
        let first = reference.now(&clock, Timestamp::default()).unwrap();
        assert_eq!(first.millis(), 1_005_000);
        set(1_004_000, 6_000);
        assert_eq!(reference.now(&clock, first).unwrap(), first, "a small step back is held");
        set(1_004_000 - SKEW * 1000, 7_000);
        assert!(matches!(reference.now(&clock, first), Err(ClockFault::Behind { .. })));
        set(1_005_000 + MAX_JUMP_MILLIS + 10_000, 8_000);
        assert!(matches!(reference.now(&clock, first), Err(ClockFault::Jumped { .. })));
        set(1_005_000 + MAX_JUMP_MILLIS + 10_000, MAX_JUMP_MILLIS + 18_000);
        assert!(reference.now(&clock, first).is_ok(), "time that really passed is no jump");
    }
}
