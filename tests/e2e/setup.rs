//! Setting up a daemon, also when it is interrupted: run again, each step goes on where it was.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use breakglass::store::{SqliteStore, StoreOptions};
use serde_json::json;
use tempfile::TempDir;
use testkit::{SOFTHSM_MODULE, SoftHsm, free_port, temp_dir};

use crate::{
    client::wait,
    kit,
    world::{Ports, World, configure, program, run, succeeds},
};

fn private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Power cuts spread over the run of a program.
const CUTS: u32 = 12;

/// Starts a program and kills it after so long.
fn cut_off(command: &mut Command, after: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let moment = Instant::now() + after;
    // The moment itself is what is waited for.
    while Instant::now() < moment && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// An empty place with a configuration, where setup begins.
struct Place {
    dir: TempDir,
    hsm: SoftHsm,
}

impl Place {
    fn new() -> Self {
        let (dir, hsm) = (temp_dir(), SoftHsm::new());
        configure(dir.path(), Ports { grpc: free_port(), http: free_port() });
        Self { dir, hsm }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn setup(&self) -> Command {
        let mut command = program(self.dir.path(), &self.hsm);
        command.args(["setup", "--initialise", "--origin", kit::ORIGIN, "--public"]);
        command.arg(self.path("public.json"));
        command
    }

    /// A tool that others wrote, over the same tokens.
    fn tool(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).envs([self.hsm.env()]).output().unwrap();
        succeeds(&output);
    }

    /// Runs setup again until it is finished, doing what it says where it cannot go on; how often that was.
    fn finish(&self) -> u32 {
        for removed in 0.. {
            let output = self.setup().output().unwrap();
            if output.status.success() {
                let first = fs::read(self.path("public.json")).unwrap();
                succeeds(&self.setup().output().unwrap());
                assert_eq!(fs::read(self.path("public.json")).unwrap(), first, "nothing is made twice");
                succeeds(&run(self.dir.path(), &self.hsm, &["--check"]));
                return removed;
            }
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(removed < 2, "a token each, and no more: {told}");
            let (_, rest) = told.split_once("softhsm2-util --delete-token --serial ").expect(&told);
            let serial = rest.split(';').next().unwrap();
            self.tool("softhsm2-util", &["--delete-token", "--serial", serial]);
        }
        unreachable!()
    }
}

#[test]
fn a_setup_that_ended_after_writing_a_pin_is_finished_by_the_next_and_changes_nothing_after_that() {
    let place = Place::new();
    private(&place.path("issuing.pin"), "0123456789abcdef0123456789abcdef");
    assert_eq!(place.finish(), 0);
    for name in ["issuing.pin", "log.pin", "tls.key.pem"] {
        let mode = fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Between `C_InitToken` and `C_InitPIN` nobody has the token's security officer's PIN any more: it has to go.
#[test]
fn a_token_that_got_no_user_pin_is_named_with_the_command_that_erases_it() {
    let place = Place::new();
    private(&place.path("issuing.pin"), "0123456789abcdef0123456789abcdef");
    let so_pin = "00000000000000000000000000000000";
    let init = ["--module", SOFTHSM_MODULE, "--init-token", "--slot-index", "0", "--label", "issuing"];
    place.tool("pkcs11-tool", &[init.as_slice(), &["--so-pin", so_pin]].concat());
    let output = place.setup().output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("has no user PIN: its initialisation was"), "{told}");
    let checked = run(place.dir.path(), &place.hsm, &["--check"]);
    assert!(!checked.status.success());
    assert_eq!(place.finish(), 1);
}

#[test]
fn a_token_without_keys_and_a_certificate_that_is_missing_are_made_good() {
    let place = Place::new();
    let pin = "0123456789abcdef0123456789abcdef";
    for token in ["issuing", "log"] {
        private(&place.path(&format!("{token}.pin")), pin);
        place.hsm.init_token(token, pin);
    }
    fs::write(place.path("tls.key.pem.new"), "half a k").unwrap();
    assert_eq!(place.finish(), 0);
    let public = fs::read(place.path("public.json")).unwrap();
    fs::remove_file(place.path("tls.cert.pem")).unwrap();
    fs::write(place.path("tls.cert.pem.new"), "half a c").unwrap();
    fs::remove_file(place.path("public.json")).unwrap();
    assert_eq!(place.finish(), 0);
    assert_eq!(fs::read(place.path("public.json")).unwrap(), public, "the same keys");
    assert!(!place.path("tls.cert.pem.new").exists());
}

#[test]
fn what_only_a_person_can_have_removed_is_said_and_nothing_is_made_in_its_place() {
    let place = Place::new();
    assert_eq!(place.finish(), 0);
    for (file, says) in [
        ("issuing.pin", "there is an hsm_token issuing, but no PIN file"),
        ("tls.key.pem", "there is a TLS certificate"),
    ] {
        let (here, away) = (place.path(file), place.path("away"));
        fs::rename(&here, &away).unwrap();
        let output = place.setup().output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(says) && told.contains(file), "{told}");
        assert!(!here.exists());
        fs::rename(&away, &here).unwrap();
    }
    assert_eq!(place.finish(), 0);
}

/// Ended by a power cut at moments spread over its whole run, setup is finished by running it again.
#[test]
fn a_setup_that_is_killed_at_any_moment_can_be_finished() {
    let place = Place::new();
    let begun = Instant::now();
    succeeds(&place.setup().output().unwrap());
    let whole = begun.elapsed();
    let mut removed = 0;
    for cut in 0..CUTS {
        let place = Place::new();
        cut_off(&mut place.setup(), whole * cut / CUTS);
        removed += place.finish();
    }
    println!("{CUTS} power cuts in {whole:?}: {removed} half-made tokens had to be erased");
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
    // Again: it says that this is so, and changes nothing.
    let again = run(world.dir.path(), &world.hsm, &init);
    succeeds(&again);
    assert!(String::from_utf8_lossy(&again.stdout).contains("is in force already"), "{again:?}");
    assert_eq!(world.entries(), entries);
}

/// Whatever a power cut leaves of `init`, the next one ends with one log that begins with this charter.
#[test]
fn an_init_that_is_killed_at_any_moment_can_be_run_again() {
    let world = World::new();
    let (charter, digest) = (world.path("charter.json"), world.charter.digest().to_string());
    let init = ["init", "--charter", charter.to_str().unwrap(), "--digest", &digest];
    let empty = || {
        fs::remove_dir_all(world.path("data")).unwrap();
        fs::create_dir(world.path("data")).unwrap();
    };
    empty();
    let begun = Instant::now();
    succeeds(&run(world.dir.path(), &world.hsm, &init));
    let whole = begun.elapsed();
    let mut finished = 0;
    for cut in 0..CUTS {
        empty();
        cut_off(world.breakglassd().args(init), whole * cut / CUTS);
        let again = run(world.dir.path(), &world.hsm, &init);
        if !again.status.success() {
            let told = String::from_utf8_lossy(&again.stderr);
            assert!(told.contains("exists already; a new log never replaces an old one"), "{told}");
            finished += 1;
        }
        let entries = world.entries();
        assert_eq!(entries.len(), 1, "one charter");
        world.replay(&entries).unwrap();
    }
    println!("{CUTS} power cuts in {whole:?}: after {finished} the log was there already");
}
