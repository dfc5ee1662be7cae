//! What fails around the daemon: the HSM, the disk, its own process. Each gets a clear answer, and nothing is lost.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use breakglass::{grpc::v1::RequestState, jose::Typ};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use testkit::wait_for;

use crate::{
    client::wait,
    daemon::get,
    world::{DEADLINE, World},
};

#[test]
fn an_hsm_that_goes_away_holds_a_request_up_and_one_that_comes_back_issues_it() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let token = world.hsm.take_away("issuing");

    assert_eq!(wish.approve(&client, "bob/1").unwrap().state(), RequestState::Authorized);
    let error = client.redeem(&wish.statement("erin/file", Typ::Redeem), 1500).unwrap_err();
    assert_eq!((error.reason.as_str(), error.metadata["state"].as_str()), ("NOT_ISSUED_YET", "authorized"));
    let readiness = |expected| {
        wait_for("the daemon to see how its HSM is", DEADLINE, || {
            let (status, body) = get(world.ports().http, "/readyz");
            (status == expected).then(|| serde_json::from_str::<Value>(&body).unwrap())
        })
    };
    assert_eq!(readiness(503)["obstacles"][0]["reason"], "ISSUING_DEVICE");
    let waiting = world.wish(json!({}));
    waiting.file(&client).unwrap();
    let authorized = client.entries().unwrap();

    token.bring_back();
    let jwt = wish.redeem(&client).unwrap();
    let claims = world.verify(&jwt).unwrap().claims;
    let index = usize::try_from(claims.breakglass.log.index).unwrap();
    assert!(index < authorized.len(), "what was authorized without the HSM is what was signed with it");
    waiting.approve(&client, "alice/1").unwrap();
    waiting.approve(&client, "bob/1").unwrap();
    world.verify(&waiting.redeem(&client).unwrap()).unwrap();
    readiness(200);
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

#[test]
fn a_second_daemon_on_the_same_log_is_refused_and_told_why() {
    let world = World::new();
    let daemon = world.start();
    let pid = daemon.process.id();
    let first = world.ports();
    world.other_ports();
    let Err(log) = world.try_start(&[]) else { panic!("two daemons run on one database") };
    assert!(log.contains(&format!("another daemon (process {pid}) has the log")), "{log}");
    assert!(log.contains("one daemon per SQLite file"), "{log}");
    world.set_ports(first);
    let client = world.client("erin/file");
    world.verify(&world.wish(json!({})).grant_all(&client).unwrap()).unwrap();
    daemon.kill();
    let _daemon = world.start();
    let client = world.client("erin/file");
    world.verify(&world.wish(json!({})).grant_all(&client).unwrap()).unwrap();
}

#[test]
fn sigterm_lets_calls_finish_and_leaves_a_whole_log() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({}));
    wish.file(&client).unwrap();
    let acknowledged = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut filed = Vec::new();
            loop {
                let wish = world.wish(json!({}));
                match wish.file(&client).and_then(|_| wish.withdraw(&client)) {
                    Ok(_) => filed.push(wish.id().to_string()),
                    Err(error) => {
                        assert!(error.is_uncertain() || error.is_unreachable(), "{error:?}");
                        return filed;
                    }
                }
            }
        });
        wait_for("some load", DEADLINE, || (client.entries().unwrap().len() > 20).then_some(()));
        let begun = Instant::now();
        let log = daemon.process.log_path().to_owned();
        assert!(daemon.stop().success());
        assert!(begun.elapsed() < Duration::from_secs(12), "it drains within its limit");
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("what is queued is still decided") && !log.contains("ERROR"), "{log}");
        worker.join().unwrap()
    });
    let entries = world.entries();
    let state = world.replay(&entries).unwrap();
    assert!(state.is_complete());
    for id in acknowledged {
        assert!(state.state().closed(&id.parse().unwrap()).is_some(), "{id} was acknowledged");
    }
    let wal = world.path("data/log.sqlite-wal");
    assert!(fs::metadata(&wal).map_or(0, |wal| wal.len()) == 0, "an orderly end leaves one whole file");
}

/// Nothing is signed that is not under a signed checkpoint: without the log's key a request waits, too.
#[test]
fn promise_4_a_log_key_that_goes_away_holds_a_request_up() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let token = world.hsm.take_away("log");
    assert_eq!(wish.approve(&client, "bob/1").unwrap().state(), RequestState::Authorized);
    let error = client.redeem(&wish.statement("erin/file", Typ::Redeem), 1500).unwrap_err();
    assert_eq!(error.reason, "NOT_ISSUED_YET");
    token.bring_back();
    world.verify(&wish.redeem(&client).unwrap()).unwrap();
    assert!(daemon.stop().success());
}

#[test]
fn a_database_that_another_program_holds_is_said_to_be_busy_and_nothing_latches() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let options = SqliteConnectOptions::new().filename(world.database());
    let mut other = wait(options.connect()).unwrap();
    wait(sqlx::query("BEGIN IMMEDIATE").execute(&mut other)).unwrap();
    let wish = world.wish(json!({}));
    assert_eq!(wish.file(&client).unwrap_err().reason, "LOG_BUSY");
    wait(sqlx::query("ROLLBACK").execute(&mut other)).unwrap();
    wait(other.close()).unwrap();
    world.verify(&wish.grant_all(&client).unwrap()).unwrap();
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// A small file system of its own, if this machine lets us.
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(at: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => return Some(Self(at)),
            Ok(output) => println!("skipped: mount says {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => println!("skipped: mount cannot be run: {error}"),
        }
        None
    }

    /// Takes what is left of the space.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Without a record there is no token: on a full disk the last approval is refused, the HSM is not asked, and what was
/// there stays. With space again, the same approval completes the quorum, without a restart.
#[test]
fn promise_4_a_full_disk_issues_nothing_and_forgets_nothing() {
    let world = World::new();
    let data = world.path("data");
    let saved = fs::read(world.database()).unwrap();
    let Some(disk) = Disk::mount(data, "8m") else { return };
    fs::write(world.database(), saved).unwrap();
    let daemon = world.start();
    let client = world.client("erin/file");
    let issued = world.wish(json!({"ttl": 300}));
    let jwt = issued.grant_all(&client).unwrap();
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let before = client.entries().unwrap();

    let ballast = disk.fill();
    let refused = wait_for("the disk to be full for the log, too", DEADLINE, || {
        // What the write-ahead log still has room for is used up by requests that nobody needs.
        world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"})).file(&client).err()
    });
    assert_eq!(refused.reason, "LOG_DISK_FULL", "{refused}");
    let error = wish.approve(&client, "bob/1").unwrap_err();
    assert_eq!(error.reason, "LOG_DISK_FULL");
    assert_eq!(client.get(&wish.id().to_string()).unwrap().state(), RequestState::Pending);
    assert_eq!(wish.redeem(&client).unwrap_err().reason, "NOT_ISSUED_YET");
    assert!(client.entries().unwrap().starts_with(&before), "what it had, it has");
    assert_eq!(issued.redeem(&client).unwrap_err().reason, "LOG_DISK_FULL", "each release is an entry, too");
    let readiness = |expected| {
        wait_for("the daemon to see how its disk is", DEADLINE, || {
            (get(world.ports().http, "/readyz").0 == expected).then_some(())
        });
    };
    readiness(503);

    fs::remove_file(&ballast).unwrap();
    wish.approve(&client, "bob/1").unwrap();
    world.verify(&wish.redeem(&client).unwrap()).unwrap();
    assert_eq!(issued.redeem(&client).unwrap(), jwt);
    readiness(200);
    assert!(daemon.stop().success());
    let entries = world.entries();
    assert!(entries.starts_with(&before), "and it still has it");
    assert!(world.replay(&entries).unwrap().is_complete());
}

#[test]
fn a_configuration_or_an_hsm_that_is_wrong_is_said_before_anything_is_served() {
    let world = World::new();
    let config = fs::read_to_string(world.path("breakglassd.toml")).unwrap();
    let says = |changed: String, expected: &str| {
        fs::write(world.path("breakglassd.toml"), changed).unwrap();
        let output = world.breakglassd().output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(expected), "{told}");
    };
    says(config.replace("data_dir", "data_folder"), "unknown field `data_folder`");
    says(config.replace("\"issuing\"", "\"log\""), "an hsm_token of its own");
    says(config.replace("\"issuing\"", "\"issueing\""), "the hsm_token issueing cannot be opened");
    says(config.replace("data_dir = \"data\"", "data_dir = \"elsewhere\""), "there is no log at");
    says(config.replace("issuing.pin", "log.pin"), "PIN");
    fs::write(world.path("breakglassd.toml"), config).unwrap();
    let (charter, digest) = (world.path("charter.json"), format!("-{}", "A".repeat(42)));
    let mut init = world.breakglassd();
    let output = init.args(["init", "--digest", &digest, "--charter"]).arg(charter).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("pinned"), "a digest that begins with a hyphen is a digest: {told}");
}
