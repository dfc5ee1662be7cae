//! Checkpoints, snapshots and hashes: kept, held against the entries, and made again.

use breakglass::store::{Snapshot, SqliteStore, StoreOptions};
use breakglass::tlog::Hash;

use crate::common::{LogKey, Place, WITHOUT_TRIGGERS, all, entries, meddle, root};

async fn reopened(place: &Place) -> Result<SqliteStore, &'static str> {
    SqliteStore::open(&place.path(), StoreOptions::default()).await.map_err(|error| error.reason())
}

fn snapshot(size: u64) -> Snapshot {
    Snapshot { size, root: root(size), digest: [u8::try_from(size).unwrap(); 32], bytes: vec![1, 2, 3] }
}

#[tokio::test]
async fn the_newest_checkpoint_comes_back_with_its_cosignatures() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    assert_eq!(store.latest_checkpoint().await.unwrap(), None);
    for size in 0..100 {
        store.append(size, &entries(size..size + 1)).await.unwrap();
        store.put_checkpoint(&key.sign_newest(&store)).await.unwrap();
    }
    let mut newest = key.sign_newest(&store);
    let witness = "\u{2014} witness.example AQIDBAUGBwg=".parse().unwrap();
    newest.add(witness).unwrap();
    store.put_checkpoint(&newest).await.unwrap();
    store.put_checkpoint(&key.sign(99, root(99))).await.unwrap();
    assert_eq!(store.latest_checkpoint().await.unwrap(), Some(newest.clone()));
    store.close().await;
    assert_eq!(place.open().await.latest_checkpoint().await.unwrap(), Some(newest));
}

#[tokio::test]
async fn what_does_not_belong_to_the_log_is_not_stored() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    store.append(0, &entries(0..5)).await.unwrap();
    let reason = |done: Result<(), breakglass::store::StoreError>| done.unwrap_err().reason();
    assert_eq!(reason(store.put_checkpoint(&key.sign(5, root(4))).await), "STORE_ROOT_MISMATCH");
    assert_eq!(reason(store.put_checkpoint(&key.sign(6, root(6))).await), "LOG_INDEX_OUT_OF_RANGE");
    let wrong = Snapshot { root: root(3), ..snapshot(5) };
    assert_eq!(reason(store.put_snapshot(&wrong).await), "STORE_ROOT_MISMATCH");
    assert_eq!(store.latest_checkpoint().await.unwrap(), None);
    assert_eq!(store.latest_snapshot().await.unwrap(), None);
}

#[tokio::test]
async fn the_newest_snapshot_comes_back_and_an_altered_one_does_not() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..9)).await.unwrap();
    for size in [3, 9, 7] {
        store.put_snapshot(&snapshot(size)).await.unwrap();
    }
    assert_eq!(store.latest_snapshot().await.unwrap(), Some(snapshot(9)));
    meddle(&place.path(), "UPDATE snapshot SET root = zeroblob(32) WHERE size = 9").await;
    assert_eq!(store.latest_snapshot().await.unwrap_err().reason(), "STORE_ROOT_MISMATCH");
}

#[tokio::test]
async fn everything_but_the_entries_can_be_dropped_and_made_again() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    store.append(0, &entries(0..3000)).await.unwrap();
    store.put_checkpoint(&key.sign_newest(&store)).await.unwrap();
    store.put_snapshot(&snapshot(100)).await.unwrap();
    let (proof, frontier) = (store.inclusion_proof(1234, 3000).await.unwrap(), store.frontier());
    store.rebuild_nodes().await.unwrap();
    assert_eq!(store.inclusion_proof(1234, 3000).await.unwrap(), proof);
    store.drop_derived().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.frontier(), frontier);
    assert_eq!(store.inclusion_proof(1234, 3000).await.unwrap(), proof);
    assert_eq!(store.latest_snapshot().await.unwrap(), None);
    assert_eq!(all(&store).await, entries(0..3000));
    store.append(3000, &entries(3000..3001)).await.unwrap();
    assert_eq!(store.frontier().root(), root(3001));
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_checkpoint_does_not_open() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    store.append(0, &entries(0..10)).await.unwrap();
    store.put_checkpoint(&key.sign_newest(&store)).await.unwrap();
    store.close().await;
    // Entries and their hashes are cut together, as by somebody who knows the tables.
    meddle(
        &place.path(),
        &format!(
            "{WITHOUT_TRIGGERS} DELETE FROM entry WHERE idx >= 8; DELETE FROM node WHERE position >= 15"
        ),
    )
    .await;
    assert_eq!(reopened(&place).await.unwrap_err(), "STORE_ROLLED_BACK");
}

#[tokio::test]
async fn another_history_under_the_same_checkpoint_does_not_open() {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    store.append(0, &entries(0..10)).await.unwrap();
    store.put_checkpoint(&key.sign_newest(&store)).await.unwrap();
    store.close().await;
    // All hashes are made again from changed entries: only the checkpoint remembers.
    meddle(
        &place.path(),
        &format!("{WITHOUT_TRIGGERS} UPDATE entry SET bytes = x'00' WHERE idx = 3; DELETE FROM node"),
    )
    .await;
    assert_eq!(reopened(&place).await.unwrap_err(), "STORE_ROOT_MISMATCH");
}

#[tokio::test]
async fn a_changed_entry_is_noticed_when_it_is_read() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..1000)).await.unwrap();
    meddle(&place.path(), &format!("{WITHOUT_TRIGGERS} UPDATE entry SET bytes = x'00' WHERE idx = 700"))
        .await;
    assert_eq!(store.entry(700).await.unwrap_err().reason(), "STORE_CORRUPT");
    assert_eq!(store.entry(701).await.unwrap(), entries(701..702)[0]);
    let mut batches = store.read(0..1000);
    for _ in 0..2 {
        batches.next().await.unwrap();
    }
    assert_eq!(batches.next().await.unwrap_err().reason(), "STORE_CORRUPT");
    assert_eq!(store.rebuild_nodes().await.unwrap_err().reason(), "STORE_CORRUPT");
    // The refused rebuild has changed nothing.
    store.inclusion_proof(700, 1000).await.unwrap();
}

#[tokio::test]
async fn missing_hashes_and_gaps_are_damage_not_something_to_guess() {
    for cut in [
        "DELETE FROM node WHERE position >= 15",
        "DROP TRIGGER entry_is_kept; DELETE FROM entry WHERE idx >= 8",
        "UPDATE node SET hash = zeroblob(32) WHERE position = (SELECT max(position) - 1 FROM node)",
    ] {
        let place = Place::new();
        let store = place.create().await;
        store.append(0, &entries(0..10)).await.unwrap();
        store.close().await;
        meddle(&place.path(), cut).await;
        assert_eq!(reopened(&place).await.unwrap_err(), "STORE_CORRUPT", "{cut}");
    }
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..10)).await.unwrap();
    meddle(&place.path(), "DROP TRIGGER entry_is_kept; DELETE FROM entry WHERE idx = 4").await;
    assert_eq!(store.entry(4).await.unwrap_err().reason(), "STORE_CORRUPT");
    assert_eq!(store.read(0..10).next().await.unwrap_err().reason(), "STORE_CORRUPT");
}

#[tokio::test]
async fn entries_are_final_for_sql_too() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..2)).await.unwrap();
    for statement in
        ["UPDATE entry SET bytes = x'00'", "DELETE FROM entry", "UPDATE entry SET idx = 7 WHERE idx = 1"]
    {
        let mut connection =
            sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(place.path()))
                .await
                .unwrap();
        assert!(sqlx::query(statement).execute(&mut connection).await.is_err(), "{statement}");
    }
    assert_eq!(store.root_at(2).await.unwrap(), root(2));
    assert_ne!(root(2), Hash::of_empty_tree());
}
