//! Kills and lifts: before all else, on a full disk, and with the latch closed.
//!
//! Invariants: a kill takes effect before it is acknowledged. One that the log does not take is kept in memory, and while
//! there is one, nothing else is decided and nothing is signed: whatever it would have stopped, all of it is. It is tried
//! again until the log takes it; a restart forgets it, which whoever killed is told.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    Decided, Engine, EngineError, Job,
    queue::{Batch, Queue, refuse_all},
};
use crate::{
    domain::{
        Command, Refusal, State,
        event::Actor,
        id::KillId,
        kill::{Kills, SignedKill, SignedLift},
        statement::MAX_STATEMENT_BYTES,
    },
    jose::{GeneralJws, Typ},
    store::AppendError,
};

/// How often the log is asked again to take a kill.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a batch is decided again because another daemon was faster.
const MAX_RETRIES: usize = 8;
/// Kills and lifts of one batch at most: what the log's reserve has room for at once.
const MAX_BATCH: usize = 32;

/// What is in force after a kill.
#[derive(Debug, Clone)]
pub struct KillStanding {
    /// The kill.
    pub id: KillId,
    /// The epoch that it began; that of the log where it is not recorded.
    pub epoch: u64,
    /// How it was decided.
    pub decided: Decided,
}

/// Kills that the log did not take.
#[derive(Default)]
pub(super) struct Unrecorded {
    waiting: Vec<(Actor, Command)>,
}

impl Unrecorded {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the log is to be asked again; never, where nothing waits.
    pub(super) async fn is_due(&self) {
        if self.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

impl Engine {
    /// Kills. `jws` is a signed kill; who carries it does not matter.
    pub async fn kill(&self, actor: Actor, jws: &[u8]) -> Result<KillStanding, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let signed = SignedKill::verify(jws, &*self.charter()?, Typ::Kill)?;
        let id = signed.about().id;
        let decided = self.submit(actor, Command::Kill(Box::new(signed))).await?;
        let epoch = self.read(|state| {
            let kills = state.kills();
            kills.get(&id).map_or_else(|| kills.epoch(), |recorded| recorded.epoch)
        });
        Ok(KillStanding { id, epoch, decided })
    }

    /// Lifts kills. `jws` is a lift under the signatures of a quorum.
    pub async fn lift(&self, actor: Actor, jws: &[u8]) -> Result<Decided, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let signed = SignedLift::verify(jws, &*self.charter()?)?;
        self.submit(actor, Command::Lift(Box::new(signed))).await
    }

    /// What has been killed, as the log has it.
    #[must_use]
    pub fn kills(&self) -> Arc<Kills> {
        self.read(State::shared_kills)
    }

    /// Kills in force that the log has not taken, the oldest first.
    #[must_use]
    pub fn unrecorded(&self) -> Arc<Vec<GeneralJws>> {
        Arc::clone(&self.shared.unrecorded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_unrecorded(&self) -> bool {
        !self.shared.unrecorded.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Is told after each kill and lift.
    #[must_use]
    pub fn killed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.killed.subscribe()
    }
}

impl Queue {
    /// Serves what is urgent: what waits for the log, the one given, and whatever else has come.
    pub(super) async fn serve_urgent(&mut self, first: Option<Job>) {
        let (mut jobs, mut again) = (Vec::new(), Vec::new());
        for (actor, command) in std::mem::take(&mut self.unrecorded.waiting) {
            // Whoever sent it was answered long ago.
            let (reply, _) = tokio::sync::oneshot::channel();
            again.push(Job { actor, command, reply, waits: false });
        }
        jobs.append(&mut again);
        jobs.extend(first);
        while jobs.len() < MAX_BATCH
            && let Ok(job) = self.urgent.try_recv()
        {
            jobs.push(job);
        }
        // A closed latch may mean that `working` is not to be relied on; what is durable is.
        if self.engine.latch().reason().is_some() {
            self.working = self.engine.read(Clone::clone);
        }
        for _ in 0..MAX_RETRIES {
            let base = self.working.size();
            let batch = self.decide(jobs);
            match self.engine.store().append_reserved(base, &batch.bytes).await {
                Ok(()) => {
                    self.publish(batch);
                    return self.show_unrecorded();
                }
                Err(AppendError::Conflict { .. }) => match self.catch_up().await {
                    Ok(followed) => {
                        jobs = batch.answers.into_iter().map(|(job, _)| job).chain(followed).collect();
                    }
                    Err(error) => {
                        self.engine.latch().close(format!("the log could not be followed: {error}"));
                        return self.keep(batch, &AppendError::Broken(error.to_string()));
                    }
                },
                Err(error) => {
                    self.working = self.engine.read(Clone::clone);
                    if matches!(error, AppendError::Broken(_)) {
                        self.engine.latch().close(error.to_string());
                    }
                    return self.keep(batch, &error);
                }
            }
        }
        refuse_all(jobs.into_iter().map(|job| job.reply), || EngineError::Overloaded);
    }

    /// The log took nothing: kills are in force from here on all the same, and only then acknowledged.
    fn keep(&mut self, batch: Batch, error: &AppendError) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the audit log does not take a kill: it is in force, and nothing else is decided until the log has it"
        );
        let (kills, others): (Vec<_>, Vec<_>) =
            batch.answers.into_iter().partition(|(job, _)| matches!(job.command, Command::Kill(_)));
        let mut answers = Vec::new();
        for (job, decided) in kills {
            self.unrecorded.waiting.push((job.actor, job.command));
            answers.push((job.reply, Decided { recorded: false, ..decided }));
        }
        self.show_unrecorded();
        for (reply, decided) in answers {
            let _gone = reply.send(Ok(decided));
        }
        refuse_all(others.into_iter().map(|(job, _)| job.reply), || {
            EngineError::Log(match error {
                AppendError::Full => AppendError::Full,
                AppendError::Busy => AppendError::Busy,
                other => AppendError::Broken(other.to_string()),
            })
        });
    }

    fn show_unrecorded(&self) {
        let kill = |(_, command): &(Actor, Command)| match command {
            Command::Kill(signed) => Some(signed.jws().clone()),
            _ => None,
        };
        let now: Vec<GeneralJws> = self.unrecorded.waiting.iter().filter_map(kill).collect();
        let mut shown = self.engine.shared.unrecorded.write().unwrap_or_else(PoisonError::into_inner);
        if **shown != now {
            *shown = Arc::new(now);
            drop(shown);
            self.engine.shared.killed.send_modify(|count| *count += 1);
        }
    }

    /// At the end: what has come by now is still decided.
    pub(super) async fn close_urgent(&mut self) {
        self.urgent.close();
        while let Some(job) = self.urgent.recv().await {
            self.serve_urgent(Some(job)).await;
        }
    }
}
