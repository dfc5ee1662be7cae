//! `breakglass audit verify` on logs so long that they are read ahead and verified on all cores: what it says is what a
//! replay of one entry after the other says.

use breakglass::{
    domain::{
        Command, State,
        event::{Entry, Event},
        id::RequestId,
        replay::Replay,
        time::Timestamp,
    },
    jose::{Digest, b64},
    store::ExportDirectory,
    tlog::{Checkpoint, Frontier, Origin, SignedCheckpoint, VerifierKey, leaf_hash},
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::{
    kit::{Log, NOW, ORIGIN, charter_of, document, grant_named},
    run::{Place, Ran},
};

/// More than the auditor reads ahead of what he replays.
const APART: usize = 5_500;

/// Entries that are cheap to make.
fn fill(log: &mut Log, entries: usize, at: i64) {
    let minute = Timestamp::from_seconds(NOW);
    let refused = Command::Refused { minute, peer: None, reason: "KEY_UNKNOWN".into(), count: 1 };
    for _ in 0..entries {
        log.run(&refused, at * 1000).unwrap();
    }
}

/// The command that records a snapshot of so many entries.
fn snapshot(log: &Log, size: usize) -> Command {
    let (mut tree, mut state) = (Frontier::empty(), State::default());
    for bytes in &log.entries[..size] {
        tree.append(leaf_hash(bytes), |_, _| ());
        state.evolve(&Entry::parse(bytes).unwrap()).unwrap();
    }
    let root = Digest::from_bytes(*tree.root().as_bytes());
    Command::Snapshot { size: size as u64, root, digest: Digest::of(&state.to_snapshot().unwrap()) }
}

/// The log's own key.
fn log_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// Requests that are approved at once and long after, and snapshots that are recorded at once and long after.
fn long() -> Log {
    let mut document = document();
    document["log_keys"][0]["key"]["x"] = json!(b64::encode(log_key().public_key().as_ref()));
    let mut log = Log::new(&charter_of(&document));
    let file = |log: &mut Log, name: &str, at: i64| -> RequestId {
        log.file_at(&grant_named(&log.charter(), name), "erin/file", at * 1000).unwrap()
    };
    let early = file(&mut log, "early", NOW);
    log.approve(&early, "alice/1", NOW + 1).unwrap();
    fill(&mut log, 300, NOW + 1);
    let flow = file(&mut log, "flow", NOW + 2);
    log.approve(&flow, "alice/1", NOW + 2).unwrap();
    log.approve(&flow, "bob/1", NOW + 2).unwrap();
    log.issue(&flow, NOW + 3).unwrap();
    log.redeem(&flow, "erin/file", NOW + 4, "r").unwrap();
    let soon = snapshot(&log, log.entries.len());
    fill(&mut log, 600, NOW + 5);
    log.run(&soon, (NOW + 5) * 1000).unwrap();
    fill(&mut log, APART, NOW + 6);
    log.approve(&early, "bob/1", NOW + 7).unwrap();
    log.run(&snapshot(&log, 400), (NOW + 8) * 1000).unwrap();
    fill(&mut log, 300, NOW + 9);
    let late = file(&mut log, "late", NOW + 10);
    log.withdraw(&late, "erin/file", NOW + 10).unwrap();
    log
}

/// Something done to the entries of a log.
type Change<'a> = dyn Fn(&mut Vec<Vec<u8>>) + 'a;

/// What one replay, entry by entry, says: the first wrong entry and why.
fn in_turn(entries: &[Vec<u8>], pinned: Digest) -> Option<(usize, String)> {
    let mut replay = Replay::new(pinned);
    for entry in entries {
        replay.foresee(entry);
    }
    entries.iter().enumerate().find_map(|(index, entry)| {
        let wrong = replay.next(entry).err()?;
        Some((index, wrong.to_string()))
    })
}

fn verify(entries: &[Vec<u8>], pinned: Digest, more: &[&str]) -> Ran {
    let place = Place::new();
    place.write("lines", [entries.join(&b'\n'), vec![b'\n']].concat());
    place.run(&[&["audit", "verify", "lines", "--genesis", &pinned.to_string()], more].concat())
}

/// The entries as an export, with a checkpoint over just them.
fn export(entries: &[Vec<u8>]) -> Place {
    let mut tree = Frontier::empty();
    for entry in entries {
        tree.append(leaf_hash(entry), |_, _| ());
    }
    let (origin, key) = (ORIGIN.parse::<Origin>().unwrap(), log_key());
    let head = Checkpoint { origin: origin.clone(), size: tree.size(), root: tree.root() };
    let signature = key.sign(head.to_string().as_bytes()).as_ref().try_into().unwrap();
    let verifier = VerifierKey::new(origin, key.public_key().as_ref().try_into().unwrap());
    let signed = SignedCheckpoint::assemble(head, &verifier, &signature).unwrap();
    let place = Place::new();
    let mut export = ExportDirectory::at(&place.path().join("copy")).export(signed).unwrap();
    export.push(entries.to_vec()).unwrap();
    export.finish().unwrap();
    place
}

/// Changes one byte of an entry in the middle of a bundle of an export.
fn flip(place: &Place, bundle: &str) {
    let name = format!("copy/tile/entries/{bundle}");
    let mut bytes = place.read(&name);
    let middle = bytes.len() / 2;
    let at = middle + bytes[middle..].windows(2).position(|two| two == b"\":").unwrap();
    bytes[at + 1] = b';';
    place.write(&name, bytes);
}

/// The first entry from this one on whose event is of this type.
fn find(log: &Log, from: usize, kind: &str) -> usize {
    let kind = format!("\"type\":\"{kind}\"");
    let is = |entry: &Vec<u8>| std::str::from_utf8(entry).unwrap().contains(&kind);
    from + log.entries[from..].iter().position(is).unwrap()
}

/// Changes the event of an entry.
fn change(entries: &mut [Vec<u8>], at: usize, change: impl FnOnce(&mut Value)) {
    let mut event: Value = serde_json::from_slice(&entries[at]).unwrap();
    change(&mut event["event"]);
    entries[at] = crate::kit::bytes(&event);
}

#[test]
fn a_long_log_is_verified_on_all_cores() {
    let log = long();
    assert_eq!(in_turn(&log.entries, log.pinned), None);
    let ran = verify(&log.entries, log.pinned, &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(result["entries"], log.entries.len());
    assert_eq!((&result["unchecked_snapshots"], &result["events"]["snapshot_taken"]), (&json!(0), &json!(2)));
    assert_eq!(
        (&result["events"]["approval_recorded"], &result["events"]["request_withdrawn"]),
        (&json!(4), &json!(1))
    );
}

#[test]
fn the_first_wrong_entry_of_a_long_log_is_named() {
    let log = long();
    let late = log.entries.len() - 1;
    let second = find(&log, 303, "approval_recorded");
    let last_approval = find(&log, APART, "approval_recorded");
    let snapshots = [find(&log, 0, "snapshot_taken"), find(&log, APART, "snapshot_taken")];
    let forge = |entries: &mut Vec<Vec<u8>>, at| {
        change(entries, at, |event| event["signature"]["signature"] = json!("A".repeat(86)));
    };
    let other_state = |entries: &mut Vec<Vec<u8>>, at| {
        change(entries, at, |event| event["digest"] = json!(Digest::of(b"another state")));
    };
    let cases: [(&str, usize, &Change); 8] = [
        ("a forged approval", second, &|entries| forge(entries, second)),
        ("one long after its request", last_approval, &|entries| forge(entries, last_approval)),
        ("two forged ones", second, &|entries| {
            forge(entries, last_approval);
            forge(entries, second);
        }),
        ("an entry left out", second + 1, &|entries| drop(entries.remove(second))),
        ("a snapshot of another state", snapshots[0], &|entries| other_state(entries, snapshots[0])),
        ("one that is recorded late, before another wrong entry", snapshots[1], &|entries| {
            other_state(entries, snapshots[1]);
            change(entries, late, |event| event["withdrawal"]["payload"] = json!("e30"));
        }),
        ("a torn line", 5_000, &|entries| entries[5_000].truncate(9)),
        ("a torn line after a forged approval", second, &|entries| {
            entries[second + 7].truncate(9);
            forge(entries, second);
        }),
    ];
    for (what, expected, make) in cases {
        let mut entries = log.entries.clone();
        make(&mut entries);
        let (index, why) = in_turn(&entries, log.pinned).unwrap();
        assert_eq!(index, expected, "{what}: {why}");
        let ran = verify(&entries, log.pinned, &[]);
        assert_eq!(ran.code, 4, "{what}");
        assert!(ran.stderr.contains(&format!("entry {index} ")), "{what}: {}", ran.stderr);
        let reason = why.split(['(', ')']).nth(1).unwrap_or(&why);
        assert!(ran.stderr.contains(reason), "{what}: {reason} is not in {}", ran.stderr);
    }
}

#[test]
fn faults_of_a_long_export_are_told_in_their_order() {
    let log = long();
    let forged_at = find(&log, 303, "approval_recorded");
    let mut forged = log.entries.clone();
    change(&mut forged, forged_at, |event| event["signature"]["signature"] = json!("A".repeat(86)));
    let told = |place: &Place| {
        let ran = place.run(&["audit", "verify", "copy", "--genesis", &log.pinned.to_string()]);
        let entry = ran.stderr.split("entry ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        (ran.code, entry, ran.stdout + &ran.stderr)
    };
    let honest = export(&log.entries);
    let (code, _, text) = told(&honest);
    assert!(code == 0 && text.contains("signed by the log key"), "{text}");
    // A file that was changed is told in its turn: bundle 0 before, bundle 10 after the forged approval in bundle 1.
    flip(&honest, "010");
    let (code, entry, text) = told(&honest);
    assert!(code == 4 && entry.is_some_and(|entry: usize| entry / 256 == 10), "{text}");
    let place = export(&forged);
    flip(&place, "010");
    let (code, entry, text) = told(&place);
    assert_eq!((code, entry), (4, Some(forged_at)), "{text}");
    flip(&place, "000");
    let (code, entry, text) = told(&place);
    assert!(code == 4 && entry.is_some_and(|entry: usize| entry / 256 == 0), "{text}");
}

#[test]
fn a_log_that_ends_within_a_decision_is_not_whole() {
    let mut log = long();
    let at = find(&log, APART, "approval_recorded");
    log.entries.truncate(at + 1);
    let entry = Entry::parse(&log.entries[at]).unwrap();
    assert!(matches!(entry.event, Event::ApprovalRecorded { .. }), "the authorization is missing");
    let ran = verify(&log.entries, log.pinned, &["--json"]);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("LOG_INCOMPLETE") || ran.stdout.contains("LOG_INCOMPLETE"), "{}", ran.stderr);
}
