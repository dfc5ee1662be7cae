//! Snapshots: a cache of the fold, so that the length of the log does not matter at start.
//!
//! Invariants: a snapshot is believed only if the log has an entry with its digest at or after its size; the fold is
//! done again in the background, and a difference latches.

use crate::{
    domain::{
        Command, Refusal, State,
        event::{Entry, Event},
    },
    jose::Digest,
    store::{Snapshot, SqliteStore},
};

use super::{Engine, EngineError};

/// Takes a snapshot of the durable state and records its digest.
pub(super) async fn take(engine: &Engine) -> Result<(), EngineError> {
    let state = engine.read(Clone::clone);
    let size = state.size();
    let bytes = super::blocking(move || state.to_snapshot()).await?.map_err(Refusal::from)?;
    let digest = Digest::of(&bytes);
    let root = engine.shared.store.root_at(size).await?;
    let snapshot = Snapshot { size, root, digest: *digest.as_bytes(), bytes };
    engine.shared.store.put_snapshot(&snapshot).await?;
    let root = Digest::from_bytes(*root.as_bytes());
    engine.submit(engine.daemon(), Command::Snapshot { size, root, digest }).await?;
    Ok(())
}

/// The state of the whole log, and the size of the snapshot it was built upon.
pub(super) async fn restore(store: &SqliteStore) -> Result<(State, u64), EngineError> {
    if let Some(snapshot) = store.latest_snapshot().await? {
        if let Some(state) = from_snapshot(store, &snapshot).await? {
            return Ok((state, snapshot.size));
        }
        tracing::warn!(
            size = snapshot.size,
            "the snapshot is not the one that the log names; folding the whole log"
        );
    }
    Ok((fold(store, State::default(), store.size(), |_| ()).await?, 0))
}

async fn from_snapshot(store: &SqliteStore, snapshot: &Snapshot) -> Result<Option<State>, EngineError> {
    if Digest::of(&snapshot.bytes).as_bytes() != &snapshot.digest {
        return Ok(None);
    }
    let Ok(state) = State::from_snapshot(&snapshot.bytes) else { return Ok(None) };
    if state.size() != snapshot.size {
        return Ok(None);
    }
    let mut named = false;
    let notice = |event: &Event| {
        if let Event::SnapshotTaken { size, digest, .. } = event {
            named |= *size == snapshot.size && digest.as_bytes() == &snapshot.digest;
        }
    };
    let state = fold(store, state, store.size(), notice).await?;
    Ok(named.then_some(state))
}

/// Folds entries from the state's size up to `end`.
async fn fold(
    store: &SqliteStore,
    mut state: State,
    end: u64,
    mut notice: impl FnMut(&Event),
) -> Result<State, EngineError> {
    let mut batches = store.read(state.size()..end);
    while let Some(batch) = batches.next().await? {
        for bytes in batch {
            let index = state.size();
            let entry = Entry::parse(&bytes).map_err(|error| {
                EngineError::Start(format!("entry {index} of the log is malformed: {error}"))
            })?;
            state.evolve(&entry).map_err(|error| EngineError::Start(error.to_string()))?;
            notice(&entry.event);
        }
        tokio::task::yield_now().await;
    }
    Ok(state)
}

/// Does the fold again that a start skipped, and latches if the snapshot was wrong.
pub(super) async fn recheck(engine: Engine, size: u64) {
    let store = engine.shared.store.clone();
    let expected = match store.latest_snapshot().await {
        Ok(Some(snapshot)) if snapshot.size == size => snapshot.digest,
        _ => return,
    };
    match fold(&store, State::default(), size, |_| ()).await.map(|state| state.to_snapshot()) {
        Ok(Ok(bytes)) if Digest::of(&bytes).as_bytes() == &expected => {
            tracing::info!(size, "the snapshot agrees with the log");
        }
        Ok(_) => {
            engine.shared.latch.close(format!("the snapshot at {size} differs from the fold of the log"));
        }
        Err(error) => {
            engine.shared.latch.close(format!("the log could not be folded again: {error}"));
        }
    }
}
