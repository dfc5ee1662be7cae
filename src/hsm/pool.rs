//! A bounded set of `pkcs11_session`s that blocking callers share.
//!
//! Invariants: at most `size` leases at a time; a session goes back only from a call that succeeded; waiting is
//! bounded. Sessions are opened with "no drop": who drops one closes it first, unless it belongs to an earlier
//! initialisation of the module, whose handle numbers may mean something else by now.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::session::Session;

use super::module::lock;

/// A session and the initialisation of the module that it belongs to.
pub(crate) struct Pooled {
    pub(crate) session: Session,
    pub(crate) generation: u64,
}

impl Pooled {
    /// Closes the session if its number still means it. Call with the module's gate held, and its generation.
    pub(crate) fn discard(self, generation: u64) {
        if self.generation == generation
            && let Err(error) = self.session.close()
        {
            tracing::debug!(name: "hsm.session.close_refused", %error);
        }
    }
}

struct State {
    leased: usize,
    idle: Vec<Pooled>,
}

/// The pool of one `hsm_token`.
pub(crate) struct Pool {
    size: usize,
    state: Mutex<State>,
    freed: Condvar,
}

/// The right to use one session. Ends when dropped.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
}

impl Pool {
    /// A pool of `size` sessions; zero is taken as one.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            state: Mutex::new(State { leased: 0, idle: Vec::new() }),
            freed: Condvar::new(),
        }
    }

    /// Waits for a free place, at most `patience`.
    pub(crate) fn lease(&self, patience: Duration) -> Result<Lease<'_>, Duration> {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.state);
        while state.leased >= self.size {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(patience);
            }
            (state, _) = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.leased += 1;
        Ok(Lease { pool: self })
    }

    /// All idle sessions, to be closed by the caller.
    pub(crate) fn drain(&self) -> Vec<Pooled> {
        std::mem::take(&mut lock(&self.state).idle)
    }
}

impl Lease<'_> {
    /// An idle session, if there is one.
    pub(crate) fn take(&self) -> Option<Pooled> {
        lock(&self.pool.state).idle.pop()
    }

    /// Puts back a session that worked.
    pub(crate) fn put(&self, session: Pooled) {
        lock(&self.pool.state).idle.push(session);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        state.leased = state.leased.saturating_sub(1);
        drop(state);
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_leases_than_places() {
        let pool = Pool::new(2);
        let first = pool.lease(Duration::ZERO).ok();
        let second = pool.lease(Duration::ZERO).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(pool.lease(Duration::from_millis(1)).err(), Some(Duration::from_millis(1)));
        drop(first);
        assert!(pool.lease(Duration::ZERO).is_ok());
    }

    #[test]
    fn a_waiting_caller_gets_the_freed_place() {
        let pool = Pool::new(1);
        let held = pool.lease(Duration::ZERO).ok();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.lease(Duration::from_secs(20)).is_ok());
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }
}
