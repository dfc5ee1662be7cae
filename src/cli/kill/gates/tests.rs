//! What a custodian is shown of gates: a forged acknowledgement is not believed, and two stories are an alarm.

use serde_json::json;

use super::*;
use crate::{
    cli::fixture::{self, NOW, key},
    jose::{GeneralJws, Typ, json as strict},
};

/// The seed of the verifier's key.
const VAULT: u8 = 50;

fn rules() -> Rules {
    let mut document = fixture::document();
    document["verifiers"] = json!([
        {"id": "vault", "aud": "https://db.example", "keys": [key(VAULT).public]},
        {"id": "legacy", "aud": "https://db.example"},
    ]);
    fixture::rules_of(&document)
}

/// An acknowledgement of this kill by a gate of this name, under any key.
fn ack(rules: &Rules, name: &str, kill: Digest, head: Digest, by: u8) -> Vec<u8> {
    let payload = json!({"iss": "https://breakglass.example", "charter": rules.digest(), "gate": name, "kills": [kill],
        "epoch": 3, "head": {"step": 3, "digest": head}});
    let payload = strict::canonical(&payload).unwrap();
    let signatures = vec![fixture::signature(by, Typ::Ack, &payload, NOW - 5, None)];
    GeneralJws { payload, signatures }.to_json()
}

fn gate(name: &str, ack: Vec<u8>) -> v1::Gate {
    v1::Gate {
        verifier: "vault".into(),
        name: name.into(),
        connected: true,
        since: Some(prost_types::Timestamp { seconds: NOW - 600, nanos: 0 }),
        newest: ack.clone(),
        ack,
        after_ms: Some(41),
        expected: true,
        ..v1::Gate::default()
    }
}

#[test]
fn a_gate_counts_by_its_own_signature_alone() {
    let (rules, kill, head) = (rules(), Digest::of(b"the kill"), Digest::of(b"head"));
    let good = gate("db-1", ack(&rules, "db-1", kill, head, VAULT));
    let cases = [
        (good.clone(), true, "ENFORCES it, after 41 ms"),
        (gate("db-2", Vec::new()), false, "has NOT acknowledged it"),
        // What a daemon could show instead of an acknowledgement that it never got.
        (gate("db-2", good.ack.clone()), false, "another gate's"),
        (gate("db-2", ack(&rules, "db-2", Digest::of(b"another kill"), head, VAULT)), false, "another kill"),
        (gate("db-2", ack(&rules, "db-2", kill, head, fixture::ALICE)), false, "verifier"),
        (gate("db-2", ack(&rules, "db-2", kill, head, 99)), false, "not in the charter"),
        (gate("db-2", b"{}".to_vec()), false, "NOT VERIFIED"),
    ];
    for (gate, enforces, words) in cases {
        let gates = Gates::of(None, &[gate], &rules, Some(kill), None);
        assert_eq!(gates.json()["gates"][0]["enforced"], enforces, "{words}");
        let text = gates.describe(&rules, true, NOW);
        assert!(text.contains(words), "{words:?} is expected in {text:?}");
        assert!(text.contains("verifier legacy: no gate has been seen"), "{text}");
    }
}

/// A hostile daemon hides a kill from one gate, and shows that gate's signed head of the shorter story as it is: it cannot make
/// another.
#[test]
fn gates_that_were_told_different_stories_are_seen() {
    let (rules, kill) = (rules(), Digest::of(b"the kill"));
    let told = |name: &str, head: &[u8]| gate(name, ack(&rules, name, kill, Digest::of(head), VAULT));
    let same = Gates::of(None, &[told("db-1", b"one"), told("db-2", b"one")], &rules, Some(kill), None);
    assert!(same.stories.is_empty() && !same.describe(&rules, true, NOW).contains("ALARM"));
    let two = Gates::of(None, &[told("db-1", b"one"), told("db-2", b"two")], &rules, Some(kill), None);
    assert_eq!(two.json()["different_stories_at"], json!([3]));
    assert!(two.describe(&rules, true, NOW).starts_with("ALARM"));
    let here = Head { step: 3, digest: Digest::of(b"three") };
    let own = Gates::of(None, &[told("db-1", b"one")], &rules, Some(kill), Some(here));
    assert_eq!(own.stories, [3], "also where the story told here is another");
}
