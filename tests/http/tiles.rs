//! The log from outside: its checkpoint.

use breakglass::tlog::SignedCheckpoint;

use crate::{client::get, world::World};

#[test]
fn the_checkpoint_is_signed_and_of_this_log() {
    let world = World::new();
    world.token("one");
    let answer = get(world.address, "/checkpoint");
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.header("cache-control")),
        (200, Some("text/plain; charset=utf-8"), Some("no-cache"))
    );
    let signed: SignedCheckpoint = answer.text().parse().unwrap();
    let checkpoint = signed.verify(world.engine.verifier_key()).unwrap();
    let root = world.runtime.block_on(world.engine.store().root_at(checkpoint.size)).unwrap();
    assert!(checkpoint.size > 0 && checkpoint.root == root, "{checkpoint:?}");
}
