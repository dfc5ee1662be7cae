//! A disk that is full, on a small file system of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use breakglass::store::{AppendError, Snapshot, SqliteStore, StoreOptions};

use crate::common::{LogKey, all, entries, root};

/// A tmpfs that is unmounted when the value is dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with the reason printed, where this process may not mount.
    fn new(kilobytes: u32) -> Option<Self> {
        let directory = testkit::temp_dir();
        let size = format!("size={kilobytes}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                println!(
                    "skipped: cannot mount a small disk: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: cannot mount a small disk: {error}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log.db")
    }

    fn filler(&self) -> PathBuf {
        self.directory.path().join("filler")
    }

    fn has_reserve(&self) -> bool {
        self.directory.path().join("log.db.reserve").exists()
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for piece in [64 * 1024, 4096, 1] {
            while filler.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a test that panics may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

fn options() -> StoreOptions {
    StoreOptions { reserve_bytes: 1024 * 1024, ..StoreOptions::default() }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, options()).await.unwrap()
}

/// Appends until the disk is full; returns the size then.
async fn append_until_full(store: &SqliteStore, batch: u64) -> u64 {
    loop {
        let size = store.size();
        match store.append(size, &entries(size..size + batch)).await {
            Ok(()) => assert!(size < 100_000, "the disk is never full"),
            Err(AppendError::Full) => {
                assert_eq!(store.size(), size);
                return size;
            }
            Err(error) => panic!("at {size}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_keeps_what_it_had_and_still_records_kills() {
    let Some(disk) = SmallDisk::new(8 * 1024) else { return };
    let store = SqliteStore::create(&disk.path(), options()).await.unwrap();
    fs::write(disk.filler(), vec![0; 3 * 1024 * 1024]).unwrap();
    append_until_full(&store, 100).await;
    disk.fill();
    // What a refused batch had taken in the write-ahead log still has room for small ones.
    let mut size = append_until_full(&store, 1).await;
    for _ in 0..3 {
        assert!(matches!(store.append(size, &entries(size..size + 1)).await, Err(AppendError::Full)));
    }
    assert_eq!((store.size(), store.frontier().root()), (size, root(size)));
    assert_eq!(all(&store).await, entries(0..size));
    assert!(disk.has_reserve());

    for _ in 0..8 {
        store.append_reserved(size, &entries(size..size + 1)).await.unwrap();
        size += 1;
    }
    assert!(!disk.has_reserve());
    // The space that was freed belongs to kills: nothing else gets any of it.
    assert!(matches!(store.append(size, &entries(size..size + 1)).await, Err(AppendError::Full)));
    let snapshot = Snapshot { size, root: root(size), digest: [0; 32], bytes: vec![0; 1000] };
    assert_eq!(store.put_snapshot(&snapshot).await.unwrap_err().reason(), "STORE_FULL");
    let checkpoint = LogKey::new().sign_newest(&store);
    assert_eq!(store.put_checkpoint(&checkpoint).await.unwrap_err().reason(), "STORE_FULL");
    assert!(matches!(
        store.append_reserved(size - 1, &entries(0..1)).await,
        Err(AppendError::Conflict { actual, .. }) if actual == size
    ));

    disk.make_room();
    store.append(size, &entries(size..size + 1)).await.unwrap();
    assert!(disk.has_reserve(), "the reserve is put back as soon as there is room");
    store.put_snapshot(&snapshot).await.unwrap();
    store.close().await;
    let store = open(&disk.path()).await;
    assert_eq!(all(&store).await, entries(0..size + 1));
}

#[tokio::test]
async fn a_daemon_starts_on_a_full_disk_and_records_kills() {
    let Some(disk) = SmallDisk::new(6 * 1024) else { return };
    let store = SqliteStore::create(&disk.path(), options()).await.unwrap();
    store.append(0, &entries(0..500)).await.unwrap();
    store.close().await;
    disk.fill();
    let store = open(&disk.path()).await;
    assert_eq!(all(&store).await, entries(0..500));
    assert!(matches!(store.append(500, &entries(500..501)).await, Err(AppendError::Full)));
    store.append_reserved(500, &entries(500..501)).await.unwrap();
    // Ended without a farewell, on a disk that is still full.
    drop(store);
    disk.fill();
    let store = open(&disk.path()).await;
    assert_eq!(store.frontier().root(), root(501));
    disk.make_room();
    store.append(501, &entries(501..502)).await.unwrap();
    assert_eq!(all(&store).await, entries(0..502));
}
