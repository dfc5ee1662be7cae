//! The log is the truth: from its entries alone, without any derived data, everything else comes again.

use std::{collections::BTreeMap, fs, process::Command};

use breakglass::{
    domain::{
        event::{Entry, Event},
        replay::Replay,
        state::State,
    },
    grpc::v1,
    jose::Digest,
    store::{SqliteStore, StoreOptions},
};
use serde_json::json;
use testkit::wait_for;

use crate::{
    client::{Client, wait},
    world::{DEADLINE, World},
};

/// Requests in every state that lasts, and a snapshot or two on the way.
fn busy(world: &World, client: &Client) {
    let before = client.entries().unwrap().len();
    for turn in 0..20 {
        let wish = world.wish(json!({"ttl": 900}));
        wish.file(client).unwrap();
        match turn % 5 {
            0 => {}
            1 => drop(wish.approve(client, "carol/2").unwrap()),
            2 => drop(wish.deny(client, "alice/1").unwrap()),
            3 => drop(wish.withdraw(client).unwrap()),
            _ => {
                wish.approve(client, "dave/1").unwrap();
                wish.approve(client, "bob/1").unwrap();
                wish.redeem(client).unwrap();
            }
        }
    }
    wait_for("a snapshot", DEADLINE, || {
        let taken =
            |bytes: &Vec<u8>| matches!(Entry::parse(bytes).unwrap().event, Event::SnapshotTaken { .. });
        client.entries().unwrap()[before..].iter().any(taken).then_some(())
    });
}

fn view(client: &Client) -> BTreeMap<String, v1::Request> {
    client.list().unwrap().into_iter().map(|request| (request.request_id.clone(), request)).collect()
}

/// For every snapshot that the daemon took of its own state: the auditor's fold up to there is the same, byte for byte.
fn snapshots_agree(world: &World, entries: &[Vec<u8>]) -> usize {
    let mut replay = Replay::new(world.charter.digest());
    let (mut digests, mut snapshots) = (Vec::new(), 0);
    for bytes in entries {
        digests.push(Digest::of(&replay.state().to_snapshot().unwrap()));
        let entry = replay.next(bytes).unwrap();
        if let Event::SnapshotTaken { size, digest, .. } = entry.event {
            assert_eq!(digests[usize::try_from(size).unwrap()], digest, "the snapshot at {size}");
            snapshots += 1;
        }
    }
    snapshots
}

#[test]
fn without_any_derived_file_the_log_leads_to_the_identical_state() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    busy(&world, &client);
    let (requests, checkpoint) = (view(&client), client.checkpoint().unwrap());
    assert!(requests.len() >= 20);
    assert!(daemon.stop().success());
    let entries = world.entries();
    let audited = world.replay(&entries).unwrap().state().to_snapshot().unwrap();
    assert!(snapshots_agree(&world, &entries) >= 1, "the run was long enough for a snapshot");

    // Everything but the entries goes: hashes, checkpoints, snapshots, and all files beside the database.
    wait(async {
        let store = SqliteStore::open(&world.database(), StoreOptions::default()).await.unwrap();
        store.drop_derived().await.unwrap();
    });
    for file in fs::read_dir(world.path("data")).unwrap().map(|file| file.unwrap().path()) {
        if file != world.database() {
            fs::remove_file(file).unwrap();
        }
    }
    let mut folded = State::default();
    for bytes in &entries {
        folded.evolve(&Entry::parse(bytes).unwrap()).unwrap();
    }
    assert_eq!(folded.to_snapshot().unwrap(), audited, "the daemon's fold is the auditor's");

    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(view(&client), requests, "every request is as it was");
    let again = client.entries().unwrap();
    assert!(again.starts_with(&entries));
    busy(&world, &client);
    assert!(daemon.stop().success());
    let longer = world.entries();
    assert!(snapshots_agree(&world, &longer) >= 2);
    assert!(world.replay(&longer).unwrap().is_complete());
    // The checkpoint that was signed before describes a prefix of the log as it is now.
    let root = wait(async {
        let store = SqliteStore::open(&world.database(), StoreOptions::default()).await.unwrap();
        let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
        let root = store.root_at(size).await.unwrap();
        store.close().await;
        root
    });
    assert_eq!(checkpoint.lines().nth(2).unwrap(), root.to_string());
}

#[test]
fn a_start_from_a_snapshot_and_one_without_agree() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    busy(&world, &client);
    let requests = view(&client);
    daemon.kill();
    let daemon = world.start();
    assert_eq!(view(&world.client("erin/file")), requests);
    wait_for("the fold to be done again", DEADLINE, || {
        daemon.process.log().contains("the snapshot agrees with the log").then_some(())
    });
    assert!(daemon.stop().success());
    // A snapshot that somebody has changed is found out by its digest, and the whole log is folded instead.
    let edit = "UPDATE snapshot SET bytes = CAST(replace(CAST(bytes AS TEXT), 'pending', 'PENDING') AS BLOB)";
    assert!(Command::new("sqlite3").arg(world.database()).arg(edit).status().unwrap().success());
    let daemon = world.start();
    assert!(daemon.process.log().contains("folding the whole log"), "{}", daemon.process.log());
    assert_eq!(view(&world.client("erin/file")), requests);
}
