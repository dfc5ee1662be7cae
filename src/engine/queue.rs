//! The queue: batches of commands, decided one after the other and appended together.
//!
//! Invariant: `working` is the durable state plus the events of the batch at hand; after a failed append it is made
//! equal to the durable state again, so nothing decided in vain is ever built upon.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use tokio::sync::mpsc;

use super::{
    Decided, Engine, EngineError, Job, Reply, clock::Reference, issue::Issuer, kills::Unrecorded,
    patient::Patient,
};
use crate::{
    domain::{
        Command, Context, Refusal, State, decide,
        event::{Actor, Entry, Event},
        id::{Nonce, RequestId},
        kill::Kill,
        time::Timestamp,
    },
    store::AppendError,
};

/// Commands of one batch at most.
const MAX_BATCH: usize = 256;
/// How often a batch is decided again because another daemon was faster.
const MAX_RETRIES: usize = 8;

/// The owner of the state.
pub(super) struct Queue {
    pub(super) engine: Engine,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Kills and lifts, which overtake everything else.
    pub(super) urgent: mpsc::Receiver<Job>,
    /// Kills that the log did not take.
    pub(super) unrecorded: Unrecorded,
    pub(super) working: State,
    pub(super) reference: Reference,
    pub(super) issuer: Issuer,
    pub(super) patient: Patient,
}

/// Events decided, but not yet durable.
#[derive(Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    pub(super) bytes: Vec<Vec<u8>>,
    /// Jobs that were accepted, with their answers; kept whole, because another daemon may turn out to have been faster.
    pub(super) answers: Vec<(Job, Decided)>,
    /// The requests that the events change, in order.
    touched: Vec<RequestId>,
}

impl Queue {
    /// Runs until every handle is gone or a stop is asked for; what is queued by then is still decided.
    pub(super) async fn run(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                biased;
                Some(job) = self.urgent.recv() => {
                    self.serve_urgent(Some(job)).await;
                    continue;
                }
                () = self.unrecorded.is_due() => {
                    self.serve_urgent(None).await;
                    continue;
                }
                job = self.jobs.recv() => job,
                () = super::start::stopped(&mut stop) => {
                    self.jobs.close();
                    self.jobs.recv().await
                }
            };
            let Some(first) = first else { return self.close_urgent().await };
            let mut jobs = vec![first];
            while jobs.len() < MAX_BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                jobs.push(job);
            }
            self.serve(jobs).await;
        }
    }

    async fn serve(&mut self, mut jobs: Vec<Job>) {
        for _ in 0..MAX_RETRIES {
            if let Some(why) = self.engine.shared.latch.reason() {
                refuse_all(jobs.into_iter().map(|job| job.reply), || EngineError::Latched(why.to_owned()));
                return;
            }
            if !self.unrecorded.is_empty() {
                return refuse_all(jobs.into_iter().map(|job| job.reply), || EngineError::Unrecorded);
            }
            let base = self.working.size();
            let batch = self.decide(jobs);
            match self.engine.shared.store.append(base, &batch.bytes).await {
                Ok(()) => return self.publish(batch),
                Err(AppendError::Conflict { .. }) => match self.catch_up().await {
                    Ok(followed) => {
                        jobs = batch.answers.into_iter().map(|(job, _)| job).chain(followed).collect();
                    }
                    Err(error) => {
                        self.engine.shared.latch.close(format!("the log could not be followed: {error}"));
                        return refuse_all(batch.answers.into_iter().map(|(job, _)| job.reply), || {
                            EngineError::Stopping
                        });
                    }
                },
                Err(error) => {
                    self.working = self.engine.read(Clone::clone);
                    return self.append_failed(batch, &error);
                }
            }
        }
        refuse_all(jobs.into_iter().map(|job| job.reply), || EngineError::Overloaded);
    }

    /// Decides every job; refused ones are answered at once, since nothing has to become durable for that.
    pub(super) fn decide(&mut self, jobs: Vec<Job>) -> Batch {
        let mut batch = Batch::default();
        let mut jobs = VecDeque::from(jobs);
        while let Some(job) = jobs.pop_front() {
            let Some(job) = self.patient.hold(job, &self.working) else { continue };
            let first = batch.touched.len();
            match self.decide_one(&job, &mut batch) {
                Ok(decided) => {
                    batch.answers.push((job, decided));
                    // In the same batch: who waits for a token gets it with the transaction that records it.
                    for id in batch.touched.iter().skip(first) {
                        jobs.extend(self.patient.take(id));
                    }
                }
                Err(error) => {
                    let _gone = job.reply.send(Err(error));
                }
            }
        }
        batch
    }

    fn decide_one(&mut self, job: &Job, batch: &mut Batch) -> Result<Decided, EngineError> {
        let clock = self.engine.shared.clock.as_ref();
        let now = match self.reference.now(clock, self.working.last()) {
            Ok(now) => now,
            // Whatever is wrong with the clock, a kill must not wait for it: it gets the time of the entry before it.
            Err(_) if is_urgent(&job.command) => self.working.last(),
            Err(fault) => {
                if matches!(fault, super::ClockFault::Jumped { .. }) {
                    self.engine.shared.latch.close(fault.to_string());
                }
                return Err(fault.into());
            }
        };
        let index = self.working.size();
        let instance = self.engine.shared.instance.clone();
        let events = decide(&self.working, &job.command, &Context { now, index, instance })?;
        let fresh = entries(&job.actor, now, events)?;
        for (entry, bytes) in fresh {
            batch.touched.extend(touched(&entry.event));
            batch.touched.extend(hit(&entry.event, &self.working));
            if let Err(inconsistent) = self.working.evolve(&entry) {
                self.engine.shared.latch.close(format!("a decision contradicts the state: {inconsistent}"));
                return Err(EngineError::Latched(inconsistent.to_string()));
            }
            batch.entries.push(entry);
            batch.bytes.push(bytes);
        }
        Ok(Decided { index, at: now, recorded: true })
    }

    /// The batch is durable: now everybody may know.
    pub(super) fn publish(&mut self, batch: Batch) {
        {
            let mut state = self.engine.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            for entry in &batch.entries {
                if let Err(inconsistent) = state.evolve(entry) {
                    self.engine.shared.latch.close(format!("the fold differs from itself: {inconsistent}"));
                }
            }
        }
        for entry in &batch.entries {
            self.issuer.notice(&entry.event);
            super::alarm::notice(&entry.event);
            self.engine.shared.gates.notice(&entry.event);
            if matches!(entry.event, Event::CharterAdopted { .. }) {
                self.engine.shared.adopted.notify_one();
            }
            if matches!(entry.event, Event::CanaryIssued { .. }) {
                self.engine.shared.probing.notify_one();
            }
            if matches!(entry.event, Event::TokenRevoked { .. } | Event::CharterAdopted { .. }) {
                self.engine.shared.ended.send_modify(|count| *count += 1);
            }
            if matches!(entry.event, Event::KillRecorded { .. } | Event::LiftRecorded { .. }) {
                self.engine.shared.killed.send_modify(|count| *count += 1);
            }
        }
        for id in batch.touched {
            let _nobody_listens = self.engine.shared.changes.send(id);
        }
        for (job, decided) in batch.answers {
            let _gone = job.reply.send(Ok(decided));
        }
    }

    fn append_failed(&mut self, batch: Batch, error: &AppendError) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the audit log refused a batch; nothing in it happened"
        );
        if matches!(error, AppendError::Broken(_)) {
            self.engine.shared.latch.close(error.to_string());
        }
        refuse_all(batch.answers.into_iter().map(|(job, _)| job.reply), || {
            EngineError::Log(match error {
                AppendError::Full => AppendError::Full,
                AppendError::Busy => AppendError::Busy,
                other => AppendError::Broken(other.to_string()),
            })
        });
    }

    /// Another daemon has appended: folds what it wrote into both states. Returns the jobs that waited for what it did.
    pub(super) async fn catch_up(&mut self) -> Result<Vec<Job>, EngineError> {
        let mut followed = Vec::new();
        let store = Arc::clone(&self.engine.shared.store);
        self.working = self.engine.read(Clone::clone);
        let mut batches = store.read(self.working.size()..store.size());
        while let Some(batch) = batches.next().await? {
            for bytes in batch {
                let entry = Entry::parse(&bytes).map_err(Refusal::from)?;
                let touched: Vec<RequestId> =
                    touched(&entry.event).into_iter().chain(hit(&entry.event, &self.working)).collect();
                self.working.evolve(&entry).map_err(|error| EngineError::Start(error.to_string()))?;
                let mut state = self.engine.shared.state.write().unwrap_or_else(PoisonError::into_inner);
                state.evolve(&entry).map_err(|error| EngineError::Start(error.to_string()))?;
                drop(state);
                followed.extend(touched.iter().flat_map(|id| self.patient.take(id)));
            }
        }
        Ok(followed)
    }
}

pub(super) fn refuse_all(replies: impl Iterator<Item = Reply>, error: impl Fn() -> EngineError) {
    for reply in replies {
        let _gone = reply.send(Err(error()));
    }
}

/// The entries of a decision, with a fresh salt for each.
pub(super) fn entries(
    actor: &Actor,
    at: Timestamp,
    events: Vec<Event>,
) -> Result<Vec<(Entry, Vec<u8>)>, EngineError> {
    let encode = |event: Event| {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(EngineError::Randomness)?;
        let entry = Entry { v: 1, at, actor: actor.clone(), salt: Nonce::from_random(salt), event };
        let bytes = entry.to_bytes().map_err(Refusal::from)?;
        Ok((entry, bytes))
    };
    events.into_iter().map(encode).collect()
}

/// Kills and lifts: what has its own queue and the log's reserve.
pub(super) fn is_urgent(command: &Command) -> bool {
    matches!(command, Command::Kill(_) | Command::Lift(_))
}

/// The requests that an event ends by a kill, in the state before it.
fn hit(event: &Event, before: &State) -> Vec<RequestId> {
    let Event::KillRecorded { kill, .. } = event else { return Vec::new() };
    Kill::parse(&kill.payload).map_or_else(|_| Vec::new(), |kill| before.hit_by(&kill.target))
}

/// The request that an event is about.
fn touched(event: &Event) -> Option<RequestId> {
    use crate::domain::{grant::Grant, statement::request_of};
    match event {
        Event::RequestFiled { request } => Some(Grant::id_of(&request.payload)),
        Event::ApprovalRecorded { request_id, .. }
        | Event::DenialRecorded { request_id, .. }
        | Event::RequestDenied { request_id }
        | Event::RequestLapsed { request_id }
        | Event::IssuanceAuthorized { request_id, .. }
        | Event::IssuanceMoved { request_id, .. }
        | Event::IssuanceTakenOver { request_id, .. }
        | Event::TokenIssued { request_id, .. }
        | Event::TokenRevoked { request_id, .. }
        | Event::TokenExpired { request_id }
        | Event::RequestSuperseded { request_id }
        | Event::IssuanceFailed { request_id, .. } => Some(*request_id),
        Event::RequestWithdrawn { withdrawal: about } | Event::TokenReleased { redemption: about } => {
            request_of(about).ok()
        }
        Event::AttestationRecorded { .. }
        | Event::CharterProposed { .. }
        | Event::CharterSigned { .. }
        | Event::CharterRetracted { .. }
        | Event::CharterLapsed { .. }
        | Event::CharterAdopted { .. }
        | Event::GenesisAnnounced { .. }
        | Event::GenesisAlarmed { .. }
        | Event::GenesisCancelled { .. }
        | Event::GenesisReplaced { .. }
        | Event::TranscriptRecorded { .. }
        | Event::IssuingKeyDestroyed { .. }
        | Event::CheckedIn { .. }
        | Event::ReviewRecorded { .. }
        | Event::CanaryAuthorized { .. }
        | Event::CanaryIssued { .. }
        | Event::VerifierProbed { .. }
        | Event::HookAnswered { .. }
        | Event::KillRecorded { .. }
        | Event::LiftRecorded { .. }
        | Event::UsesReported { .. }
        | Event::KillEnforced { .. }
        | Event::DaemonStarted { .. }
        | Event::AttemptsRefused { .. }
        | Event::SnapshotTaken { .. } => None,
    }
}
