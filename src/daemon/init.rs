//! `breakglassd init`: creates the audit log with the first charter in it.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Init, process};
use crate::{
    config::DaemonConfig,
    domain::{
        charter::{Charter, MAX_CHARTER_BYTES},
        event::{Entry, Event},
        evidence::Evidence,
    },
    engine::{self, SystemClock},
    jose::{Digest, GeneralJws},
    store::{SqliteStore, StoreError, StoreOptions},
};

pub(super) async fn run(config: &DaemonConfig, arguments: &Init) -> anyhow::Result<()> {
    let path = &arguments.charter;
    let bytes =
        std::fs::read(path).with_context(|| format!("the charter {} cannot be read", path.display()))?;
    let statement = GeneralJws::parse(&bytes, MAX_CHARTER_BYTES)
        .with_context(|| format!("{} is not a signed charter", path.display()))?;
    let charter = Charter::genesis(statement, arguments.digest)?;
    let evidence: Vec<Evidence> = match &arguments.evidence {
        None => Vec::new(),
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a list of evidence", path.display()))?
        }
    };
    let instance = format!("{}.init", config.id).parse()?;
    let store = match SqliteStore::create(&config.log_path(), StoreOptions::default()).await {
        Err(StoreError::Exists(path)) => {
            let Some(store) = existing(path, arguments.digest).await? else {
                process::print_line(&format!("charter {} is in force already", arguments.digest));
                return Ok(());
            };
            store
        }
        created => created?,
    };
    let adopted = engine::initialise(&store, &SystemClock::default(), instance, charter, evidence).await;
    store.close().await;
    if let Err(error) = adopted {
        // Nothing was appended: an empty log would only be in the way of the next attempt.
        let _ = std::fs::remove_file(config.log_path());
        return Err(error).context("the charter was not adopted, and no log was created");
    }
    process::print_line(&format!(
        "charter {} is in force; the log is {}",
        arguments.digest,
        config.log_path().display()
    ));
    Ok(())
}

/// A log that is there: to be initialised if a run that was interrupted left it empty, `None` if it begins with this very
/// charter.
async fn existing(path: PathBuf, digest: Digest) -> anyhow::Result<Option<SqliteStore>> {
    let store = SqliteStore::open(&path, StoreOptions::default()).await?;
    if store.size() == 0 {
        return Ok(Some(store));
    }
    let begun = first_charter(&store).await;
    store.close().await;
    if begun? == Some(digest) { Ok(None) } else { Err(StoreError::Exists(path).into()) }
}

async fn first_charter(store: &SqliteStore) -> anyhow::Result<Option<Digest>> {
    let mut batches = store.read(0..store.size());
    while let Some(batch) = batches.next().await? {
        for bytes in batch {
            if let Event::CharterAdopted { charter } = Entry::parse(&bytes)?.event {
                return Ok(Some(Digest::of(&charter.payload)));
            }
        }
    }
    Ok(None)
}
