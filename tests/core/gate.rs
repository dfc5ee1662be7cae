//! What gates say: who may say it, that a report counts once, that the book of it stays bounded, and what an auditor makes of it.

use breakglass::{
    domain::{
        Command, Refusal, State,
        charter::Rules,
        event::{Entry, Event},
        gate::{Ack, Enforced, MAX_ACKED, MAX_USES, Standing, UseReport},
        id::{KillId, RequestId},
    },
    jose::{Digest, GeneralJws, Typ},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    kit::{Log, NOW, bytes, charter_of, document, grant, key, nonce, patch},
    outside::furnished,
    replay::audit,
    succession::{following, refused},
};

fn log() -> Log {
    Log::new(&charter_of(&furnished()))
}

fn report(rules: &Rules, gate: &str, seq: u64, uses: Value) -> Value {
    json!({"iss": rules.document().iss, "charter": rules.digest(), "gate": gate, "seq": seq, "uses": uses})
}

fn ack(rules: &Rules, gate: &str, kills: &[Digest]) -> Value {
    let mut kills = kills.to_vec();
    kills.sort_unstable();
    json!({"iss": rules.document().iss, "charter": rules.digest(), "gate": gate, "kills": kills, "epoch": 1,
        "head": {"step": 1, "digest": Digest::of(b"head")}})
}

fn used(id: &RequestId, from: i64, until: i64, count: u64) -> Value {
    json!({"jti": id, "from": from, "until": until, "count": count, "what": "read pg/prod/x"})
}

impl Log {
    fn uses(&mut self, payload: &Value, by: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        self.uses_signed(payload, by, at, at)
    }

    fn uses_signed(
        &mut self,
        payload: &Value,
        by: &str,
        signed: i64,
        at: i64,
    ) -> Result<Vec<Event>, Refusal> {
        let jws = key(by).jws(Typ::Use, &bytes(payload), signed);
        let signed = UseReport::verify(jws, &self.charter())?;
        self.run(&Command::Report(Box::new(signed)), at * 1000)
    }

    /// erin's token, issued at `NOW + 3`.
    fn token(&mut self) -> RequestId {
        let id = self.file(&grant(&self.charter()), "erin/file").unwrap();
        self.approve(&id, "alice/1", NOW + 1).unwrap();
        self.approve(&id, "bob/1", NOW + 2).unwrap();
        self.issue(&id, NOW + 3).unwrap();
        id
    }
}

#[test]
fn uses_are_told_by_place_and_time() {
    let mut log = log();
    let id = log.token();
    let rules = log.charter();
    log.uses(&report(&rules, "db-1", 7, json!([used(&id, NOW + 4, NOW + 4, 1)])), "vault/file", NOW + 5)
        .unwrap();
    log.uses(&report(&rules, "db-2", 1, json!([used(&id, NOW + 9, NOW + 50, 40)])), "vault/file", NOW + 60)
        .unwrap();
    let events = log
        .uses(&report(&rules, "db-1", 8, json!([used(&id, NOW + 5, NOW + 70, 12)])), "vault/file", NOW + 71)
        .unwrap();
    assert!(
        matches!(&events[..], [Event::UsesReported { unknown, ended, .. }] if unknown.is_empty() && ended.is_empty())
    );
    let uses = log.state.gates().uses(&id).unwrap();
    assert_eq!(uses.total, 53);
    let places: Vec<_> = uses
        .places
        .iter()
        .map(|place| {
            (place.verifier.as_str(), place.gate.as_str(), place.first - NOW, place.last - NOW, place.count)
        })
        .collect();
    assert_eq!(places, [("vault", "db-1", 4, 70, 13), ("vault", "db-2", 9, 50, 40)]);
    // Nothing of what stands in the way of others stands in the way of a report.
    log.kill("all", None, "carol/1", "k", NOW + 80).unwrap();
    let late = log.uses(
        &report(&rules, "db-1", 9, json!([used(&id, NOW + 80, NOW + 85, 2)])),
        "vault/file",
        NOW + 86,
    );
    assert!(
        matches!(&late.unwrap()[..], [Event::UsesReported { ended, .. }] if ended.is_empty()),
        "within the grace"
    );
    let after = log.uses(
        &report(&rules, "db-1", 10, json!([used(&id, NOW + 80, NOW + 400, 2)])),
        "vault/file",
        NOW + 400,
    );
    assert!(matches!(&after.unwrap()[..], [Event::UsesReported { ended, .. }] if *ended == [id]), "an alarm");
    assert_eq!(log.state.gates().uses(&id).unwrap().total, 57);
    // Once the request is forgotten, the log alone has it.
    log.run(&Command::Start { version: "0".into() }, (NOW + 30 * 86_400) * 1000).unwrap();
    assert!(log.state.gates().uses(&id).is_none());
    log.audited();
}

#[test]
fn how_a_connection_was_cut_is_told_and_is_no_use() {
    let mut log = log();
    let id = log.token();
    let rules = log.charter();
    log.uses(&report(&rules, "db-1", 1, json!([used(&id, NOW + 4, NOW + 4, 1)])), "vault/file", NOW + 5)
        .unwrap();
    let why = "read pg/prod/x cut: TOKEN_KILLED";
    let cut = json!({"jti": id, "from": NOW + 4, "until": NOW + 30, "count": 0, "what": why});
    log.uses(&report(&rules, "db-1", 2, json!([cut])), "vault/file", NOW + 31).unwrap();
    let uses = log.state.gates().uses(&id).unwrap();
    assert_eq!((uses.total, uses.places.len()), (1, 1));
    let place = &uses.places[0];
    assert_eq!((place.first - NOW, place.last - NOW, place.count), (4, 30, 1));
    assert!(place.what.contains(why), "{:?}", place.what);
    let silent = json!({"jti": id, "from": NOW, "until": NOW, "count": 0});
    refused(
        log.uses(&report(&rules, "db-1", 3, json!([silent])), "vault/file", NOW + 32),
        "GATE_STATEMENT_INVALID",
    );
    log.audited();
}

#[test]
fn a_token_that_the_log_never_saw_is_recorded_and_named() {
    let mut log = log();
    let stranger = RequestId(Digest::of(b"minted by a thief"));
    let payload = report(
        &log.charter(),
        "db-1",
        1,
        json!([used(&stranger, NOW, NOW + 1, 3), used(&stranger, NOW, NOW, 1)]),
    );
    let events = log.uses(&payload, "vault/file", NOW + 2).unwrap();
    assert!(matches!(&events[..], [Event::UsesReported { unknown, .. }] if *unknown == [stranger]));
    assert!(log.state.gates().uses(&stranger).is_none(), "inventing tokens takes no room");
    log.audited();
}

#[test]
fn the_same_report_again_changes_nothing() {
    let mut log = log();
    let id = log.token();
    let rules = log.charter();
    let first = report(&rules, "db-1", 5, json!([used(&id, NOW + 4, NOW + 4, 1)]));
    log.uses(&first, "vault/file", NOW + 5).unwrap();
    let before = log.state.clone();
    // A second signature makes it no other report.
    assert_eq!(log.uses_signed(&first, "vault/file", NOW + 30, NOW + 30).unwrap(), []);
    let other = report(&rules, "db-1", 5, json!([used(&id, NOW + 4, NOW + 4, 2)]));
    refused(log.uses(&other, "vault/file", NOW + 31), "USE_NUMBER");
    let second = report(&rules, "db-1", 6, json!([used(&id, NOW + 5, NOW + 6, 1)]));
    log.uses(&second, "vault/file", NOW + 32).unwrap();
    refused(log.uses(&first, "vault/file", NOW + 33), "USE_NUMBER");
    assert_eq!(log.state.gates().uses(&id).unwrap().total, 2);
    assert_eq!(before.gates().uses(&id).unwrap().total, 1);
    // Another gate of the same key counts for itself.
    log.uses(&report(&rules, "db-2", 5, json!([used(&id, NOW + 5, NOW + 6, 1)])), "vault/file", NOW + 34)
        .unwrap();
    // One that was kept in a drawer is not taken when it is old.
    let drawer = report(&rules, "db-3", 1, json!([used(&id, NOW, NOW, 1)]));
    refused(log.uses_signed(&drawer, "vault/file", NOW, NOW + 9 * 86_400), "GATE_CLOCK");
    log.audited();
}

#[test]
fn only_a_verifier_of_the_charter_in_force_is_heard() {
    let mut log = log();
    let rules = log.charter();
    let id = log.token();
    let payload = report(&rules, "db-1", 1, json!([used(&id, NOW + 4, NOW + 4, 1)]));
    for (by, reason) in [
        ("erin/file", "NOT_A_VERIFIER"),
        ("alice/1", "NOT_A_VERIFIER"),
        ("pager/file", "NOT_A_VERIFIER"),
        ("mallory", "KEY_UNKNOWN"),
        ("hsm/1", "KEY_UNKNOWN"),
    ] {
        refused(log.uses(&payload, by, NOW + 5), reason);
        let acked = key(by).jws(Typ::Ack, &bytes(&ack(&rules, "db-1", &[])), NOW);
        assert_eq!(Ack::verify(acked, &rules).unwrap_err().reason(), reason, "{by}");
    }
    let elsewhere = patch(payload.clone(), json!({"iss": "https://elsewhere.example"}));
    refused(log.uses(&elsewhere, "vault/file", NOW + 5), "CHARTER_MISMATCH");
    let elsewhere = patch(payload.clone(), json!({"charter": Digest::of(b"elsewhere")}));
    refused(log.uses(&elsewhere, "vault/file", NOW + 5), "CHARTER_MISMATCH");
    let as_ack = key("vault/file").jws(Typ::Ack, &bytes(&payload), NOW);
    assert!(UseReport::verify(as_ack, &rules).is_err(), "another kind of statement");
    for changes in [
        json!({"uses": []}),
        json!({"uses": vec![used(&id, NOW, NOW, 1); MAX_USES + 1]}),
        json!({"uses": [used(&id, NOW + 1, NOW, 1)]}),
        json!({"uses": [{"jti": id, "from": NOW, "until": NOW, "count": 0}]}),
        json!({"uses": [patch(used(&id, NOW, NOW, 1), json!({"what": "x".repeat(201)}))]}),
        json!({"gate": "DB 1"}),
        json!({"gate": "x".repeat(65)}),
        json!({"note": 1}),
    ] {
        let jws = key("vault/file").jws(Typ::Use, &bytes(&patch(payload.clone(), changes.clone())), NOW);
        assert!(UseReport::verify(jws, &rules).is_err(), "{changes}");
    }
    let many: Vec<Digest> = (0..=MAX_ACKED).map(|n| Digest::of(&n.to_be_bytes())).collect();
    let jws = key("vault/file").jws(Typ::Ack, &bytes(&ack(&rules, "db-1", &many)), NOW);
    assert_eq!(Ack::verify(jws, &rules).unwrap_err().reason(), "GATE_STATEMENT_INVALID");
    // A gate that has not fetched the new charter yet is heard; one that it does not name any more is not.
    let mut next = following(&log, NOW + 10);
    log.succeed(&next, NOW + 10);
    log.uses(&payload, "vault/file", NOW + 11).unwrap();
    next = following(&log, NOW + 12);
    next.as_object_mut().unwrap().remove("verifiers");
    log.succeed(&next, NOW + 12);
    let later = report(&rules, "db-1", 2, json!([used(&id, NOW + 5, NOW + 5, 1)]));
    refused(log.uses(&later, "vault/file", NOW + 13), "KEY_UNKNOWN");
    log.audited();
}

/// A kill of everything, and what db-1 and db-2 say of it.
fn killed() -> (Log, KillId, Vec<GeneralJws>) {
    let mut log = log();
    log.kill("all", None, "carol/1", "k", NOW).unwrap();
    let id: KillId = nonce("k").parse().unwrap();
    let digest = Digest::of(&log.state.kills().get(&id).unwrap().statement.payload);
    let acks = ["db-1", "db-2"]
        .map(|gate| key("vault/file").jws(Typ::Ack, &bytes(&ack(&log.charter(), gate, &[digest])), NOW + 1));
    (log, id, acks.into())
}

fn good(kill: KillId, acks: &[GeneralJws]) -> Enforced {
    let standing = Standing { gates: 3, enforced: 2, p50: Some(40), p99: Some(90) };
    let silent = vec![("vault".parse().unwrap(), "db-3".parse().unwrap())];
    Enforced { kill, standing, silent, acks: acks.to_vec(), rest: None }
}

#[test]
fn how_a_kill_came_to_be_enforced_is_recorded_once_with_its_proof() {
    let (mut log, kill, acks) = killed();
    let run = |log: &mut Log, enforced: &Enforced, at| {
        log.run(&Command::Enforced(Box::new(enforced.clone())), at * 1000)
    };
    let right = good(kill, &acks);
    let rules = log.charter();
    let of_another = key("vault/file").jws(Typ::Ack, &bytes(&ack(&rules, "db-2", &[Digest::of(b"x")])), NOW);
    let by_erin = key("erin/file").jws(Typ::Ack, &acks[1].payload, NOW);
    let forged = key("alice/1").jws(Typ::Ack, &acks[1].payload, NOW).signatures;
    let cases: Vec<(&str, Enforced)> = vec![
        ("ENFORCEMENT_NOT_DUE", Enforced { kill: nonce("other").parse().unwrap(), ..right.clone() }),
        ("ENFORCEMENT_INVALID", good(kill, &[acks[0].clone(), acks[0].clone()])),
        ("ENFORCEMENT_INVALID", good(kill, &[acks[0].clone(), of_another])),
        ("ENFORCEMENT_INVALID", good(kill, &acks[..1])),
        ("NOT_A_VERIFIER", good(kill, &[acks[0].clone(), by_erin])),
        (
            "NOT_A_VERIFIER",
            good(
                kill,
                &[acks[0].clone(), GeneralJws { payload: acks[1].payload.clone(), signatures: forged }],
            ),
        ),
        ("ENFORCEMENT_INVALID", Enforced { rest: Some(Digest::of(b"")), ..right.clone() }),
        (
            "ENFORCEMENT_INVALID",
            Enforced { silent: vec![("vault".parse().unwrap(), "a".parse().unwrap()); 2], ..right.clone() },
        ),
        (
            "ENFORCEMENT_INVALID",
            Enforced { silent: vec![("erin".parse().unwrap(), "a".parse().unwrap())], ..right.clone() },
        ),
        (
            "ENFORCEMENT_INVALID",
            Enforced { standing: Standing { gates: 1, ..right.standing }, ..right.clone() },
        ),
        (
            "ENFORCEMENT_INVALID",
            Enforced { standing: Standing { p50: Some(91), ..right.standing }, ..right.clone() },
        ),
        (
            "ENFORCEMENT_INVALID",
            Enforced { standing: Standing { p99: None, ..right.standing }, ..right.clone() },
        ),
    ];
    for (reason, wrong) in cases {
        refused(run(&mut log, &wrong, NOW + 2), reason);
    }
    assert!(log.state.gates().enforced(1).is_none());
    run(&mut log, &right, NOW + 2).unwrap();
    assert_eq!(log.state.gates().enforced(1), Some(&right.standing));
    refused(run(&mut log, &right, NOW + 3), "ENFORCEMENT_NOT_DUE");
    log.audited();

    // An auditor verifies the acknowledgements again.
    let last = log.entries.len() - 1;
    let entry = Entry::parse(&log.entries[last]).unwrap();
    let mut lie = right;
    lie.acks[1] = key("mallory").jws(Typ::Ack, &lie.acks[1].payload, NOW + 1);
    log.entries[last] = Entry { event: Event::KillEnforced { enforced: lie }, ..entry }.to_bytes().unwrap();
    assert!(audit(&log.entries, log.pinned).is_err());
}

#[test]
fn verifiers_without_keys_report_nothing() {
    let log = Log::new(&charter_of(&document()));
    let jws = key("vault/file").jws(Typ::Ack, &bytes(&ack(&log.charter(), "db-1", &[])), NOW);
    assert_eq!(Ack::verify(jws, &log.charter()).unwrap_err().reason(), "KEY_UNKNOWN");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Gates that send again what they sent, in any order: each report counts once, and the log says the same.
    #[test]
    fn each_report_counts_once(steps in vec((0..3_u8, 1..9_u64, 1..5_u64), 1..40)) {
        let mut log = log();
        let id = log.token();
        let rules = log.charter();
        // The model: by gate, the newest number and what it said.
        let mut newest = std::collections::BTreeMap::<u8, (u64, u64)>::new();
        let mut total = 0;
        for (n, (gate, seq, count)) in (0_i64..).zip(steps) {
            let at = NOW + 5 + n;
            let payload = report(&rules, &format!("db-{gate}"), seq, json!([used(&id, NOW + 4, NOW + 4, count)]));
            let before = log.entries.len();
            let done = log.uses(&payload, "vault/file", at);
            match newest.get(&gate) {
                Some((last, said)) if *last == seq && *said == count => prop_assert_eq!(done.unwrap(), []),
                Some((last, _)) if *last >= seq => prop_assert_eq!(done.unwrap_err().reason(), "USE_NUMBER"),
                _ => {
                    prop_assert_eq!(done.unwrap().len(), 1);
                    newest.insert(gate, (seq, count));
                    total += count;
                    continue;
                }
            }
            prop_assert_eq!(log.entries.len(), before);
        }
        prop_assert_eq!(log.state.gates().uses(&id).unwrap().total, total);
        let audited = audit(&log.entries, log.pinned);
        prop_assert_eq!(audited.as_ref(), Ok(&log.state));
        let restored = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
        prop_assert_eq!(&restored, &log.state);
    }
}
