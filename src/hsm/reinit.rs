//! How often a PKCS#11 module may be initialised again: a pure rule of the times at which it was.
//!
//! Invariants: two re-initialisations are at least [`FIRST`] apart, and while none of them helps the distance
//! doubles up to [`LONGEST`]; a call that works sets it back. So a dead HSM is not hammered, and one that
//! comes back is used within half a minute.

use std::time::{Duration, Instant};

/// Distance after a re-initialisation that helped.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// Longest distance.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// When the next re-initialisation is allowed.
#[derive(Debug)]
pub(crate) struct ReinitLimit {
    last: Option<Instant>,
    distance: Duration,
}

impl ReinitLimit {
    pub(crate) const fn new() -> Self {
        Self { last: None, distance: FIRST }
    }

    /// Takes the permission to re-initialise at `now`, or says how long to wait.
    pub(crate) fn claim(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(last) = self.last {
            let due = last + self.distance;
            if now < due {
                return Err(due - now);
            }
            self.distance = (self.distance * 2).min(LONGEST);
        }
        self.last = Some(now);
        Ok(())
    }

    /// A call worked: the next fault is a new one.
    pub(crate) fn healed(&mut self) {
        self.distance = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_claim_is_free_and_the_next_waits() {
        let t0 = Instant::now();
        let mut limit = ReinitLimit::new();
        assert_eq!(limit.claim(t0), Ok(()));
        assert_eq!(limit.claim(t0), Err(FIRST));
        assert_eq!(limit.claim(t0 + FIRST), Ok(()));
    }

    #[test]
    fn distance_doubles_until_a_call_works() {
        let mut limit = ReinitLimit::new();
        let mut now = Instant::now();
        assert_eq!(limit.claim(now), Ok(()));
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = limit.claim(now).unwrap_err();
            waits.push(wait);
            now += wait;
            assert_eq!(limit.claim(now), Ok(()));
        }
        assert!(waits.windows(2).all(|w| w[1] == (w[0] * 2).min(LONGEST)), "{waits:?}");
        assert_eq!(waits.last(), Some(&LONGEST));
        limit.healed();
        assert_eq!(limit.claim(now + FIRST), Ok(()));
    }
}
