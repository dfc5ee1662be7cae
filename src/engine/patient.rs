//! Redemptions that wait for their token.
//!
//! Invariant: a job waits only while its request is Authorized; whatever happens to the request, it is decided then, as
//! if it had just arrived. A caller who has gone away has nothing released in his name.

use std::collections::HashMap;

use super::Job;
use crate::domain::{Command, State, id::RequestId, request::Life};

/// The waiting jobs, by request.
#[derive(Default)]
pub(super) struct Patient {
    waiting: HashMap<RequestId, Vec<Job>>,
}

impl Patient {
    /// Keeps a job that has to wait; gives back one that can be decided now. One whose caller has gone is dropped.
    pub(super) fn hold(&mut self, job: Job, state: &State) -> Option<Job> {
        let Command::Redeem(signed) = &job.command else { return Some(job) };
        if job.reply.is_closed() {
            return None;
        }
        let id = signed.about().request_id;
        let authorized = state.request(&id).is_some_and(|it| matches!(it.life(), Life::Authorized(_)));
        if !(job.waits && authorized) {
            return Some(job);
        }
        let waiting = self.waiting.entry(id).or_default();
        waiting.retain(|job| !job.reply.is_closed());
        waiting.push(job);
        None
    }

    /// The jobs that waited for a change of this request.
    pub(super) fn take(&mut self, id: &RequestId) -> Vec<Job> {
        self.waiting.remove(id).unwrap_or_default()
    }
}
