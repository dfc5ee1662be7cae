//! Kills over gRPC: who may carry one, that no quota of other calls keeps one out, and what a watch tells.

use std::num::NonZeroU32;

use breakglass::client::kills::{Follower, News};
use breakglass::client::{Channel, ClientError};
use breakglass::engine::quota::Rate;
use breakglass::grpc::api;
use breakglass::grpc::front::Rates;
use breakglass::grpc::v1::{self, watch_kills_response::Event};
use breakglass::jose::{Digest, GeneralJws, Typ, b64, json};
use serde_json::{Value, json};
use tonic::{Code, Streaming};

use crate::support::within;
use crate::world::{World, jws, now, with_world, with_world_as};

/// A kill of this level by alice's device, with an id from a tag.
pub fn kill(world: &World, level: &str, target: Option<&str>, tag: u8) -> Vec<u8> {
    kill_by(world, "alice", level, target, tag)
}

fn kill_by(world: &World, by: &str, level: &str, target: Option<&str>, tag: u8) -> Vec<u8> {
    let mut payload = json!({"iss": "https://issuer.example", "charter": world.charter.digest(),
        "id": id(tag), "level": level, "reason": "seen where it should not be"});
    if let Some(target) = target {
        payload["target"] = json!(target);
    }
    jws(json::canonical(&payload).unwrap(), &[(&world.keys[by], Typ::Kill, now())])
}

fn id(tag: u8) -> String {
    b64::encode(&[tag; 16])
}

fn lift(world: &World, tags: &[u8], epoch: u64, by: &[&str]) -> Vec<u8> {
    let kills: Vec<String> = tags.iter().map(|tag| id(*tag)).collect();
    let payload: Value = json!({"iss": "https://issuer.example", "charter": world.charter.digest(),
        "kills": kills, "epoch": epoch});
    let signers: Vec<_> = by.iter().map(|name| (&world.keys[*name], Typ::Lift, now())).collect();
    jws(json::canonical(&payload).unwrap(), &signers)
}

pub async fn send(channel: &Channel, jws: Vec<u8>) -> Result<v1::KillResponse, ClientError> {
    Ok(channel.kill().kill(v1::KillRequest { jws }).await?.into_inner())
}

async fn next(stream: &mut Streaming<v1::WatchKillsResponse>) -> Event {
    within(stream.message()).await.unwrap().unwrap().event.unwrap()
}

async fn watch(channel: &Channel, after: Option<v1::KillHead>) -> Streaming<v1::WatchKillsResponse> {
    channel
        .kill()
        .watch_kills(v1::WatchKillsRequest { after, gate: String::new() })
        .await
        .unwrap()
        .into_inner()
}

#[test]
fn a_watch_tells_what_is_killed_and_then_what_comes() {
    with_world("kill::a_watch_tells_what_is_killed_and_then_what_comes", |world| async move {
        let channel = world.connect("dave").await;
        let first = kill(&world, "requester", Some("eve"), 1);
        send(&channel, first.clone()).await.unwrap();
        let mut events = watch(&channel, None).await;
        assert!(matches!(next(&mut events).await, Event::Snapshot(_)));
        let Event::Kill(told) = next(&mut events).await else { panic!("not the kill") };
        assert_eq!((told.jws, told.epoch), (first, 1));
        let Event::Heartbeat(beat) = next(&mut events).await else { panic!("not a heartbeat") };
        assert_eq!(beat.epoch, 1);
        assert_eq!(beat.head, told.head);
        let first_head = beat.head;

        let second = kill(&world, "all", None, 2);
        send(&world.connect("eve").await, second.clone()).await.unwrap();
        let Event::Kill(told) = next(&mut events).await else { panic!("not the second kill") };
        assert_eq!((told.jws, told.epoch), (second.clone(), 2));
        assert!(matches!(next(&mut events).await, Event::Heartbeat(beat) if beat.epoch == 2));
        let lifted = lift(&world, &[2], 2, &["alice", "bob"]);
        let answer = channel.kill().lift(v1::LiftRequest { jws: lifted.clone() }).await.unwrap().into_inner();
        assert_eq!(answer.epoch, 2);
        let Event::Lift(told) = next(&mut events).await else { panic!("not the lift") };
        assert_eq!(told.jws, lifted);
        assert_eq!(told.kills.iter().map(|kill| kill.jws.clone()).collect::<Vec<_>>(), [second]);

        // Whoever comes back is told what he missed, and the lifts.
        let mut again = watch(&channel, first_head.clone()).await;
        assert!(matches!(next(&mut again).await, Event::Kill(kill) if kill.epoch == 2));
        assert!(matches!(next(&mut again).await, Event::Lift(_)));
        let Event::Heartbeat(beat) = next(&mut again).await else { panic!("not a heartbeat") };
        assert_eq!((beat.epoch, beat.head.clone().map(|head| head.step)), (2, Some(3)));
        // Whoever names a head of another chain is shown all, and all that is in force.
        let digest = vec![7; 32];
        let mut other = watch(&channel, Some(v1::KillHead { step: 1, digest })).await;
        assert!(matches!(next(&mut other).await, Event::Snapshot(_)));
        assert!(matches!(next(&mut other).await, Event::Lift(_)));
        assert!(matches!(next(&mut other).await, Event::Kill(kill) if kill.epoch == 1));
        let Event::Heartbeat(same) = next(&mut other).await else { panic!("not a heartbeat") };
        assert_eq!(same.head, beat.head);
        // Heartbeats come by themselves.
        assert!(matches!(next(&mut again).await, Event::Heartbeat(_)));
    });
}

#[test]
fn kills_are_refused_with_reasons_and_listed_with_signatures() {
    with_world("kill::kills_are_refused_with_reasons_and_listed_with_signatures", |world| async move {
        let channel = world.connect("dave").await;
        let refused = async |jws: Vec<u8>| {
            let error = send(&channel, jws).await.unwrap_err();
            (error.code, error.reason)
        };
        let by_dave = kill_by(&world, "dave.tls", "all", None, 1);
        assert_eq!(refused(by_dave).await, (Code::PermissionDenied, "NO_KILL_RIGHT".into()));
        let unknown = kill(&world, "profile", Some("dbb"), 1);
        assert_eq!(refused(unknown).await, (Code::NotFound, "KILL_TARGET_UNKNOWN".into()));
        assert_eq!(refused(b"{}".to_vec()).await.0, Code::InvalidArgument);
        let stranger = world.connect("stranger").await;
        let error = send(&stranger, kill(&world, "all", None, 1)).await.unwrap_err();
        assert_eq!(error.code, Code::Unauthenticated);

        let token = Digest::of(b"some token").to_string();
        for (tag, level, target) in [(1, "jti", Some(token.as_str())), (2, "profile", Some("db"))] {
            let killed = send(&channel, kill(&world, level, target, tag)).await.unwrap();
            assert_eq!((killed.id, killed.epoch, killed.recorded), (id(tag), u64::from(tag), true));
        }
        assert_eq!(
            refused(kill(&world, "all", None, 2)).await,
            (Code::AlreadyExists, "KILL_ID_REUSED".into())
        );
        let get = async |request_ids: Vec<String>| {
            let message = v1::GetKillsRequest { request_ids };
            channel.kill().get_kills(message).await.unwrap().into_inner()
        };
        let all = get(vec![]).await;
        assert_eq!((all.epoch, all.kills.len(), all.single_kills), (2, 2, 1));
        assert_eq!(get(vec![token]).await.kills.len(), 2);
        let other = get(vec![Digest::of(b"another").to_string()]).await;
        let shown: Vec<GeneralJws> =
            other.kills.iter().map(|kill| GeneralJws::parse(&kill.jws, 32_000).unwrap()).collect();
        assert_eq!(shown.len(), 1, "that of the profile");
        let kid = shown[0].signatures[0].header().kid;
        assert_eq!(world.charter.holder(&kid).unwrap().principal.as_str(), "alice");
        let one = channel.kill().lift(v1::LiftRequest { jws: lift(&world, &[2], 2, &["bob"]) }).await;
        assert_eq!(ClientError::from(one.unwrap_err()).reason, "LIFT_INCOMPLETE");
        assert_eq!(get(vec![]).await.kills.len(), 2);
    });
}

/// The client's own follower, over the wire.
#[test]
fn a_follower_chains_over_the_wire_and_resumes() {
    with_world("kill::a_follower_chains_over_the_wire_and_resumes", |world| async move {
        let channel = world.connect("dave").await;
        let mut follower = Follower::default();
        let until_complete = async |follower: &mut Follower, steps: u64| {
            let request = follower.request();
            let mut events = channel.kill().watch_kills(request).await.unwrap().into_inner();
            loop {
                let message = within(events.message()).await.unwrap().unwrap();
                let news = follower.take(message, &world.charter, now()).unwrap();
                if news == News::Complete && follower.kills().head().step == steps {
                    return;
                }
            }
        };
        send(&channel, kill(&world, "requester", Some("eve"), 1)).await.unwrap();
        until_complete(&mut follower, 1).await;
        send(&channel, kill(&world, "all", None, 2)).await.unwrap();
        let jws = lift(&world, &[2], 2, &["carol", "bob"]);
        channel.kill().lift(v1::LiftRequest { jws }).await.unwrap();
        send(&channel, kill(&world, "profile", Some("db"), 3)).await.unwrap();
        until_complete(&mut follower, 4).await;
        assert!(!follower.kills().is_lockdown());
        assert_eq!(follower.kills().standing().count(), 2);
    });
}

/// A clock that is behind the log, and one that jumped, on which the daemon latches.
#[test]
fn neither_the_clock_nor_the_latch_keeps_a_kill_out() {
    with_world("kill::neither_the_clock_nor_the_latch_keeps_a_kill_out", |world| async move {
        let channel = world.connect("dave").await;
        let (id, grant, _) = world.file("dave").await;
        world.clock.advance(-120);
        let approval = || world.verdicts(&grant, Typ::Approval, &["alice"]);
        assert_eq!(world.submit(&id, approval()).await.unwrap_err().reason, "CLOCK_REFUSED");
        let killed = send(&channel, kill(&world, "requester", Some("eve"), 1)).await.unwrap();
        assert_eq!((killed.epoch, killed.recorded), (1, true));
        world.clock.advance(3_600);
        assert_eq!(world.submit(&id, approval()).await.unwrap_err().reason, "CLOCK_REFUSED");
        assert_eq!(world.submit(&id, approval()).await.unwrap_err().reason, "LATCHED");
        let killed = send(&channel, kill(&world, "all", None, 2)).await.unwrap();
        assert_eq!((killed.epoch, killed.recorded), (2, true));
        let jws = lift(&world, &[2], 2, &["carol", "bob"]);
        channel.kill().lift(v1::LiftRequest { jws }).await.unwrap();
        assert_eq!(world.submit(&id, approval()).await.unwrap_err().reason, "LATCHED");
        let log = world.entries().await;
        let times: Vec<&str> = log.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "and the log's time never goes back");
    });
}

#[test]
fn no_quota_of_other_calls_keeps_a_kill_out() {
    let few = Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    let options =
        api::Options { rates: Rates { client: few, ..Rates::default() }, ..api::Options::default() };
    with_world_as("kill::no_quota_of_other_calls_keeps_a_kill_out", options, |world| async move {
        let channel = world.connect("dave").await;
        let ask = async || channel.kill().get_kills(v1::GetKillsRequest::default()).await;
        ask().await.unwrap();
        assert_eq!(ClientError::from(ask().await.unwrap_err()).reason, "RATE_LIMITED");
        send(&channel, kill(&world, "all", None, 1)).await.unwrap();
        let jws = lift(&world, &[1], 1, &["carol", "bob"]);
        channel.kill().lift(v1::LiftRequest { jws }).await.unwrap();
    });
}
