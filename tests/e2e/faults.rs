//! What fails around the daemon: the HSM, the disk, its own process. Each gets a clear answer, and nothing is lost.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use breakglass::{grpc::v1::RequestState, jose::Typ};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    daemon::get,
    world::{DEADLINE, World},
};

/// The directory of the `hsm_token` with this label, as `SoftHSM` keeps it.
fn token_dir(world: &World, label: &str) -> PathBuf {
    let mut tokens = fs::read_dir(world.hsm.tokens()).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &PathBuf| {
        let object = fs::read(path.join("token.object")).unwrap();
        object.windows(label.len()).any(|window| window == label.as_bytes())
    };
    tokens.find(holds).unwrap()
}

#[test]
fn an_hsm_that_goes_away_holds_a_request_up_and_one_that_comes_back_issues_it() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let (here, away) = (token_dir(&world, "issuing"), world.path("away"));
    fs::rename(&here, &away).unwrap();

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

    fs::rename(&away, &here).unwrap();
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
                        let expected = ["STOPPING", "TRANSPORT", "SERVER_UNREACHABLE"];
                        assert!(expected.contains(&error.reason.as_str()), "{error:?}");
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
