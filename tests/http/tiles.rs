//! The log from outside: checkpoint and tiles are enough to compute its root, and tell nothing else.

use std::collections::BTreeMap;

use breakglass::tlog::{Checkpoint, SignedCheckpoint, TileBuilder, hash_tiles_of};
use sha2::{Digest as _, Sha256};
use testkit::wait_for;

use crate::{
    client::{DEADLINE, get},
    world::World,
};

/// A checkpoint of at least `size` entries, verified.
fn checkpoint(world: &World, size: u64) -> Checkpoint {
    wait_for("a checkpoint", DEADLINE, || {
        let answer = get(world.address, "/checkpoint");
        if answer.status != 200 {
            return None;
        }
        let headers = (answer.header("content-type"), answer.header("cache-control"));
        assert_eq!(headers, (Some("text/plain; charset=utf-8"), Some("no-cache")));
        let signed: SignedCheckpoint = answer.text().parse().unwrap();
        let checkpoint = signed.verify(world.engine.verifier_key()).unwrap().clone();
        (checkpoint.size >= size).then_some(checkpoint)
    })
}

/// RFC 6962 section 2.1, over leaf hashes; slow and plain.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(middle);
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

#[test]
fn a_log_that_grows_gets_new_checkpoints_by_itself() {
    let world = World::new();
    let first = checkpoint(&world, 1);
    world.grow();
    let second = checkpoint(&world, first.size + 1);
    assert_ne!(first.root, second.root);
}

#[test]
fn tiles_lead_to_the_checkpoints_root_and_are_those_of_an_export() {
    let world = World::new();
    while world.engine.store().size() < 600 {
        world.grow();
    }
    let checkpoint = checkpoint(&world, 600);
    let mut builder = TileBuilder::default();
    let mut exported = BTreeMap::new();
    world.runtime.block_on(async {
        let mut batches = world.engine.store().read(0..checkpoint.size);
        while let Some(batch) = batches.next().await.unwrap() {
            for entry in batch {
                exported.extend(builder.push(entry).unwrap());
            }
        }
        exported.extend(builder.partial_tiles().unwrap());
    });
    let mut leaves = Vec::new();
    let mut served = 0;
    for tile in hash_tiles_of(checkpoint.size) {
        let answer = get(world.address, &format!("/{tile}"));
        let headers = (answer.header("content-type"), answer.header("cache-control"));
        assert_eq!((answer.status, headers.0), (200, Some("application/octet-stream")), "{tile}");
        assert_eq!(headers.1, Some("public, max-age=31536000, immutable"));
        assert_eq!(Some(&answer.body), exported.get(&tile), "{tile}");
        served += 1;
        if tile.level() == Some(0) {
            leaves.extend(answer.body.as_chunks::<32>().0.iter().copied());
        }
    }
    assert_eq!((served, leaves.len() as u64), (4, checkpoint.size), "three of level 0, one of level 1");
    assert_eq!(root(&leaves), *checkpoint.root.as_bytes());
}

#[test]
fn what_is_not_there_and_what_is_not_public_is_not_found() {
    let world = World::new();
    let size = world.engine.store().size();
    assert_eq!(get(world.address, &format!("/tile/0/000.p/{size}")).status, 200);
    let longer = format!("/tile/0/000.p/{}", size + 1);
    let paths = [
        "/tile/entries/000.p/1",
        "/tile/0/000",
        "/tile/1/000.p/1",
        "/tile/0/001.p/1",
        "/tile/6/x999/999",
        "/tile/7/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/01",
        "/tile/0/0",
        "/tile/0/000.p/1/",
        "/tile/-1/000",
        "/tile/0/x000/000.p/1",
        "/tile/0/../0/000.p/1",
        "/tile/",
        longer.as_str(),
    ];
    for path in paths {
        assert_eq!(get(world.address, path).status, 404, "{path}");
    }
    let entries = get(world.address, "/tile/entries/000.p/1");
    assert!(entries.text().contains("not public"), "{}", entries.text());
}
