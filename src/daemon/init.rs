//! `breakglassd init`: creates the audit log with the first charter in it.

use std::path::PathBuf;

use anyhow::Context as _;

use super::Init;
use crate::{
    config::DaemonConfig,
    domain::{
        charter::{Charter, MAX_CHARTER_BYTES},
        evidence::Evidence,
    },
    engine::{self, SystemClock},
    jose::GeneralJws,
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
        Err(StoreError::Exists(path)) => empty(path).await?,
        created => created?,
    };
    let adopted = engine::initialise(&store, &SystemClock::default(), instance, charter, evidence).await;
    store.close().await;
    if let Err(error) = adopted {
        // Nothing was appended: an empty log would only be in the way of the next attempt.
        let _ = std::fs::remove_file(config.log_path());
        return Err(error).context("the charter was not adopted, and no log was created");
    }
    super::process::print_line(&format!(
        "charter {} is in force; the log is {}",
        arguments.digest,
        config.log_path().display()
    ));
    Ok(())
}

/// A log without entries, as a run that was interrupted leaves it.
async fn empty(path: PathBuf) -> anyhow::Result<SqliteStore> {
    let store = SqliteStore::open(&path, StoreOptions::default()).await?;
    if store.size() == 0 {
        return Ok(store);
    }
    store.close().await;
    Err(StoreError::Exists(path).into())
}
