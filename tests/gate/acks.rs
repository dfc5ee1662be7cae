//! What a gate says of itself: which kills it enforces, what it let pass; and kills that are brought to it while no daemon is.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use breakglass::{
    domain::{gate::Ack, statement::MAX_STATEMENT_BYTES},
    grpc::v1,
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{Client, wait},
    kit,
    place::{Answer, Gate, Place, answer},
    world::{DEADLINE, canonical, now},
};

/// `POST /kill` at a gate's control listener.
fn bring(gate: &Gate, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", gate.control)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "POST /kill HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    answer(&String::from_utf8_lossy(&bytes))
}

/// A kill of erin's key.
pub fn signed(place: &Place, by: &str, tag: &str, at: i64) -> GeneralJws {
    let charter = &place.world.charter;
    let payload = json!({"iss": charter.document().iss, "charter": charter.digest(), "id": kit::nonce(tag),
        "level": "key", "target": kit::key("erin/file").kid(), "reason": "Seen where it should not be"});
    kit::key(by).jws(Typ::Kill, &canonical(&payload), at)
}

fn gates(client: &Client, kill_id: &str) -> (Option<v1::KillSpread>, Vec<v1::Gate>) {
    wait(async {
        let request = v1::ListGatesRequest { kill_id: kill_id.to_owned() };
        let mut answers = client.channel().gate().list_gates(request).await.unwrap().into_inner();
        let (mut spread, mut gates) = (None, Vec::new());
        while let Some(some) = answers.message().await.unwrap() {
            spread = spread.or(some.spread);
            gates.extend(some.gates);
        }
        (spread, gates)
    })
}

fn events(place: &Place, kind: &str) -> Vec<Value> {
    let entries = place.world.client("erin/file").entries().unwrap();
    let events = entries.iter().map(|entry| serde_json::from_slice::<Value>(entry).unwrap()["event"].clone());
    events.filter(|event| event["type"] == kind).collect()
}

/// Uses of this token in the log.
fn counted(place: &Place, jti: &str) -> u64 {
    events(place, "uses_reported")
        .iter()
        .flat_map(|event| {
            let jws: GeneralJws = serde_json::from_value(event["report"].clone()).unwrap();
            let report: Value = serde_json::from_slice(&jws.payload).unwrap();
            report["uses"].as_array().unwrap().clone()
        })
        .filter(|one| one["jti"] == jti)
        .map(|one| one["count"].as_u64().unwrap())
        .sum()
}

fn jti(jwt: &str) -> String {
    let payload = breakglass::jose::b64::decode(jwt.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&payload).unwrap()["jti"].as_str().unwrap().to_owned()
}

#[test]
fn a_gate_signs_what_it_enforces_and_the_log_has_the_proof() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let gate = place.gate(|config| config);
    gate.ready();
    let shown = wait_for("the gate to greet", DEADLINE, || {
        gates(&client, "").1.into_iter().find(|gate| gate.connected && !gate.newest.is_empty())
    });
    assert_eq!(shown.verifier, "orders");
    let killed = place.kill(&client, "requester", Some("erin")).unwrap();
    let (spread, acked) = wait_for("the acknowledgement", DEADLINE, || {
        let (spread, gates) = gates(&client, &killed.id);
        spread.filter(|spread| spread.enforced == 1 && spread.recorded).zip(gates.into_iter().next())
    });
    assert_eq!(spread.gates, 1);
    let ack = GeneralJws::parse(&acked.ack, MAX_STATEMENT_BYTES).unwrap();
    let ack = Ack::verify(ack, &place.world.charter).unwrap();
    assert_eq!((ack.about().gate.as_str(), ack.about().epoch), (shown.name.as_str(), 1));
    assert!(spread.p99_ms.unwrap() < 2_000, "{spread:?}");
    let proof = wait_for("the entry", DEADLINE, || events(&place, "kill_enforced").pop());
    assert_eq!(proof["enforced"]["standing"]["enforced"], 1);
    assert_eq!(gate.metric("breakglass_gate_acknowledgements_total"), 2);
    assert!(daemon.stop().success());
    assert!(place.world.replay(&place.world.entries()).is_ok());
}

#[test]
fn uses_reach_the_log_though_the_daemon_is_away_and_the_gate_is_killed() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let (id, erin) = (jti(&token), place.text("erin.cert.pem"));
    let mut gate = place.gate(|config| config.replace("max_stale = 10", "max_stale = 60"));
    gate.ready();
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    wait_for("the first use", DEADLINE, || (counted(&place, &id) == 1).then_some(()));
    let shown = client.get(&id).unwrap();
    assert_eq!((shown.use_count, shown.uses[0].verifier.as_str()), (1, "orders"));
    assert_eq!(shown.uses[0].what, ["read pg/prod/orders"]);

    assert!(daemon.stop().success());
    for _ in 0..25 {
        assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    }
    // `kill -9`, with all of it unsent.
    assert!(gate.metric("breakglass_gate_uses_waiting") >= 1);
    gate.process.kill();
    let daemon = place.world.start();
    let gate = place.gate(|config| config);
    wait_for("all uses", DEADLINE, || (counted(&place, &id) == 26).then_some(()));
    gate.ready();
    wait_for("nothing to wait", DEADLINE, || {
        (gate.metric("breakglass_gate_uses_waiting") == 0).then_some(())
    });
    let client = place.world.client("erin/file");
    assert_eq!(client.get(&id).unwrap().use_count, 26);
    assert!(daemon.stop().success());
    assert!(place.world.replay(&place.world.entries()).is_ok());
}

#[test]
fn a_kill_that_is_brought_to_a_gate_is_enforced_without_a_daemon_and_survives_a_restart() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let erin = place.text("erin.cert.pem");
    let mut gate = place.gate(|config| config.replace("max_stale = 10", "max_stale = 60"));
    gate.ready();
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    assert!(daemon.stop().success());

    for (body, reason) in [
        (b"{}".to_vec(), "KILL_MALFORMED"),
        (signed(&place, "erin/file", "by erin", now()).to_json(), "NO_KILL_RIGHT"),
        (signed(&place, "mallory", "by mallory", now()).to_json(), "KEY_UNKNOWN"),
        (signed(&place, "bob/1", "old", now() - 90_000).to_json(), "KILL_OLD"),
    ] {
        let refused = bring(&gate, &body);
        assert!(refused.status == 400 && refused.body.starts_with(reason), "{refused:?}");
    }
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200, "and nothing of it is enforced");
    let kill = signed(&place, "bob/1", "direct", now());
    let answered = bring(&gate, &kill.to_json());
    assert_eq!(answered.status, 200, "{answered:?}");
    let ack = GeneralJws::parse(answered.body.as_bytes(), MAX_STATEMENT_BYTES).unwrap();
    let ack = Ack::verify(ack, &place.world.charter).unwrap();
    assert!(ack.about().kills.contains(&Digest::of(&kill.payload)));
    assert_eq!(gate.ask_bearer(&token, &erin).reason(), "KEY_KILLED");

    // It starts again while there is still no daemon, and then one that knows nothing of the kill.
    gate.process.kill();
    let gate = place.gate(|config| config);
    let daemon = place.world.start();
    wait_for("the gate to hear the daemon", DEADLINE, || {
        let answer = gate.ask_bearer(&token, &erin);
        assert_ne!(answer.status, 200, "it never passes in between");
        (answer.reason() == "KEY_KILLED").then_some(())
    });
    // The log takes it, and from then on its lift would end it.
    let client = place.world.client("erin/file");
    let message = v1::KillRequest { jws: kill.to_json() };
    let recorded = wait(client.channel().kill().kill(message)).unwrap().into_inner();
    assert!(recorded.recorded);
    wait_for("the gate to leave it to the daemon", DEADLINE, || {
        gate.look("/status").body.contains("\"unrecorded\":0").then_some(())
    });
    assert_eq!(gate.ask_bearer(&token, &erin).reason(), "KEY_KILLED");
    assert!(daemon.stop().success());
}
