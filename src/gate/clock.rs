//! The gate's clocks: the wall's, by which tokens live, and one that only runs forward, by which the view of kills ages.
//!
//! Invariant: the second one counts the time in which the machine slept, too: a gate that was suspended for an hour has
//! heard of no kill for an hour.

/// One look at both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Unix milliseconds.
    pub wall: i64,
    /// Milliseconds since the machine started, never going back.
    pub monotonic: i64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where a gate reads the wall clock")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let booted = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self {
            wall: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            monotonic: booted.tv_sec.saturating_mul(1000).saturating_add(booted.tv_nsec / 1_000_000),
        }
    }

    /// Unix seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.wall.div_euclid(1000)
    }
}
