//! Replaying a log on all cores: one thread reads ahead, all cores verify signatures, and the caller's thread replays.
//!
//! Invariants: entries are replayed in the order of the log, and an error of reading is told after all that was read
//! before it; however long the log, a bounded part of it is held. A thread that panics takes the command with it.

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::{Context as _, Result};

use crate::domain::{
    ahead::{Job, Prepared, Scout},
    replay::Replay,
};

/// Batches that wait for the replay. A snapshot is foreseen if its entry stands in them.
const WINDOW: usize = 16;
/// Entries of a batch at most.
const BATCH_ENTRIES: usize = 256;
/// Bytes of a batch, unless its last entry makes it longer.
const BATCH_BYTES: usize = 1 << 20;

/// Entries whose signatures are to be verified, and where the result is awaited.
type Work = (Vec<Job>, SyncSender<Vec<Prepared>>);
/// A batch in its turn: a promise of it, or why it could not be read.
type Turn = Result<Receiver<Vec<Prepared>>>;

/// Reads entries until there are no more, and hands them to `take` in their order, prepared.
///
/// Tells the replay of the snapshots that lie ahead.
pub(super) fn run(
    read: impl FnMut() -> Result<Option<Vec<Vec<u8>>>> + Send,
    replay: &mut Replay,
    mut take: impl FnMut(&mut Replay, Prepared) -> Result<()>,
) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let (todo, work) = sync_channel::<Work>(2 * workers);
    let (order, turns) = sync_channel::<Turn>(2 * workers);
    let work = Mutex::new(work);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| verify(&work));
        }
        scope.spawn(move || scout(read, &order, &todo));
        // Dropped on return, whatever the reason: then the scout finds nobody waiting and ends, and so do the others.
        let turns = turns;
        let mut ahead = VecDeque::with_capacity(WINDOW);
        loop {
            while ahead.len() < WINDOW
                && let Ok(turn) = turns.recv()
            {
                ahead.push_back(received(turn, replay));
            }
            let Some(batch) = ahead.pop_front() else { return Ok(()) };
            for prepared in batch? {
                take(replay, prepared)?;
            }
        }
    })
}

/// Waits for a batch.
fn received(turn: Turn, replay: &mut Replay) -> Result<Vec<Prepared>> {
    let batch = turn?.recv().context("a thread that verifies signatures has ended")?;
    for size in batch.iter().filter_map(Prepared::snapshot) {
        replay.foresee_snapshot(size);
    }
    Ok(batch)
}

/// Reads the log, and gives away the work as it comes.
fn scout(
    mut read: impl FnMut() -> Result<Option<Vec<Vec<u8>>>>,
    order: &SyncSender<Turn>,
    todo: &SyncSender<Work>,
) {
    let mut scout = Scout::default();
    loop {
        let entries = match read() {
            Ok(Some(entries)) => entries,
            Ok(None) => return,
            Err(error) => return drop(order.send(Err(error))),
        };
        for batch in batches(entries) {
            let jobs = batch.into_iter().map(|entry| scout.next(entry)).collect();
            let (done, result) = sync_channel(1);
            // The replay has ended early: nobody wants the rest.
            if order.send(Ok(result)).is_err() || todo.send((jobs, done)).is_err() {
                return;
            }
        }
    }
}

/// Long entries are few to a batch, so that a window of them fits in memory as well.
fn batches(entries: Vec<Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
    let mut batches: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut bytes = usize::MAX;
    for entry in entries {
        let length = entry.len();
        match batches.last_mut() {
            Some(batch) if bytes < BATCH_BYTES && batch.len() < BATCH_ENTRIES => {
                batch.push(entry);
                bytes += length;
            }
            _ => {
                batches.push(vec![entry]);
                bytes = length;
            }
        }
    }
    batches
}

fn verify(work: &Mutex<Receiver<Work>>) {
    loop {
        // A poisoned lock only says that another thread panicked; the channel is as good as ever.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((jobs, done)) = next else { return };
        // If nobody waits any more, the next receive fails soon.
        let _ = done.send(jobs.into_iter().map(Job::verify).collect());
    }
}
