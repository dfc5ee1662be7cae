//! Setting up a daemon, also when it is interrupted: run again, each step goes on where it was.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use breakglass::store::{SqliteStore, StoreOptions};
use serde_json::json;
use testkit::{SoftHsm, free_port, temp_dir};

use crate::{
    client::wait,
    kit,
    world::{Ports, World, configure, run, succeeds},
};

fn private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_setup_that_ended_after_writing_a_pin_is_finished_by_the_next_and_changes_nothing_after_that() {
    let (dir, hsm) = (temp_dir(), SoftHsm::new());
    configure(dir.path(), Ports { grpc: free_port(), http: free_port() });
    private(&dir.path().join("issuing.pin"), "0123456789abcdef0123456789abcdef");
    let public = dir.path().join("public.json");
    let setup = ["setup", "--initialise", "--origin", kit::ORIGIN, "--public", public.to_str().unwrap()];
    succeeds(&run(dir.path(), &hsm, &setup));
    let first = fs::read(&public).unwrap();
    for name in ["issuing.pin", "log.pin", "tls.key.pem"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    succeeds(&run(dir.path(), &hsm, &setup));
    assert_eq!(fs::read(&public).unwrap(), first, "nothing is made twice");
    succeeds(&run(dir.path(), &hsm, &["--check"]));
}

#[test]
fn an_init_that_ended_early_is_finished_by_the_next_and_never_replaces_a_log() {
    let world = World::new();
    let (charter, digest) = (world.path("charter.json"), world.charter.digest().to_string());
    let init = ["init", "--charter", charter.to_str().unwrap(), "--digest", &digest];
    for file in fs::read_dir(world.path("data")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    wait(async {
        let store = SqliteStore::create(&world.database(), StoreOptions::default()).await.unwrap();
        store.close().await;
    });
    let Err(log) = world.try_start(&[]) else { panic!("a log without a charter is served") };
    assert!(log.contains("the log has no charter; run breakglassd init"), "{log}");
    succeeds(&run(world.dir.path(), &world.hsm, &init));
    let daemon = world.start();
    world.verify(&world.wish(json!({})).grant_all(&world.client("erin/file")).unwrap()).unwrap();
    assert!(daemon.stop().success());
    let entries = world.entries();
    let again = run(world.dir.path(), &world.hsm, &init);
    let told = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && told.contains("exists already; a new log never replaces an old one"),
        "{told}"
    );
    assert_eq!(world.entries(), entries);
}
