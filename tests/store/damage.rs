//! Files that are not what they should be: foreign, cut, overwritten, locked by somebody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use breakglass::store::{SqliteStore, StoreError, StoreOptions};

use crate::common::{Place, all, entries, meddle, root};

async fn opening(place: &Place) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&place.path(), StoreOptions::default()).await
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_told_by_whom() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..3)).await.unwrap();
    let refused = opening(&place).await.unwrap_err();
    assert_eq!(refused.reason(), "STORE_LOCKED");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    store.append(3, &entries(3..4)).await.unwrap();
    drop(store);
    assert_eq!(opening(&place).await.unwrap().size(), 4);
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..3)).await.unwrap();
    let mode = |suffix: &str| {
        let path = format!("{}{suffix}", place.path().display());
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for suffix in ["", "-wal", "-shm", ".lock", ".reserve"] {
        assert_eq!(mode(suffix), 0o600, "{suffix}");
    }
    store.close().await;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    place.open().await.close().await;
    assert_eq!(mode(""), 0o600);
}

#[tokio::test]
async fn foreign_files_and_other_versions_are_told_apart() {
    let reason = async |place: &Place| opening(place).await.unwrap_err().reason();
    let place = Place::new();
    fs::write(place.path(), b"").unwrap();
    assert_eq!(reason(&place).await, "STORE_FOREIGN", "an emptied file is not a new log");
    fs::write(place.path(), [0x42; 8192]).unwrap();
    assert_eq!(reason(&place).await, "STORE_CORRUPT");
    let place = Place::new();
    meddle_into(&place, "CREATE TABLE other (a)").await;
    assert_eq!(reason(&place).await, "STORE_FOREIGN");
    let place = Place::new();
    place.create().await.close().await;
    meddle(&place.path(), "PRAGMA user_version = 2").await;
    assert_eq!(reason(&place).await, "STORE_SCHEMA_VERSION");
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    assert_eq!(reason(&place).await, "STORE_MISSING");
}

async fn meddle_into(place: &Place, statements: &str) {
    fs::write(place.path(), b"").unwrap();
    meddle(&place.path(), statements).await;
}

#[tokio::test]
async fn an_interrupted_creation_leaves_nothing_that_counts() {
    let place = Place::new();
    fs::write(format!("{}.new", place.path().display()), b"half of a database").unwrap();
    assert_eq!(opening(&place).await.unwrap_err().reason(), "STORE_MISSING");
    place.create().await.append(0, &entries(0..1)).await.unwrap();
    // A write-ahead log without its database is what is left of a lost log: nothing to begin anew on.
    let place = Place::new();
    fs::write(format!("{}-wal", place.path().display()), b"frames").unwrap();
    let refused = SqliteStore::create(&place.path(), StoreOptions::default()).await.unwrap_err();
    assert_eq!(refused.reason(), "STORE_EXISTS");
}

#[tokio::test]
async fn a_truncated_write_ahead_log_gives_a_whole_prefix() {
    let place = Place::new();
    let store = place.create().await;
    let mut boundaries = vec![0];
    for size in (0..400).step_by(20) {
        store.append(size, &entries(size..size + 20)).await.unwrap();
        boundaries.push(size + 20);
    }
    // Copied while it is open, so that everything is still in the write-ahead log.
    let (database, wal) =
        (fs::read(place.path()).unwrap(), fs::read(format!("{}-wal", place.path().display())).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=wal.len()).step_by(wal.len() / 40).chain([31, 32, wal.len() - 1, wal.len()]) {
        let copy = Place::new();
        fs::write(copy.path(), &database).unwrap();
        fs::write(format!("{}-wal", copy.path().display()), &wal[..cut]).unwrap();
        let store = copy.open().await;
        assert!(boundaries.contains(&store.size()), "cut at {cut}: {} entries", store.size());
        assert_eq!(store.frontier().root(), root(store.size()), "cut at {cut}");
        assert_eq!(all(&store).await, entries(0..store.size()), "cut at {cut}");
        seen.insert(store.size());
    }
    assert_eq!(seen.last(), Some(&400));
    assert!(seen.len() > 10, "{seen:?}");
}

#[tokio::test]
async fn a_damaged_file_gives_an_error_or_the_truth_never_other_entries() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..600)).await.unwrap();
    store.close().await;
    let original = fs::read(place.path()).unwrap();
    let mut reasons = std::collections::BTreeMap::<&str, u32>::new();
    for round in 0..90_usize {
        let copy = Place::new();
        let mut bytes = original.clone();
        let at = round * 7919 * 13 % (bytes.len() - 64);
        match round % 3 {
            0 => bytes[at..at + 64].fill(0xa5),
            1 => bytes[at] ^= 1,
            _ => bytes.truncate(at),
        }
        fs::write(copy.path(), bytes).unwrap();
        let error = match opening(&copy).await {
            Err(error) => error,
            Ok(store) => match whole(&store).await {
                Err(error) => error,
                Ok(found) => {
                    // Unused bytes of a page were hit; or the log is honest about fewer entries than a checkpoint saw.
                    assert_eq!(found, entries(0..600), "round {round} at {at}");
                    continue;
                }
            },
        };
        *reasons.entry(error.reason()).or_default() += 1;
    }
    assert!(
        reasons
            .keys()
            .all(|reason| ["STORE_CORRUPT", "STORE_FOREIGN", "STORE_IO", "STORE_SCHEMA_VERSION"]
                .contains(reason)),
        "{reasons:?}"
    );
    assert!(reasons["STORE_CORRUPT"] > 20, "{reasons:?}");
}

async fn whole(store: &SqliteStore) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut batches = store.read(0..store.size());
    let mut entries = Vec::new();
    while let Some(batch) = batches.next().await? {
        entries.extend(batch);
    }
    Ok(entries)
}
