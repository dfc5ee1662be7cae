//! Transcripts of ceremonies: what one has to show, who has to sign it, and that it is recorded once.

use breakglass::{
    domain::{Command, Refusal, decide::RECORD_WITHIN, event::Event, transcript::SignedTranscript},
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::{
    kit::{Log, NOW, bytes, charter, key, nonce, patch},
    replay::audit,
};

/// Half an hour with alice and bob, over a minute ago.
fn transcript(log: &Log) -> Value {
    let began = NOW - 2_000;
    json!({
        "iss": log.charter().document().iss, "charter": log.charter().digest(), "ceremony": "genesis",
        "nonce": nonce("transcript"), "rehearsal": false, "began": began, "ended": began + 1_800,
        "present": ["alice", "bob"],
        "steps": [
            {"name": "The HSM was initialised", "began": began, "ended": began + 60, "acknowledged_by": ["alice", "bob"],
             "facts": {"issuing key": "abc"}},
            {"name": "The words were read aloud", "began": began + 60, "ended": began + 90,
             "acknowledged_by": ["alice", "bob"]},
        ],
    })
}

fn signed(value: &Value, devices: &[&str]) -> GeneralJws {
    let payload = bytes(value);
    let sign = |device: &&str| key(device).state(Typ::Transcript, &payload, NOW - 100);
    let signatures = devices.iter().map(sign).collect();
    GeneralJws { payload, signatures }
}

fn record(log: &mut Log, jws: GeneralJws, at: i64) -> Result<Vec<Event>, Refusal> {
    let signed = SignedTranscript::verify(jws, &log.charter())?;
    log.run(&Command::Record(Box::new(signed)), at * 1000)
}

fn refused(log: &mut Log, jws: GeneralJws, reason: &str) {
    let size = log.state.size();
    match record(log, jws, NOW) {
        Ok(events) => panic!("{reason} expected, but: {events:?}"),
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal}"),
    }
    assert_eq!(log.state.size(), size);
}

#[test]
fn a_transcript_is_recorded_once_and_an_auditor_agrees() {
    let mut log = Log::new(&charter());
    let jws = signed(&transcript(&log), &["alice/1", "bob/1"]);
    let events = record(&mut log, jws.clone(), NOW).unwrap();
    assert_eq!(events, [Event::TranscriptRecorded { transcript: jws.clone() }]);
    refused(&mut log, jws.clone(), "TRANSCRIPT_KNOWN");
    // The same words under other signatures are the same transcript.
    let again = signed(&transcript(&log), &["bob/1", "alice/2"]);
    refused(&mut log, again, "TRANSCRIPT_KNOWN");
    assert_eq!(audit(&log.entries, log.pinned).unwrap(), log.state);
    let restored = breakglass::domain::State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, log.state, "a snapshot remembers it");

    let mut forged = log.entries.clone();
    forged.push(forged.last().unwrap().clone());
    let (index, why) = audit(&forged, log.pinned).unwrap_err();
    assert_eq!((index, why.contains("TRANSCRIPT_KNOWN")), (forged.len() - 1, true), "{why}");
}

#[test]
fn everybody_present_signs_and_nobody_else() {
    let mut log = Log::new(&charter());
    let value = transcript(&log);
    for (devices, reason) in [
        (&[][..], "SIGNATURES_MISSING"),
        (&["alice/1"], "SIGNATURES_MISSING"),
        (&["alice/1", "alice/2"], "ALREADY_SIGNED"),
        (&["alice/1", "bob/1", "carol/1"], "NOT_PRESENT"),
        (&["alice/1", "mallory"], "KEY_UNKNOWN"),
        (&["alice/1", "dave/file"], "NOT_A_CUSTODIAN"),
    ] {
        refused(&mut log, signed(&value, devices), reason);
    }
    let payload = bytes(&value);
    let elsewhere = key("bob/1").state_at(Typ::Transcript, &payload, NOW, Some("lobby"));
    let mut jws = signed(&value, &["alice/1"]);
    jws.signatures.push(elsewhere);
    refused(&mut log, jws, "STATION_FORBIDDEN");
    let mut jws = signed(&value, &["alice/1"]);
    jws.signatures.push(key("bob/1").state(Typ::Approval, &payload, NOW));
    assert!(record(&mut log, jws, NOW).is_err(), "another kind of statement is no signature under this one");
}

#[test]
fn a_transcript_that_says_too_little_or_contradicts_itself_is_refused() {
    let mut log = Log::new(&charter());
    let good = transcript(&log);
    let step = |changes| json!({"steps": [patch(good["steps"][0].clone(), changes)]});
    let both = ["alice/1", "bob/1"];
    for changes in [
        json!({"present": ["alice"]}),
        json!({"steps": []}),
        json!({"steps": vec![good["steps"][0].clone(); 65]}),
        json!({"ended": NOW - 2_001}),
        json!({"ended": NOW - 2_000 + 8 * 86_400}),
        json!({"ended": NOW - 1_999}),
        step(json!({"acknowledged_by": ["alice"]})),
        step(json!({"acknowledged_by": ["alice", "carol"]})),
        step(json!({"began": NOW - 2_001})),
        step(json!({"ended": NOW - 2_001})),
        step(json!({"name": " "})),
        step(json!({"name": "x".repeat(121)})),
        step(json!({"facts": {"": "x"}})),
        step(json!({"facts": {"x": "y".repeat(513)}})),
        json!({"steps": [good["steps"][1], good["steps"][0]]}),
    ] {
        let jws = signed(&patch(good.clone(), changes), &both);
        refused(&mut log, jws, "TRANSCRIPT_REFUSED");
    }
    for changes in [
        json!({"ceremony": "seance"}),
        json!({"present": ["bob", "alice"]}),
        json!({"present": ["alice", "alice", "bob"]}),
        json!({"note": "unknown member"}),
        step(json!({"facts": {}})),
    ] {
        let jws = signed(&patch(good.clone(), changes.clone()), &both);
        assert!(record(&mut log, jws, NOW).is_err(), "{changes}");
    }
    for (changes, reason) in [
        (json!({"charter": Digest::of(b"another")}), "CHARTER_MISMATCH"),
        (json!({"iss": "https://elsewhere.example"}), "CHARTER_MISMATCH"),
        (json!({"ended": NOW + 120}), "CLOCK_SKEW"),
    ] {
        refused(&mut log, signed(&patch(good.clone(), changes), &both), reason);
    }
    let late = record(&mut log, signed(&good, &both), NOW + RECORD_WITHIN);
    assert_eq!(late.unwrap_err().reason(), "DEADLINE_PASSED");
}
