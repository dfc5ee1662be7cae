//! Appending, reading and proving, with nothing going wrong.

use breakglass::store::{AppendError, SqliteStore, StoreOptions};
use breakglass::tlog::{leaf_hash, verify_consistency, verify_inclusion};

use crate::common::{Place, all, entries, root};

#[tokio::test]
async fn what_is_appended_is_there_byte_for_byte_and_after_reopening() {
    let place = Place::new();
    let store = place.create().await;
    let mut size = 0;
    for batch in [1, 2, 0, 700, 1, 40] {
        store.append(size, &entries(size..size + batch)).await.unwrap();
        size += batch;
        assert_eq!(store.size(), size);
        assert_eq!(store.frontier().root(), root(size));
    }
    assert_eq!(all(&store).await, entries(0..size));
    drop(store);
    let store = place.open().await;
    assert_eq!(store.frontier().root(), root(size));
    assert_eq!(all(&store).await, entries(0..size));
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.entry(5).await.unwrap(), entries(5..6)[0]);
    assert_eq!(store.entry(size).await.unwrap_err().reason(), "LOG_INDEX_OUT_OF_RANGE");
    assert!(store.read(0..size + 1).next().await.is_err());
}

#[tokio::test]
async fn entries_are_bytes_not_text() {
    let place = Place::new();
    let store = place.create().await;
    let odd = vec![vec![], vec![0], vec![0xff; 65_535], b"\0'\"\xc3".to_vec(), vec![]];
    store.append(0, &odd).await.unwrap();
    store.append(5, &[vec![]]).await.unwrap();
    assert_eq!(all(&store).await, [odd, vec![vec![]]].concat());
}

#[tokio::test]
async fn an_append_that_expects_another_size_changes_nothing() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..3)).await.unwrap();
    for expected in [0, 2, 4] {
        let refused = store.append(expected, &entries(3..4)).await.unwrap_err();
        assert!(matches!(refused, AppendError::Conflict { actual: 3, .. }), "{refused}");
    }
    let refused = store.append(3, &[vec![0; 10], vec![0; 65_536]]).await.unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { position: 1, bytes: 65_536 }), "{refused}");
    assert_eq!(store.frontier().root(), root(3));
    store.append(3, &entries(3..4)).await.unwrap();
}

#[tokio::test]
async fn of_many_appends_at_one_size_one_wins() {
    let place = Place::new();
    let store = std::sync::Arc::new(place.create().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { store.append(0, &entries(0..2)).await.is_ok() });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!((won, store.size()), (1, 2));
}

#[tokio::test]
async fn proofs_of_the_store_verify() {
    let place = Place::new();
    let store = place.create().await;
    store.append(0, &entries(0..150)).await.unwrap();
    for size in [1, 2, 77, 128, 149, 150] {
        let at_size = store.root_at(size).await.unwrap();
        assert_eq!(at_size, root(size));
        for index in [0, 1, 76, 127, 149].into_iter().filter(|index| *index < size) {
            let proof = store.inclusion_proof(index, size).await.unwrap();
            let leaf = leaf_hash(&store.entry(index).await.unwrap());
            verify_inclusion(&leaf, index, size, &proof, &at_size).unwrap();
        }
        let proof = store.consistency_proof(size, 150).await.unwrap();
        verify_consistency(size, &at_size, 150, &root(150), &proof).unwrap();
    }
    assert_eq!(store.root_at(151).await.unwrap_err().reason(), "LOG_INDEX_OUT_OF_RANGE");
    assert_eq!(store.inclusion_proof(0, 151).await.unwrap_err().reason(), "LOG_INDEX_OUT_OF_RANGE");
}

#[tokio::test]
async fn subscribers_hear_of_durable_appends() {
    let place = Place::new();
    let store = place.create().await;
    let mut heard = store.subscribe();
    store.append(0, &entries(0..3)).await.unwrap();
    heard.changed().await.unwrap();
    assert_eq!(heard.borrow().size(), 3);
}

#[tokio::test]
async fn a_log_is_never_created_by_opening_nor_replaced_by_creating() {
    let place = Place::new();
    let missing = SqliteStore::open(&place.path(), StoreOptions::default()).await.unwrap_err();
    assert_eq!(missing.reason(), "STORE_MISSING");
    place.create().await.close().await;
    let taken = SqliteStore::create(&place.path(), StoreOptions::default()).await.unwrap_err();
    assert_eq!(taken.reason(), "STORE_EXISTS");
}
