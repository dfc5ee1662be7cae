//! Waiting for a condition instead of sleeping for a guess.

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it gives a value, and panics at the deadline.
///
/// # Panics
/// If `deadline` passes; the message names `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        let left = deadline.saturating_sub(start.elapsed());
        assert!(!left.is_zero(), "waited {deadline:?} in vain for {what}");
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
