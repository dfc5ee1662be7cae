//! Exports: complete, resumable, and read back only if every byte fits.

use std::fs;
use std::path::{Path, PathBuf};

use breakglass::store::{ExportDirectory, ExportReport, SqliteStore, StoreError};
use breakglass::tlog::SignedCheckpoint;

use crate::common::{LogKey, Place, entries, root};

async fn exported(size: u64) -> (Place, SqliteStore, ExportDirectory, SignedCheckpoint) {
    let (place, key) = (Place::new(), LogKey::new());
    let store = place.create().await;
    store.append(0, &entries(0..size)).await.unwrap();
    let directory = ExportDirectory::at(&place.directory().join("export"));
    let checkpoint = key.sign_newest(&store);
    store.export(&directory, checkpoint.clone()).await.unwrap();
    (place, store, directory, checkpoint)
}

/// Everything an auditor does before he replays: checkpoint, signature, entries, tiles.
fn read(directory: &ExportDirectory) -> Result<Vec<Vec<u8>>, StoreError> {
    let checkpoint = directory.checkpoint()?.unwrap();
    let mut reader = directory.read(checkpoint.verify(&LogKey::new().verifier)?.clone());
    let mut entries = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        entries.extend(batch);
    }
    Ok(entries)
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn an_export_has_the_files_of_the_spec_and_comes_back() {
    for size in [0, 1, 255, 256, 257, 700] {
        let (place, _store, directory, _) = exported(size).await;
        assert_eq!(read(&directory).unwrap(), entries(0..size), "{size}");
        if size == 700 {
            let root = place.directory().join("export");
            let names: Vec<_> = files(&root)
                .iter()
                .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
                .collect();
            assert_eq!(
                names,
                [
                    "checkpoint",
                    "tile/0/000",
                    "tile/0/001",
                    "tile/0/002.p/188",
                    "tile/1/000.p/2",
                    "tile/entries/000",
                    "tile/entries/001",
                    "tile/entries/002.p/188",
                ]
            );
        }
    }
}

#[tokio::test]
async fn an_export_resumes_and_grows() {
    let (_place, store, directory, checkpoint) = exported(700).await;
    let again = store.export(&directory, checkpoint.clone()).await.unwrap();
    assert_eq!(again, ExportReport { written: 0, kept: 8 });
    // Interrupted: a full tile and the checkpoint are missing, a leftover of a torn write is there.
    let lost = directory.file_of("tile/entries/001".parse().unwrap());
    fs::remove_file(&lost).unwrap();
    fs::write(lost.with_extension("new"), b"half").unwrap();
    let again = store.export(&directory, checkpoint.clone()).await.unwrap();
    assert_eq!(again, ExportReport { written: 1, kept: 7 });
    assert_eq!(read(&directory).unwrap(), entries(0..700));
    store.append(700, &entries(700..1000)).await.unwrap();
    store.export(&directory, LogKey::new().sign_newest(&store)).await.unwrap();
    assert_eq!(read(&directory).unwrap(), entries(0..1000));
    // The longer copy is not replaced by the shorter one.
    let refused = store.export(&directory, checkpoint).await.unwrap_err();
    assert_eq!(refused.reason(), "EXPORT_INVALID");
    assert_eq!(read(&directory).unwrap(), entries(0..1000));
}

#[tokio::test]
async fn an_export_of_another_history_is_evidence_and_not_overwritten() {
    let (_place, _store, directory, checkpoint) = exported(300).await;
    let other = Place::new();
    let other_store = other.create().await;
    other_store.append(0, &entries(1..400)).await.unwrap();
    let refused = other_store.export(&directory, LogKey::new().sign_newest(&other_store)).await.unwrap_err();
    assert_eq!(refused.reason(), "EXPORT_INVALID");
    assert_eq!(directory.checkpoint().unwrap(), Some(checkpoint));
    let refused =
        other_store.export(&ExportDirectory::at(other.directory()), LogKey::new().sign(399, root(399))).await;
    assert_eq!(refused.unwrap_err().reason(), "STORE_ROOT_MISMATCH");
}

#[tokio::test]
async fn every_flipped_byte_of_an_export_is_noticed() {
    let (place, _store, directory, _) = exported(300).await;
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for file in files(&place.directory().join("export")) {
        let original = fs::read(&file).unwrap();
        // Every byte of small files, and of large ones a sample that moves with the position.
        for at in (0..original.len()).step_by(if original.len() > 1024 { 61 } else { 1 }) {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&file, &bytes).unwrap();
            let noticed = read(&directory).expect_err(&format!("byte {at} of {}", file.display()));
            *reasons.entry(noticed.reason()).or_default() += 1;
        }
        for bytes in [&original[..original.len() - 1], &[original.as_slice(), &[0]].concat(), &[]] {
            fs::write(&file, bytes).unwrap();
            assert!(read(&directory).is_err(), "another length of {}", file.display());
        }
        fs::remove_file(&file).unwrap();
        if file.ends_with("checkpoint") {
            assert_eq!(directory.checkpoint().unwrap(), None);
        } else {
            assert!(read(&directory).is_err(), "without {}", file.display());
        }
        fs::write(&file, &original).unwrap();
    }
    assert_eq!(read(&directory).unwrap(), entries(0..300));
    assert!(reasons.contains_key("EXPORT_ENTRY_CHANGED"), "{reasons:?}");
}

#[tokio::test]
async fn a_changed_entry_is_named() {
    let (_place, _store, directory, _) = exported(600).await;
    let bundle = directory.file_of("tile/entries/001".parse().unwrap());
    let mut bytes = fs::read(&bundle).unwrap();
    let text = "{\"entry\":400";
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at] = b'[';
    fs::write(&bundle, bytes).unwrap();
    let noticed = read(&directory).unwrap_err();
    assert!(matches!(noticed, StoreError::ExportEntry(400)), "{noticed}");
}

#[tokio::test]
async fn entries_and_hashes_changed_together_do_not_reach_the_root() {
    let (_place, _store, directory, _) = exported(600).await;
    let other = Place::new();
    let store = other.create().await;
    store.append(0, &entries(1..601)).await.unwrap();
    let forged = ExportDirectory::at(&other.directory().join("export"));
    store.export(&forged, LogKey::new().sign_newest(&store)).await.unwrap();
    // A complete other log under the checkpoint of this one.
    fs::copy(
        directory.file_of("tile/0/000".parse().unwrap()).ancestors().nth(3).unwrap().join("checkpoint"),
        other.directory().join("export/checkpoint"),
    )
    .unwrap();
    assert_eq!(read(&forged).unwrap_err().reason(), "STORE_ROOT_MISMATCH");
}
