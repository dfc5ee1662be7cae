//! Promise 6 as far as it goes today: what is killed ends at once and stays killed, whatever else is broken, and only a
//! quorum ends a kill.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use breakglass::{
    client::ClientError,
    domain::{
        event::Event,
        kill::Kills,
        replay::Replay,
        strict::{Killed, Seen, View, verify},
        time::Timestamp,
    },
    grpc::v1::{self, RequestState},
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{Client, wait},
    faults::Disk,
    kit,
    thief::database::{FORGET, UNLOCK, insert, refuses_to_start},
    world::{DEADLINE, World, canonical, now},
};

/// The payload of a kill with an id of its own.
pub fn kill(world: &World, level: &str, target: Option<&str>) -> Value {
    static KILLS: AtomicUsize = AtomicUsize::new(0);
    let nonce = kit::nonce(&format!("kill {}", KILLS.fetch_add(1, Ordering::Relaxed)));
    let plain = json!({"iss": world.charter.document().iss, "charter": world.charter.digest(), "id": nonce,
        "level": level, "reason": "Seen where it should not be"});
    target.map_or_else(|| plain.clone(), |target| kit::patch(plain.clone(), json!({"target": target})))
}

pub fn signed_kill(payload: &Value, by: &str) -> GeneralJws {
    kit::key(by).jws(Typ::Kill, &canonical(payload), now())
}

fn signed_lift(world: &World, ids: &[&str], epoch: u64, devices: &[&str]) -> GeneralJws {
    lift_under(&world.charter.digest(), world, ids, epoch, devices)
}

/// A lift under this version of the charter.
pub fn lift_under(charter: &Digest, world: &World, ids: &[&str], epoch: u64, devices: &[&str]) -> GeneralJws {
    let iss = &world.charter.document().iss;
    let payload = canonical(&json!({"iss": iss, "charter": charter, "kills": ids, "epoch": epoch}));
    let signatures = devices.iter().map(|by| kit::key(by).state(Typ::Lift, &payload, now())).collect();
    GeneralJws { payload, signatures }
}

impl Client {
    pub fn kill(&self, jws: &GeneralJws) -> Result<v1::KillResponse, ClientError> {
        let message = v1::KillRequest { jws: jws.to_json() };
        Ok(wait(self.channel().kill().kill(message))?.into_inner())
    }

    pub fn lift(&self, jws: &GeneralJws) -> Result<v1::LiftResponse, ClientError> {
        let message = v1::LiftRequest { jws: jws.to_json() };
        Ok(wait(self.channel().kill().lift(message))?.into_inner())
    }

    fn kills(&self) -> Result<v1::GetKillsResponse, ClientError> {
        Ok(wait(self.channel().kill().get_kills(v1::GetKillsRequest::default()))?.into_inner())
    }
}

/// What a verifier learns from the daemon's answer: the custodians' signatures, each verified.
fn learned(world: &World, answer: &v1::GetKillsResponse) -> Killed {
    let at = |time: &Option<prost_types::Timestamp>| {
        Timestamp::from_seconds(time.as_ref().map_or_else(now, |time| time.seconds))
    };
    let mut kills = Kills::default();
    let ended = answer.lifts.iter().flat_map(|lift| &lift.kills);
    for kill in ended.chain(&answer.kills) {
        let jws = GeneralJws::parse(&kill.jws, 32_000).unwrap();
        kills.learn(jws, &world.charter, kill.epoch, at(&kill.recorded_at)).unwrap();
    }
    for lift in &answer.lifts {
        let jws = GeneralJws::parse(&lift.jws, 32_000).unwrap();
        kills.learn_lift(jws, &world.charter, at(&lift.recorded_at)).unwrap();
    }
    Killed { as_of: now(), max_stale: 10, kills: kills.into() }
}

/// What a strict verifier says that has just asked the daemon.
fn verdict(world: &World, client: &Client, jwt: &str) -> &'static str {
    let killed = learned(world, &client.kills().unwrap());
    let audience = kit::AUD.parse().unwrap();
    let view = View {
        charter: &world.charter,
        audience: &audience,
        now: now(),
        allow_development: true,
        killed: Some(&killed),
    };
    verify(jwt, &view, &mut Seen::default()).map_or_else(|rejection| rejection.reason(), |_| "ACCEPTED")
}

#[test]
fn promise_6_what_is_killed_ends_at_once_and_stays_killed_until_a_quorum_lifts_it() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let issued = world.wish(json!({"ttl": 300}));
    let jwt = issued.grant_all(&client).unwrap();
    let pending = world.wish(json!({"ttl": 300}));
    pending.file(&client).unwrap();
    assert_eq!(verdict(&world, &client, &jwt), "ACCEPTED");

    // Whoever carries it, it is carol's.
    let payload = kill(&world, "requester", Some("erin"));
    let carols = signed_kill(&payload, "carol/1");
    let killed = client.kill(&carols).unwrap();
    assert_eq!((killed.epoch, killed.recorded), (1, true));
    assert_eq!(client.kill(&carols).unwrap().epoch, 1, "the same again is answered");
    assert_eq!(verdict(&world, &client, &jwt), "REQUESTER_KILLED");
    for (wish, state) in [(&issued, RequestState::Killed), (&pending, RequestState::Killed)] {
        assert_eq!(client.get(&wish.id().to_string()).unwrap().state(), state);
    }
    assert_eq!(pending.approve(&client, "alice/1").unwrap_err().reason, "WRONG_STATE");
    assert_eq!(issued.redeem(&client).unwrap_err().reason, "WRONG_STATE");
    assert_eq!(world.wish(json!({})).file(&client).unwrap_err().reason, "REQUESTER_KILLED");

    // A power cut, and one more with a snapshot between.
    daemon.kill();
    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(world.wish(json!({})).file(&client).unwrap_err().reason, "REQUESTER_KILLED");
    for _ in 0..30 {
        world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"})).file(&client).unwrap();
    }
    let snapshot = |client: &Client| {
        let entries = client.entries().unwrap();
        entries
            .iter()
            .any(|bytes| String::from_utf8_lossy(bytes).contains(r#""type":"snapshot_taken""#))
            .then_some(())
    };
    wait_for("a snapshot", DEADLINE, || snapshot(&client));
    daemon.kill();
    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(verdict(&world, &client, &jwt), "REQUESTER_KILLED");

    let id = payload["id"].as_str().unwrap();
    for devices in [&["alice/1"][..], &["alice/1", "alice/2"], &["alice/1", "gus/1"]] {
        assert_eq!(
            client.lift(&signed_lift(&world, &[id], 1, devices)).unwrap_err().reason,
            "LIFT_INCOMPLETE"
        );
    }
    let lift = signed_lift(&world, &[id], 1, &["alice/1", "bob/1"]);
    client.lift(&lift).unwrap();
    assert_eq!(client.lift(&lift).unwrap_err().reason, "KILL_LIFTED");
    assert_eq!(client.kill(&carols).unwrap_err().reason, "KILL_LIFTED");
    // What had ended stays ended, and what is asked for from now on is good.
    assert_eq!(verdict(&world, &client, &jwt), "REQUESTER_KILLED");
    let again = wait_for("the second of the lift to pass", DEADLINE, || {
        let wish = world.wish(json!({"ttl": 300}));
        wish.file(&client).ok().map(|_| wish)
    });
    again.approve(&client, "alice/1").unwrap();
    again.approve(&client, "bob/1").unwrap();
    assert_eq!(verdict(&world, &client, &again.redeem(&client).unwrap()), "ACCEPTED");
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

#[test]
fn promise_6_a_lockdown_stops_everything_but_kills_lifts_and_charters() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let pending = world.wish(json!({}));
    pending.file(&client).unwrap();
    // The HSM is gone, as it may be when everything burns.
    let token = world.hsm.take_away("issuing");
    let payload = kill(&world, "all", None);
    assert_eq!(client.kill(&signed_kill(&payload, "bob/1")).unwrap().epoch, 1);
    assert_eq!(pending.approve(&client, "alice/1").unwrap_err().reason, "WRONG_STATE");
    assert_eq!(world.wish(json!({})).file(&client).unwrap_err().reason, "LOCKDOWN");
    let next = crate::thief::rules::next(&world, |_| ());
    assert!(client.propose(&crate::thief::rules::signed(&next, &["alice/1"])).unwrap().is_some());
    assert_eq!(
        client.kill(&signed_kill(&kill(&world, "profile", Some("db-read")), "bob/1")).unwrap().epoch,
        2
    );
    let id = payload["id"].as_str().unwrap();
    client.lift(&signed_lift(&world, &[id], 2, &["alice/1", "dave/1"])).unwrap();
    let refused = wait_for("the lockdown to be over", DEADLINE, || {
        let refused = world.wish(json!({})).file(&client).unwrap_err().reason;
        (refused != "LOCKDOWN").then_some(refused)
    });
    assert_eq!(refused, "PROFILE_KILLED");
    token.bring_back();
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}

/// On a full disk kills and lifts go into the log's reserve, and nothing else does.
#[test]
fn promise_6_a_full_disk_does_not_keep_a_kill_out() {
    let world = World::new();
    let Some((disk, daemon)) = small(&world) else { return };
    let client = world.client("erin/file");
    let jwt = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    let ballast = fill(&world, &client, &disk);
    let payload = kill(&world, "profile", Some("db-read"));
    let killed = client.kill(&signed_kill(&payload, "alice/1")).unwrap();
    assert_eq!((killed.epoch, killed.recorded), (1, true));
    assert_eq!(verdict(&world, &client, &jwt), "PROFILE_KILLED");
    let id = payload["id"].as_str().unwrap();
    client.lift(&signed_lift(&world, &[id], 1, &["alice/1", "bob/1"])).unwrap();
    assert!(client.kills().unwrap().kills.is_empty());
    // It starts on the full disk, too, and takes the next one.
    daemon.kill();
    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(client.kills().unwrap().epoch, 1);
    let second = client.kill(&signed_kill(&kill(&world, "all", None), "bob/1")).unwrap();
    assert_eq!((second.epoch, second.recorded), (2, true));
    fs::remove_file(&ballast).unwrap();
    let starts = |client: &Client| {
        let entries = client.entries().unwrap();
        let is_start =
            |bytes: &&Vec<u8>| String::from_utf8_lossy(bytes).contains(r#""type":"daemon_started""#);
        entries.iter().filter(is_start).count()
    };
    wait_for("the start to be recorded", DEADLINE, || (starts(&client) == 2).then_some(()));
    assert!(daemon.stop().success());
    assert!(replayed(&world).is_complete());
}

/// Where even the reserve is gone, a kill is in force from memory, nothing else is decided, and the log gets it as soon as
/// it can.
#[test]
fn promise_6_a_kill_that_the_log_does_not_take_is_in_force_all_the_same() {
    let world = World::new();
    let Some((disk, daemon)) = small(&world) else { return };
    let client = world.client("erin/file");
    let open = world.wish(json!({"ttl": 300}));
    open.file(&client).unwrap();
    for entry in fs::read_dir(world.path("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".reserve") {
            fs::remove_file(path).unwrap();
        }
    }
    let ballast = fill(&world, &client, &disk);
    let payload = kill(&world, "requester", Some("dave"));
    let jws = signed_kill(&payload, "alice/1");
    let killed = wait_for("the log to be full for a kill, too", DEADLINE, || {
        let killed = client.kill(&signed_kill(&kill(&world, "requester", Some("ivan")), "alice/1")).unwrap();
        (!killed.recorded).then_some(killed)
    });
    assert!(!killed.recorded);
    let killed = client.kill(&jws).unwrap();
    assert!(!killed.recorded);
    let kills = client.kills().unwrap();
    assert!(kills.kills.iter().any(|kill| kill.jws == jws.to_json() && kill.recorded_at.is_none()));
    // Neither what it hits nor anything else.
    assert_eq!(open.approve(&client, "bob/1").unwrap_err().reason, "KILL_UNRECORDED");
    assert_eq!(world.wish(json!({})).file(&client).unwrap_err().reason, "KILL_UNRECORDED");

    fs::remove_file(&ballast).unwrap();
    wait_for("the log to take the kill", DEADLINE, || {
        client.kills().unwrap().kills.iter().all(|kill| kill.recorded_at.is_some()).then_some(())
    });
    assert_eq!(client.kill(&jws).unwrap().epoch, client.kills().unwrap().epoch);
    open.approve(&client, "bob/1").unwrap();
    assert!(daemon.stop().success());
    assert!(replayed(&world).is_complete());
}

fn replayed(world: &World) -> Replay {
    world.replay(&world.entries()).unwrap()
}

/// The world on a small disk of its own, with its daemon.
fn small(world: &World) -> Option<(Disk, crate::daemon::Daemon)> {
    let saved = fs::read(world.database()).unwrap();
    let disk = Disk::mount(world.path("data"), "8m")?;
    fs::write(world.database(), saved).unwrap();
    let daemon = world.start();
    Some((disk, daemon))
}

/// Until the log takes no request any more.
fn fill(world: &World, client: &Client, disk: &Disk) -> std::path::PathBuf {
    let ballast = disk.fill();
    let refused = wait_for("the disk to be full for the log, too", DEADLINE, || {
        world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"})).file(client).err()
    });
    assert_eq!(refused.reason, "LOG_DISK_FULL", "{refused}");
    ballast
}

/// A thief with the database and the daemon's keys can leave out and make up, but neither convinces daemon or auditor.
#[test]
fn promise_6_a_kill_or_lift_written_into_the_database_is_not_served() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let payload = kill(&world, "all", None);
    client.kill(&signed_kill(&payload, "bob/1")).unwrap();
    assert!(daemon.stop().success());
    let entries = world.entries();
    let id = payload["id"].as_str().unwrap();
    let lift = |devices: &[&str]| Event::LiftRecorded { lift: signed_lift(&world, &[id], 1, devices) };
    let by_thief = signed_kill(&kill(&world, "profile", Some("db-read")), "mallory");
    let repeated = signed_kill(&payload, "bob/1");
    let saved = fs::read(world.database()).unwrap();
    for (what, event, says) in [
        ("a lift by one", lift(&["alice/1"]), "too few have signed it"),
        ("a lift by one twice", lift(&["alice/1", "alice/2"]), "too few have signed it"),
        ("a kill by nobody", Event::KillRecorded { kill: by_thief, epoch: 2 }, "the kill in it is not valid"),
        ("a kill again", Event::KillRecorded { kill: repeated, epoch: 2 }, "repeats another"),
    ] {
        world.sql(&(UNLOCK.to_owned() + FORGET + &insert(&entries, 0, event)));
        refuses_to_start(&world, says);
        let (index, _) = world.replay(&world.entries()).map(drop).unwrap_err();
        assert_eq!(index, entries.len(), "an auditor believes {what}");
        fs::write(world.database(), &saved).unwrap();
        let _ = fs::remove_file(world.path("data/log.sqlite-wal"));
    }
    // And one with a quorum is what it says.
    world.sql(&(UNLOCK.to_owned() + FORGET + &insert(&entries, 0, lift(&["alice/1", "bob/1"]))));
    let daemon = world.start();
    assert!(world.client("erin/file").kills().unwrap().kills.is_empty());
    assert!(daemon.stop().success());
}
