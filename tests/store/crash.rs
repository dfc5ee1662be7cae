//! Appends that are cut off: by SIGKILL, by a cancelled task. And the order of writes that makes a power cut harmless.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use breakglass::store::{SqliteStore, StoreOptions};
use testkit::Process;

use crate::common::{Place, all, entries, root};

const LOG: &str = "STORE_TEST_LOG";
const ROUNDS: u64 = 20;

/// The batch that the appender writes at a size: of 1 to 50 entries, so that a torn batch would show.
fn batch(size: u64) -> Vec<Vec<u8>> {
    entries(size..size + 1 + size * 7 % 50)
}

/// What the process does that is killed: appends as long as its parent lives, and says what was acknowledged.
async fn append_for_ever(path: &str) {
    let store = SqliteStore::open(Path::new(path), StoreOptions::default()).await.unwrap();
    // Killed with its tracer or its test, it would be nobody's child, and go on until the disk is full.
    let parent = rustix::process::getppid();
    while rustix::process::getppid() == parent {
        let size = store.size();
        store.append(size, &batch(size)).await.unwrap();
        println!("\nacknowledged {};", store.size());
    }
}

/// This binary again, for the test that begins with [`append_for_ever`] when it finds the variable set.
fn command(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::what_was_acknowledged_survives_a_kill_and_no_batch_is_torn", "--nocapture"])
        .env(LOG, path);
    command
}

/// The last size in the output, if the line is whole.
fn acknowledged(output: &str) -> Option<u64> {
    output.rsplit("acknowledged ").find_map(|rest| rest.split_once(';')?.0.parse().ok())
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_no_batch_is_torn() {
    if let Ok(path) = std::env::var(LOG) {
        return append_for_ever(&path).await;
    }
    let place = Place::new();
    place.create().await.close().await;
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut process =
            Process::spawn(&format!("appender-{round}"), place.directory(), &mut command(&place.path()));
        // Not always at the same moment: after some number of acknowledgements that differs by round.
        let wanted = 1 + usize::try_from(round * 5 % 13).unwrap();
        process.wait_until("acknowledgements", Duration::from_secs(30), |log| {
            (log.matches("acknowledged").count() >= wanted).then_some(())
        });
        process.kill();
        let oracle = acknowledged(&process.log()).unwrap();
        let store = place.open().await;
        let size = store.size();
        assert!(size >= oracle, "round {round}: {oracle} were acknowledged, {size} are there");
        let mut boundary = before;
        while boundary < size {
            boundary += batch(boundary).len() as u64;
        }
        assert_eq!(boundary, size, "round {round}: a batch is torn");
        assert_eq!(store.frontier().root(), root(size), "round {round}");
        assert!(oracle > before, "round {round} has appended nothing");
        before = size;
        if round % 2 == 0 {
            store.close().await;
        }
    }
    let store = place.open().await;
    assert_eq!(all(&store).await, entries(0..before));
    store.rebuild_nodes().await.unwrap();
}

#[tokio::test]
async fn an_abandoned_append_is_whole_or_not_there() {
    let place = Place::new();
    let store = place.create().await;
    for round in 0..200_u64 {
        let size = store.size();
        let batch = entries(size..size + 40);
        let append = store.append(size, &batch);
        let cut = tokio::time::timeout(Duration::from_micros(round * 20), append).await;
        // The next writer looks at what became of it; the empty batch asks for nothing more.
        let now = match store.append(size, &[]).await {
            Ok(()) => size,
            Err(breakglass::store::AppendError::Conflict { actual, .. }) => actual,
            Err(error) => panic!("round {round}: {error}"),
        };
        assert!(now == size || now == size + 40, "round {round}: from {size} to {now}");
        assert!(cut.is_err() || now == size + 40, "round {round}: acknowledged and gone");
        assert_eq!(store.size(), now);
    }
    let size = store.size();
    assert_eq!(store.frontier().root(), root(size));
    drop(store);
    assert_eq!(all(&place.open().await).await, entries(0..size));
}

#[tokio::test]
async fn an_acknowledgement_follows_the_fsync_of_its_entries() {
    if Command::new("strace")
        .args(["-e", "trace=none", "true"])
        .status()
        .map_or(true, |status| !status.success())
    {
        println!("skipped: strace is missing or may not trace here");
        return;
    }
    let place = Place::new();
    place.create().await.close().await;
    let trace = place.directory().join("trace");
    let inner = command(&place.path());
    let mut outer = Command::new("strace");
    outer.args(["-f", "-y", "-qq", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o"]).arg(&trace);
    outer.arg(inner.get_program()).args(inner.get_args()).env(LOG, place.path());
    let mut process = Process::spawn("traced", place.directory(), &mut outer);
    process.wait_until("acknowledgements", Duration::from_mins(1), |log| {
        (log.matches("acknowledged").count() >= 30).then_some(())
    });
    process.kill();
    let (mut unsynced, mut synced, mut acknowledgements) = (false, 0, 0);
    let mut pending = std::collections::HashSet::new();
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        let thread = line.split_whitespace().next().unwrap_or_default().to_owned();
        let wal = line.contains("log.db-wal>");
        if wal && line.contains(" pwrite64(") {
            unsynced = true;
        } else if wal && line.contains("sync(") && line.contains("<unfinished") {
            pending.insert(thread);
        } else if (wal && line.contains("sync("))
            || (line.contains("sync resumed") && pending.remove(&thread))
        {
            unsynced = false;
            synced += 1;
        } else if line.contains("acknowledged") {
            acknowledgements += 1;
            assert!(!unsynced, "acknowledged before the write-ahead log was synced: {line}");
            assert!(synced >= acknowledgements, "{synced} syncs for {acknowledgements} acknowledgements");
        }
    }
    assert!(acknowledgements >= 29, "{acknowledgements} acknowledgements were traced");
}
