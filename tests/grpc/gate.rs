//! Gates over gRPC: watches under a verifier's key, acknowledgements, who sees them, and reports of uses.

use std::num::NonZeroU32;

use breakglass::client::kills::{Follower, News};
use breakglass::client::{Channel, ClientError};
use breakglass::domain::gate::Ack;
use breakglass::engine::quota::Rate;
use breakglass::grpc::api::Options;
use breakglass::grpc::front::Rates;
use breakglass::grpc::v1;
use breakglass::jose::{Digest, GeneralJws, Typ, json};
use serde_json::{Value, json};
use tonic::{Code, Streaming};

use crate::kill::{kill, send};
use crate::support::within;
use crate::world::{World, jws, now, public, with_world, with_world_as};

/// A gate that does nothing but watch and acknowledge.
struct Gate {
    name: &'static str,
    channel: Channel,
    follower: Follower,
    stream: Streaming<v1::WatchKillsResponse>,
}

impl Gate {
    async fn start(world: &World, name: &'static str) -> Self {
        let channel = world.connect("vault").await;
        let mut follower = Follower::default();
        let request = v1::WatchKillsRequest { gate: name.to_owned(), ..follower.request() };
        let stream = channel.kill().watch_kills(request).await.unwrap().into_inner();
        let mut gate = Self { name, channel, follower, stream };
        gate.until(world, |_| true).await;
        gate
    }

    /// Follows until a heartbeat at which this holds; the kills that came by.
    async fn until(&mut self, world: &World, done: impl Fn(&Follower) -> bool) -> Vec<Digest> {
        let mut fresh = Vec::new();
        loop {
            let message = within(self.stream.message()).await.unwrap().unwrap();
            match self.follower.take(message, &world.charter, now()).unwrap() {
                News::Killed(digest) => fresh.push(digest),
                News::Complete if done(&self.follower) => return fresh,
                _ => {}
            }
        }
    }

    fn ack(&self, world: &World, kills: &[Digest]) -> Value {
        json!({"iss": "https://issuer.example", "charter": world.charter.digest(), "gate": self.name,
            "kills": kills, "epoch": self.follower.kills().epoch(), "head": self.follower.kills().head()})
    }

    async fn say(&self, world: &World, ack: &Value, by: &str) -> Result<(), ClientError> {
        let jws = jws(json::canonical(ack).unwrap(), &[(&world.keys[by], Typ::Ack, now())]);
        self.channel.gate().acknowledge_kills(v1::AcknowledgeKillsRequest { jws }).await?;
        Ok(())
    }
}

async fn list(
    channel: &Channel,
    kill_id: &str,
) -> Result<(Option<v1::KillSpread>, Vec<v1::Gate>), ClientError> {
    let request = v1::ListGatesRequest { kill_id: kill_id.to_owned() };
    let mut answers = channel.gate().list_gates(request).await?.into_inner();
    let (mut spread, mut gates) = (None, Vec::new());
    while let Some(some) = within(answers.message()).await? {
        spread = spread.or(some.spread);
        gates.extend(some.gates);
    }
    Ok((spread, gates))
}

async fn entry(world: &World, kind: &str) -> Value {
    within(async {
        loop {
            let entries = world.entries().await;
            if let Some(entry) = entries.iter().rev().find(|entry| entry["event"]["type"] == kind) {
                return entry["event"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[test]
fn custodians_see_which_gate_enforces_a_kill_under_its_own_signature() {
    with_world(
        "gate::custodians_see_which_gate_enforces_a_kill_under_its_own_signature",
        |world| async move {
            let (mut one, mut two) = (Gate::start(&world, "db-1").await, Gate::start(&world, "db-2").await);
            let silent = Gate::start(&world, "db-3").await;
            let custodian = world.connect("carol").await;
            let killed = send(&custodian, kill(&world, "all", None, 1)).await.unwrap();
            for gate in [&mut one, &mut two] {
                let fresh = gate.until(&world, |follower| follower.kills().is_lockdown()).await;
                assert_eq!(fresh.len(), 1);
                gate.say(&world, &gate.ack(&world, &fresh), "vault.tls").await.unwrap();
            }
            let (spread, gates) = list(&custodian, &killed.id).await.unwrap();
            let spread = spread.unwrap();
            assert_eq!((spread.gates, spread.enforced, spread.recorded), (3, 2, false));
            assert!(spread.p50_ms.is_some() && spread.p50_ms <= spread.p99_ms);
            let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
            assert_eq!(names, ["db-1", "db-2", "db-3"]);
            for gate in &gates {
                assert!(gate.connected && gate.expected && gate.verifier == "vault");
                assert_eq!(gate.kid, public(&world.keys["vault.tls"]).thumbprint().to_string());
                if gate.name == "db-3" {
                    assert!(gate.ack.is_empty() && gate.newest.is_empty());
                    continue;
                }
                let signed =
                    Ack::verify(GeneralJws::parse(&gate.ack, 32_000).unwrap(), &world.charter).unwrap();
                assert_eq!(signed.about().gate.as_str(), gate.name);
                assert_eq!(
                    (signed.about().kills.len(), signed.about().head),
                    (1, one.follower.kills().head())
                );
            }
            // The silent one gets its time, and then the log says so.
            let event = entry(&world, "kill_enforced").await["enforced"].clone();
            assert_eq!(event["standing"]["gates"], 3);
            assert_eq!(
                (&event["silent"], event["acks"].as_array().unwrap().len()),
                (&json!([["vault", "db-3"]]), 2)
            );
            drop(silent);
            // A kill that all have acknowledged is recorded at once.
            drop(two);
            within(async {
                while list(&custodian, "").await.unwrap().1.iter().filter(|gate| gate.connected).count() > 1 {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            })
            .await;
            let killed = send(&custodian, kill(&world, "profile", Some("db"), 2)).await.unwrap();
            let fresh = one.until(&world, |follower| follower.kills().epoch() == 2).await;
            one.say(&world, &one.ack(&world, &fresh), "vault.tls").await.unwrap();
            within(async {
                while !list(&custodian, &killed.id).await.unwrap().0.unwrap().recorded {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            })
            .await;
            let (spread, _) = list(&custodian, &killed.id).await.unwrap();
            assert_eq!(spread.map(|spread| (spread.gates, spread.enforced)), Some((1, 1)));
        },
    );
}

#[test]
fn a_forged_acknowledgement_or_one_of_another_story_is_not_taken() {
    with_world("gate::a_forged_acknowledgement_or_one_of_another_story_is_not_taken", |world| async move {
        let mut gate = Gate::start(&world, "db-1").await;
        let custodian = world.connect("carol").await;
        let killed = send(&custodian, kill(&world, "all", None, 1)).await.unwrap();
        let fresh = gate.until(&world, |follower| follower.kills().is_lockdown()).await;
        let good = gate.ack(&world, &fresh);
        for (by, reason) in [("dave.tls", "NOT_A_VERIFIER"), ("alice", "NOT_A_VERIFIER")] {
            let refused = gate.say(&world, &good, by).await.unwrap_err();
            assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, reason), "{by}");
        }
        let mut forged = GeneralJws::parse(
            &jws(json::canonical(&good).unwrap(), &[(&world.keys["vault.tls"], Typ::Ack, now())]),
            32_000,
        )
        .unwrap();
        let mut other = good.clone();
        other["gate"] = json!("db-2");
        forged.payload = json::canonical(&other).unwrap();
        let message = v1::AcknowledgeKillsRequest { jws: forged.to_json() };
        let refused = gate.channel.gate().acknowledge_kills(message).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        // A daemon that has told it another story would be seen here.
        let mut story = good.clone();
        story["head"]["digest"] = json!(Digest::of(b"another story"));
        let refused = gate.say(&world, &story, "vault.tls").await.unwrap_err();
        assert_eq!(refused.reason, "KILL_CHAIN_DIFFERS");
        let (spread, gates) = list(&custodian, &killed.id).await.unwrap();
        assert_eq!((spread.unwrap().enforced, gates.len()), (0, 1));
        gate.say(&world, &good, "vault.tls").await.unwrap();
        assert_eq!(list(&custodian, &killed.id).await.unwrap().0.unwrap().enforced, 1);
        // Only custodians and auditors are told of gates.
        let error = list(&world.connect("eve").await, "").await.unwrap_err();
        assert_eq!((error.code, error.reason.as_str()), (Code::PermissionDenied, "NOT_A_CUSTODIAN"));
        let error = list(&custodian, "no kill").await.unwrap_err();
        assert_eq!(error.reason, "KILL_ID_INVALID");
    });
}

#[test]
fn uses_are_recorded_once_and_shown_with_the_request() {
    with_world("gate::uses_are_recorded_once_and_shown_with_the_request", |world| async move {
        let (id, ..) = world.file("dave").await;
        let gate = world.connect("vault").await;
        let report = |seq: u64, count: u64| {
            let payload = json!({"iss": "https://issuer.example", "charter": world.charter.digest(), "gate": "db-1",
                "seq": seq, "uses": [{"jti": id, "from": now(), "until": now(), "count": count, "what": "read pg/prod"}]});
            json::canonical(&payload).unwrap()
        };
        let say = async |payload: Vec<u8>, by: &str| {
            let jws = jws(payload, &[(&world.keys[by], Typ::Use, now())]);
            gate.gate().report_uses(v1::ReportUsesRequest { jws }).await.map_err(ClientError::from)
        };
        let first = report(10, 1);
        assert_eq!(say(first.clone(), "vault.tls").await.unwrap().into_inner().seq, 10);
        let size = world.store.size();
        assert_eq!(say(first, "vault.tls").await.unwrap().into_inner().seq, 10);
        assert_eq!(world.store.size(), size, "the same again is no entry");
        let refused = say(report(9, 5), "vault.tls").await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "USE_NUMBER"));
        assert_eq!(refused.metadata["last"], "10");
        assert_eq!(say(report(11, 5), "eve.tls").await.unwrap_err().reason, "NOT_A_VERIFIER");
        say(report(11, 5), "vault.tls").await.unwrap();
        let message = v1::GetRequestRequest { request_id: id.clone() };
        let shown = world.connect("dave").await.access().get_request(message).await.unwrap().into_inner();
        let shown = shown.request.unwrap();
        assert_eq!((shown.use_count, shown.uses.len()), (6, 1));
        assert_eq!((shown.uses[0].verifier.as_str(), shown.uses[0].gate.as_str()), ("vault", "db-1"));
        assert_eq!(
            (shown.uses[0].count, shown.uses[0].what.as_slice()),
            (6, &["read pg/prod".to_owned()][..])
        );
    });
}

#[test]
fn a_stolen_key_of_a_gate_does_not_fill_the_log_and_keeps_no_gate_from_hearing() {
    let few = Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::new(2).unwrap() };
    let options = Options { rates: Rates { client: few, ..Rates::default() }, ..Options::default() };
    let name = "gate::a_stolen_key_of_a_gate_does_not_fill_the_log_and_keeps_no_gate_from_hearing";
    with_world_as(name, options, |world| async move {
        let thief = world.connect("vault").await;
        let report = async |seq: u64| {
            let payload = json!({"iss": "https://issuer.example", "charter": world.charter.digest(), "gate": "db-1",
                "seq": seq, "uses": [{"jti": Digest::of(b"made up"), "from": now(), "until": now(), "count": 1}]});
            let payload = json::canonical(&payload).unwrap();
            let jws = jws(payload, &[(&world.keys["vault.tls"], Typ::Use, now())]);
            thief.gate().report_uses(v1::ReportUsesRequest { jws }).await.map_err(ClientError::from)
        };
        report(1).await.unwrap();
        report(2).await.unwrap();
        let size = world.store.size();
        for seq in 3..20 {
            assert_eq!(report(seq).await.unwrap_err().reason, "RATE_LIMITED");
        }
        assert_eq!(world.store.size(), size);
        let mut stream =
            thief.kill().watch_kills(v1::WatchKillsRequest::default()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some(), "watching has a quota of its own");
    });
}

#[test]
fn many_processes_share_a_verifiers_key() {
    with_world("gate::many_processes_share_a_verifiers_key", |world| async move {
        // More watches than any client gets, and more connections.
        let channel = world.connect("vault").await;
        let mut streams = Vec::new();
        for n in 0..60 {
            let request =
                v1::WatchKillsRequest { gate: format!("db-{n}"), ..v1::WatchKillsRequest::default() };
            streams.push(channel.kill().watch_kills(request).await.unwrap().into_inner());
        }
        let mut channels = Vec::new();
        for n in 60..200 {
            let own = world.connect("vault").await;
            let request =
                v1::WatchKillsRequest { gate: format!("db-{n}"), ..v1::WatchKillsRequest::default() };
            streams.push(own.kill().watch_kills(request).await.unwrap().into_inner());
            channels.push(own);
        }
        let custodian = world.connect("carol").await;
        assert_eq!(list(&custodian, "").await.unwrap().1.len(), 200);
        let killed = kill(&world, "all", None, 1);
        send(&custodian, killed.clone()).await.unwrap();
        for stream in &mut streams {
            within(async {
                loop {
                    let event = stream.message().await.unwrap().unwrap().event.unwrap();
                    if matches!(event, v1::watch_kills_response::Event::Kill(kill) if kill.jws == killed) {
                        return;
                    }
                }
            })
            .await;
        }
        let bad = v1::WatchKillsRequest { gate: "DB 1".into(), ..v1::WatchKillsRequest::default() };
        let refused = ClientError::from(channel.kill().watch_kills(bad).await.unwrap_err());
        assert_eq!(refused.reason, "GATE_NAME");
    });
}
