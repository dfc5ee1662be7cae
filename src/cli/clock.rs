//! The command line's only look at the clock.

use std::time::UNIX_EPOCH;

/// Now, Unix seconds.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the command line is where its clock is read")]
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
