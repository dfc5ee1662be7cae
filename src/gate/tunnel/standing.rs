//! Whether an open connection may go on, and when that is to be asked next.
//!
//! Invariants: what was killed, has expired or was taken away ends at once, however fresh the view; a view that cannot be
//! relied on ends it `grace` after it became so, and not before.

use std::time::Duration;

use crate::gate::{clock::Moment, decide::Refusal};

/// It is asked again after so many milliseconds at the latest: clocks jump, machines sleep, and heartbeats announce nothing.
const AT_LEAST_EVERY: i64 = 1_000;

/// What one connection remembers of the view that it depends on.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Monotonic milliseconds since when the view cannot be relied on.
    doubtful: Option<i64>,
}

/// The times that it goes by, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long a view is relied on.
    pub(super) max_stale: i64,
    /// How much longer a connection lives.
    pub(super) grace: i64,
    /// The token's end, Unix milliseconds.
    pub(super) exp: i64,
}

impl Standing {
    /// How long the connection may go on before this is asked again; or why it may not. `stands` is the judgement of the token,
    /// `fresh` that of the view, which was last `heard` at that monotonic millisecond.
    pub(super) fn judge(
        &mut self,
        stands: Result<(), Refusal>,
        fresh: Result<(), Refusal>,
        heard: Option<i64>,
        times: Times,
        now: Moment,
    ) -> Result<Duration, Refusal> {
        stands?;
        let mut pause = AT_LEAST_EVERY.min(times.exp.saturating_sub(now.wall));
        match fresh {
            Ok(()) => self.doubtful = None,
            Err(refusal) => {
                // A view grows stale between two looks; since when is known exactly.
                let stale = heard.map(|heard| heard.saturating_add(times.max_stale));
                let since = stale.filter(|stale| *stale < now.monotonic).unwrap_or(now.monotonic);
                let since = *self.doubtful.get_or_insert(since);
                let left = since.saturating_add(times.grace).saturating_sub(now.monotonic);
                if left <= 0 {
                    return Err(refusal);
                }
                pause = pause.min(left);
            }
        }
        Ok(Duration::from_millis(pause.max(1).unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::strict::Rejection;

    const TIMES: Times = Times { max_stale: 10_000, grace: 60_000, exp: 1_000_000 };
    const STALE: Refusal = Refusal::Stale { age: 11, max_stale: 10 };

    const fn at(millis: i64) -> Moment {
        Moment { wall: millis, monotonic: millis }
    }

    fn judge(
        standing: &mut Standing,
        fresh: Result<(), Refusal>,
        heard: i64,
        now: i64,
    ) -> Result<u128, Refusal> {
        standing.judge(Ok(()), fresh, Some(heard), TIMES, at(now)).map(|pause| pause.as_millis())
    }

    #[test]
    fn what_does_not_stand_ends_at_once() {
        for fresh in [Ok(()), Err(STALE)] {
            let killed = Err(Refusal::Token(Rejection::Time));
            let judged = Standing::default().judge(killed, fresh, Some(0), TIMES, at(1));
            assert_eq!(judged, Err(Refusal::Token(Rejection::Time)));
        }
    }

    #[test]
    fn a_stale_view_ends_it_after_the_grace_and_not_before() {
        let mut standing = Standing::default();
        assert_eq!(judge(&mut standing, Ok(()), 0, 5_000), Ok(1_000));
        // Stale since 10,000, seen a little later.
        assert_eq!(judge(&mut standing, Err(STALE), 0, 10_900), Ok(1_000));
        assert_eq!(judge(&mut standing, Err(STALE), 0, 69_500), Ok(500));
        assert_eq!(judge(&mut standing, Err(STALE), 0, 69_999), Ok(1));
        assert_eq!(judge(&mut standing, Err(STALE), 0, 70_000), Err(STALE));
        // Heard again in time: the next silence has a grace of its own.
        let mut standing = Standing::default();
        judge(&mut standing, Err(STALE), 0, 60_000).unwrap();
        judge(&mut standing, Ok(()), 60_100, 60_200).unwrap();
        assert_eq!(judge(&mut standing, Err(STALE), 60_100, 130_000), Ok(100));
        assert_eq!(judge(&mut standing, Err(STALE), 60_100, 130_100), Err(STALE));
    }

    #[test]
    fn clocks_that_disagree_end_it_like_a_stale_view() {
        let mut standing = Standing::default();
        let wrong = || Err(Refusal::Clock(100));
        judge(&mut standing, wrong(), 99_000, 100_000).unwrap();
        judge(&mut standing, wrong(), 159_000, 159_999).unwrap();
        assert_eq!(judge(&mut standing, wrong(), 159_500, 160_000), Err(Refusal::Clock(100)));
    }

    #[test]
    fn it_is_asked_again_when_the_token_ends() {
        assert_eq!(judge(&mut Standing::default(), Ok(()), 999_000, 999_700), Ok(300));
        assert_eq!(
            judge(&mut Standing::default(), Ok(()), 999_000, 1_000_000),
            Ok(1),
            "never without a pause"
        );
    }
}
