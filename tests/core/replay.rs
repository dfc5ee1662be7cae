//! An auditor replays a log: an honest one reaches the state that the daemon has; one that a daemon, or whoever holds
//! the database, has written by himself is refused at the first entry that is wrong.

use breakglass::{
    domain::{
        Command, State,
        ahead::Scout,
        event::{Actor, Entry, Event, Failure},
        id::RequestId,
        replay::{Replay, WrongEntry},
        time::Timestamp,
    },
    jose::{Digest, Signature, Typ},
    tlog::{Frontier, leaf_hash},
};
use serde_json::{Value, json};

use crate::kit::{Log, NOW, bytes, charter, charter_of, document, grant, grant_named, key, patch};

/// Replays as an auditor does; what is wrong, and where. Signatures verified ahead make no difference.
pub fn audit(entries: &[Vec<u8>], pinned: Digest) -> Result<State, (usize, String)> {
    let in_turn = audit_with(entries, pinned, Replay::next);
    let mut scout = Scout::default();
    let ahead = audit_with(entries, pinned, |replay, entry| {
        replay.next_prepared(scout.next(entry.to_vec()).verify())
    });
    assert_eq!(in_turn, ahead);
    in_turn
}

fn audit_with(
    entries: &[Vec<u8>],
    pinned: Digest,
    mut next: impl FnMut(&mut Replay, &[u8]) -> Result<Entry, WrongEntry>,
) -> Result<State, (usize, String)> {
    let mut replay = Replay::new(pinned);
    for entry in entries {
        replay.foresee(entry);
    }
    for (index, entry) in entries.iter().enumerate() {
        next(&mut replay, entry).map_err(|wrong| (index, wrong.to_string()))?;
    }
    assert_eq!(replay.unchecked_snapshots(), [0; 0]);
    if replay.is_complete() {
        Ok(replay.state().clone())
    } else {
        Err((entries.len(), "the log ends within a decision".into()))
    }
}

/// The replay of an honest log before each of its entries, so that a change late in it costs little to judge.
fn prefixes(log: &Log) -> Vec<Replay> {
    let mut replay = Replay::new(log.pinned);
    for entry in &log.entries {
        replay.foresee(entry);
    }
    let step = |entry: &Vec<u8>| {
        let before = replay.clone();
        replay.next(entry).unwrap();
        before
    };
    log.entries.iter().map(step).collect()
}

/// Whether these entries may follow.
fn follows(mut replay: Replay, entries: &[&[u8]]) -> bool {
    for entry in entries {
        replay.foresee(entry);
    }
    entries.iter().all(|entry| replay.next(entry).is_ok())
        && replay.unchecked_snapshots().is_empty()
        && replay.is_complete()
}

fn snapshot(log: &Log, size: usize) -> Command {
    let mut tree = Frontier::empty();
    let mut state = State::default();
    for bytes in &log.entries[..size] {
        tree.append(leaf_hash(bytes), |_, _| ());
        state.evolve(&Entry::parse(bytes).unwrap()).unwrap();
    }
    let root = Digest::from_bytes(*tree.root().as_bytes());
    Command::Snapshot { size: size as u64, root, digest: Digest::of(&state.to_snapshot().unwrap()) }
}

/// A log with every kind of event but attestation.
fn eventful() -> Log {
    let mut log = Log::new(&charter());
    log.run(&Command::Start { version: "1".into() }, (NOW - 500) * 1000).unwrap();
    let ids: Vec<RequestId> = (0..6)
        .map(|n| log.file(&grant_named(&log.charter(), &format!("g{n}")), "erin/file").unwrap())
        .collect();
    log.withdraw(&ids[0], "erin/file", NOW + 1).unwrap();
    log.judge(&ids[1], "carol/1", Typ::Denial, NOW + 2).unwrap();
    for id in &ids[2..5] {
        log.approve(id, "alice/1", NOW + 3).unwrap();
    }
    for id in &ids[2..5] {
        log.approve(id, "bob/1", NOW + 4).unwrap();
    }
    log.run(&snapshot(&log, log.entries.len()), (NOW + 4) * 1000).unwrap();
    log.issue(&ids[2], NOW + 5).unwrap();
    log.redeem(&ids[2], "erin/file", NOW + 6, "r").unwrap();
    log.run(&Command::Fail { request: ids[3], reason: Failure::SignatureInvalid }, (NOW + 7) * 1000).unwrap();
    log.instance = "d1.second".parse().unwrap();
    log.run(&Command::Start { version: "1".into() }, (NOW + 8) * 1000).unwrap();
    log.run(&Command::TakeOver { request: ids[4] }, (NOW + 8) * 1000).unwrap();
    let refused = Command::Refused {
        minute: Timestamp::from_seconds(NOW),
        peer: None,
        reason: "KEY_UNKNOWN".into(),
        count: 3,
    };
    log.run(&refused, (NOW + 60) * 1000).unwrap();
    log.run(&snapshot(&log, 12), (NOW + 61) * 1000).unwrap();
    log.run(&Command::Tick, (NOW + 70) * 1000).unwrap();
    log.run(&Command::Tick, (NOW + 700) * 1000).unwrap();
    log
}

fn kind(entry: &[u8]) -> String {
    let entry: Value = serde_json::from_slice(entry).unwrap();
    entry["event"]["type"].as_str().unwrap().to_owned()
}

#[test]
fn an_honest_log_replays_to_the_state_of_the_daemon() {
    let log = eventful();
    let kinds: std::collections::BTreeSet<String> = log.entries.iter().map(|entry| kind(entry)).collect();
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    let state = audit(&log.entries, log.pinned).unwrap();
    assert_eq!(state, log.state);
    assert_eq!(state.to_snapshot().unwrap(), log.state.to_snapshot().unwrap());
}

#[test]
fn snapshots_are_the_state_at_every_size() {
    let log = eventful();
    let mut state = State::default();
    for entry in &log.entries {
        state.evolve(&Entry::parse(entry).unwrap()).unwrap();
        let bytes = state.to_snapshot().unwrap();
        let restored = State::from_snapshot(&bytes).unwrap();
        assert_eq!(restored, state);
        assert_eq!(restored.to_snapshot().unwrap(), bytes);
    }
    assert_eq!(state, log.state);
}

/// Whatever single entry is left out, doubled, or swapped with its neighbour: the next snapshot, or the next checkpoint,
/// which names the same tree, gives it away even where no rule is broken.
#[test]
fn no_entry_can_be_removed_doubled_or_moved() {
    let mut log = eventful();
    log.run(&snapshot(&log, log.entries.len()), (NOW + 701) * 1000).unwrap();
    let (honest, before) = (&log.entries, prefixes(&log));
    let rest = |at: usize| honest.iter().skip(at).map(Vec::as_slice);
    for (at, replay) in before.iter().enumerate().take(honest.len() - 1) {
        let removed: Vec<&[u8]> = rest(at + 1).collect();
        assert!(!follows(replay.clone(), &removed), "removed {at}: {}", kind(&honest[at]));
        let doubled: Vec<&[u8]> = rest(at).take(1).chain(rest(at)).collect();
        assert!(!follows(replay.clone(), &doubled), "doubled {at}: {}", kind(&honest[at]));
        let pair = [honest[at + 1].as_slice(), honest[at].as_slice()];
        let swapped: Vec<&[u8]> = pair.into_iter().chain(rest(at + 2)).collect();
        assert!(!follows(replay.clone(), &swapped), "swapped {at}: {}", kind(&honest[at]));
    }
}

/// Each byte of each entry: either it is no entry any more, or the auditor names it or what follows from it. Only what
/// is nobody's to prove may differ (salts, who carried a statement, what a daemon says of itself), and the tree keeps it.
#[test]
fn no_byte_of_an_entry_can_be_changed() {
    let log = eventful();
    let before = prefixes(&log);
    let mut rng = 7_u64;
    for (at, entry) in log.entries.iter().enumerate() {
        for _ in 0..25 {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let byte = (rng >> 33) as usize % entry.len();
            let mut changed = entry.clone();
            changed[byte] ^= 1 << ((rng >> 13) & 1);
            let rest = log.entries.iter().skip(at + 1).map(Vec::as_slice);
            let entries: Vec<&[u8]> = std::iter::once(changed.as_slice()).chain(rest).collect();
            if follows(before[at].clone(), &entries) {
                let mut before: Value = serde_json::from_slice(entry).unwrap();
                let mut after: Value = serde_json::from_slice(&changed).unwrap();
                for value in [&mut before, &mut after] {
                    value["salt"] = json!(null);
                    value["actor"] = json!(null);
                    let event = value["event"].as_object_mut().unwrap();
                    for said in ["instance", "version", "minute", "reason", "count", "jwt", "jwe"] {
                        event.remove(said);
                    }
                    if [
                        "attempts_refused",
                        "daemon_started",
                        "token_expired",
                        "request_lapsed",
                        "issuance_failed",
                        "snapshot_taken",
                        "token_released",
                        "issuance_taken_over",
                        "token_issued",
                    ]
                    .contains(&event["type"].as_str().unwrap())
                    {
                        value["at"] = json!(null);
                    }
                }
                let texts = [&before, &after].map(Value::to_string);
                let mut differing = texts[0].bytes().zip(texts[1].bytes()).filter(|(a, b)| a != b);
                let in_time = before["at"] != after["at"];
                assert!(
                    differing.next().is_none() || in_time || texts[0].contains("signature"),
                    "entry {at} ({}): {before} became {after}",
                    kind(entry)
                );
            }
        }
    }
}

/// Someone writes entries of his own behind an honest log.
struct Forger {
    log: Log,
}

impl Forger {
    fn new() -> Self {
        Self { log: Log::new(&charter()) }
    }

    /// A pending request with one approval, by alice.
    fn pending(&mut self) -> RequestId {
        let id = self.log.file(&grant(&self.log.charter()), "erin/file").unwrap();
        self.log.approve(&id, "alice/1", NOW + 5).unwrap();
        id
    }

    fn authorized(&mut self) -> RequestId {
        let id = self.pending();
        self.log.approve(&id, "bob/1", NOW + 6).unwrap();
        id
    }

    fn daemon(&self) -> Value {
        json!({"kind": "daemon", "instance": self.log.instance})
    }

    /// What the auditor says of a log that ends with this.
    fn verdict(&self, at: &str, actor: &Value, event: &Value) -> String {
        let entry =
            json!({"v": 1, "at": at, "actor": actor, "salt": crate::kit::nonce("forged"), "event": event});
        let mut entries = self.log.entries.clone();
        entries.push(bytes(&entry));
        match audit(&entries, self.log.pinned) {
            Ok(_) => "ACCEPTED".into(),
            Err((index, why)) => {
                assert!(index >= self.log.entries.len(), "{index}: {why}");
                why
            }
        }
    }
}

const LATER: &str = "2027-01-15T08:00:10.000Z";

#[track_caller]
fn says(verdict: &str, expected: &str) {
    assert!(verdict.contains(expected), "expected {expected}, found {verdict}");
}

#[test]
fn a_daemon_cannot_write_what_it_may_not_decide() {
    let mut forger = Forger::new();
    let id = forger.pending();
    let daemon = forger.daemon();
    let issued = json!({"type": "token_issued", "request_id": id, "jwt": Digest::of(b"jwt"), "jwe": "e30"});
    says(&forger.verdict(LATER, &daemon, &issued), "WRONG_STATE");
    let authorized = json!({"type": "issuance_authorized", "request_id": id, "approvals": [key("alice/1").kid(), key("bob/1").kid()],
        "iat": NOW + 10, "exp": NOW + 70, "kid": key("hsm/1").kid(), "claims": Digest::of(b"claims"), "instance": "d1.first"});
    says(&forger.verdict(LATER, &daemon, &authorized), "never stands alone");
    says(
        &forger.verdict(LATER, &daemon, &json!({"type": "request_denied", "request_id": id})),
        "never stands alone",
    );
    says(
        &forger.verdict(LATER, &daemon, &json!({"type": "request_lapsed", "request_id": id})),
        "nothing follows",
    );
    says(
        &forger.verdict(LATER, &daemon, &json!({"type": "token_expired", "request_id": id})),
        "nothing follows",
    );
    let failed = |reason| json!({"type": "issuance_failed", "request_id": id, "reason": reason});
    says(&forger.verdict(LATER, &daemon, &failed("expired")), "nothing follows");
    says(&forger.verdict(LATER, &daemon, &failed("signature_invalid")), "WRONG_STATE");
    let payload = bytes(&grant(&charter()));
    let approval =
        |signature: Signature| json!({"type": "approval_recorded", "request_id": id, "signature": signature});
    let forged = |name: &str, typ, iat| approval(key(name).state(typ, &payload, iat));
    for (event, expected) in [
        (forged("mallory", Typ::Approval, NOW + 9), "KEY_UNKNOWN"),
        (forged("erin/file", Typ::Approval, NOW + 9), "NOT_A_CUSTODIAN"),
        (forged("alice/2", Typ::Approval, NOW + 9), "ALREADY_SIGNED"),
        (forged("bob/1", Typ::Approval, NOW + 900), "CLOCK_SKEW"),
        (forged("bob/1", Typ::Denial, NOW + 9), "decide otherwise"),
        (forged("bob/1", Typ::Withdrawal, NOW + 9), "NOT_A_VERDICT"),
        (approval(key("bob/1").state(Typ::Approval, b"{}", NOW + 9)), "SIGNATURE_INVALID"),
        // A good approval completes the quorum: the log may not end here.
        (forged("bob/1", Typ::Approval, NOW + 9), "ends within a decision"),
    ] {
        says(&forger.verdict(LATER, &daemon, &event), expected);
    }
    let unsigned = json!({"type": "request_filed", "request": {"payload": breakglass::jose::b64::encode(&payload), "signatures": []}});
    says(&forger.verdict(LATER, &daemon, &unsigned), "not an entry");
    let other = bytes(&patch(grant_named(&charter(), "x"), json!({"ttl": 900_000})));
    let filed = json!({"type": "request_filed", "request": key("erin/file").jws(Typ::Request, &other, NOW)});
    says(&forger.verdict(LATER, &daemon, &filed), "GRANT_TIMES");
    let again = json!({"type": "charter_adopted", "charter": charter().statement()});
    says(&forger.verdict(LATER, &daemon, &again), "CHARTER_VERSION");
    let evidence = json!({"type": "attestation_recorded", "statement": "AAAA", "intermediate": "AAAA"});
    says(&forger.verdict(LATER, &daemon, &evidence), "ends within a decision");
}

#[test]
fn what_was_verified_under_another_charter_is_verified_again() {
    let mut document = document();
    document["persons"][4]["keys"].as_array_mut().unwrap().push(key("erin/new").jwk());
    let (rules, other) = (charter(), charter_of(&document));
    let mut scout = Scout::default();
    scout.next(Log::new(&other).entries.remove(0));
    let asked = patch(grant(&rules), json!({"requester_key": key("erin/new").kid()}));
    let mut log = Log::new(&other);
    let request = key("erin/new").jws(Typ::Request, &bytes(&asked), NOW);
    let event = json!({"type": "request_filed", "request": request});
    let salt = crate::kit::nonce("forged");
    let actor = json!({"kind": "daemon", "instance": log.instance});
    let entry = bytes(&json!({"v": 1, "at": LATER, "actor": actor, "salt": salt, "event": event}));
    let under = |log: &Log, scout: &mut Scout| {
        let mut replay = Replay::new(log.pinned);
        log.entries.iter().for_each(|entry| drop(replay.next(entry).unwrap()));
        replay.next_prepared(scout.next(entry.clone()).verify()).unwrap_err().to_string()
    };
    // The key is known to the charter that the scout has seen: what is wrong is said by the rules.
    says(&under(&log, &mut scout), "CHARTER_MISMATCH");
    log = Log::new(&rules);
    says(&under(&log, &mut scout), "KEY_UNKNOWN");
}

#[test]
fn times_of_entries_are_those_of_the_decision() {
    let mut forger = Forger::new();
    forger.authorized();
    let last = forger.log.entries.pop().unwrap();
    let last: Value = serde_json::from_slice(&last).unwrap();
    let (at, actor, event) = (last["at"].as_str().unwrap(), &last["actor"], &last["event"]);
    says(&forger.verdict(at, actor, event), "ACCEPTED");
    says(&forger.verdict(LATER, actor, event), "another time or actor");
    says(&forger.verdict(at, &json!({"kind": "peer"}), event), "another time or actor");
    for (name, value) in [
        ("iat", json!(NOW + 7)),
        ("exp", json!(NOW + 67)),
        ("kid", json!(key("hsm/old").kid())),
        ("claims", json!(Digest::of(b"others"))),
        ("approvals", json!([key("alice/1").kid()])),
        ("approvals", json!([key("bob/1").kid(), key("alice/1").kid()])),
    ] {
        says(&forger.verdict(at, actor, &patch(event.clone(), json!({name: value}))), "decide otherwise");
    }
    // Back in time.
    let started = json!({"type": "daemon_started", "instance": "d1.first", "version": "1"});
    let mut forger = Forger::new();
    forger.authorized();
    says(&forger.verdict("2027-01-15T08:00:05.999Z", &forger.daemon(), &started), "CLOCK_REFUSED");
}

#[test]
fn nobody_speaks_for_another_daemon() {
    let mut forger = Forger::new();
    let id = forger.authorized();
    let (peer, other) = (json!({"kind": "peer"}), json!({"kind": "daemon", "instance": "d2.first"}));
    let started = |instance: &str| json!({"type": "daemon_started", "instance": instance, "version": "1"});
    says(&forger.verdict(LATER, &forger.daemon(), &started("d1.first")), "ACCEPTED");
    says(&forger.verdict(LATER, &other, &started("d1.first")), "actor");
    says(&forger.verdict(LATER, &peer, &started("d1.first")), "actor");
    let over =
        |instance: &str| json!({"type": "issuance_taken_over", "request_id": id, "instance": instance});
    says(&forger.verdict("2027-01-15T08:00:36.000Z", &other, &over("d2.first")), "ACCEPTED");
    says(&forger.verdict(LATER, &other, &over("d2.first")), "ANOTHER_INSTANCE");
    says(&forger.verdict("2027-01-15T08:00:36.000Z", &forger.daemon(), &over("d2.first")), "actor");
    let issued = json!({"type": "token_issued", "request_id": id, "jwt": Digest::of(b"jwt"), "jwe": "e30"});
    says(&forger.verdict(LATER, &forger.daemon(), &issued), "ACCEPTED");
    says(&forger.verdict(LATER, &other, &issued), "ANOTHER_INSTANCE");
    says(&forger.verdict(LATER, &peer, &issued), "actor");
    let refused = json!({"type": "attempts_refused", "minute": LATER, "reason": "X", "count": 1});
    says(&forger.verdict(LATER, &peer, &refused), "actor");
}

#[test]
fn a_snapshot_has_to_be_that_of_the_log() {
    let mut forger = Forger::new();
    forger.authorized();
    let Command::Snapshot { size, root, digest } = snapshot(&forger.log, 3) else { panic!() };
    let taken = |size: u64, root: Digest, digest: Digest| json!({"type": "snapshot_taken", "size": size, "root": root, "digest": digest});
    let daemon = forger.daemon();
    says(&forger.verdict(LATER, &daemon, &taken(size, root, digest)), "ACCEPTED");
    says(&forger.verdict(LATER, &daemon, &taken(size, Digest::of(b"x"), digest)), "another tree");
    says(&forger.verdict(LATER, &daemon, &taken(size, root, Digest::of(b"x"))), "another state");
    says(&forger.verdict(LATER, &daemon, &taken(4, root, digest)), "another tree");
    says(&forger.verdict(LATER, &daemon, &taken(9, root, digest)), "SNAPSHOT_AHEAD");
}

#[test]
fn the_first_charter_is_the_pinned_one() {
    let log = eventful();
    let (index, why) = audit(&log.entries, Digest::of(b"another charter")).unwrap_err();
    assert_eq!((index, why.as_str()), (0, "the log's first charter is not the pinned one"));
    let (index, _) =
        audit(&log.entries[1..], log.pinned).map(|_| ()).err().unwrap_or((usize::MAX, String::new()));
    assert_eq!(index, 1, "the first statement after the start of a daemon");
}

/// The fold trusts the log, but not so far as to lose its own footing.
#[test]
fn evolve_refuses_what_cannot_follow() {
    let mut forger = Forger::new();
    let id = forger.authorized();
    let last: Entry = Entry::parse(forger.log.entries.last().unwrap()).unwrap();
    let mut state = State::default();
    for entry in &forger.log.entries[..forger.log.entries.len() - 1] {
        state.evolve(&Entry::parse(entry).unwrap()).unwrap();
    }
    let Event::IssuanceAuthorized { approvals, .. } = &last.event else { panic!() };
    let once = vec![approvals[0]];
    let twice = vec![approvals[0], approvals[0]];
    let unknown = vec![approvals[0], Digest::of(b"nobody")];
    let change = |change: &dyn Fn(&mut Event)| {
        let mut entry = last.clone();
        change(&mut entry.event);
        state.clone().evolve(&entry)
    };
    assert!(change(&|_| ()).is_ok());
    for chosen in [once, twice, unknown, Vec::new()] {
        assert!(
            change(&|event| if let Event::IssuanceAuthorized { approvals, .. } = event {
                approvals.clone_from(&chosen);
            })
            .is_err()
        );
    }
    assert!(
        change(&|event| if let Event::IssuanceAuthorized { exp, .. } = event {
            *exp += 1;
        })
        .is_err()
    );
    assert!(
        change(&|event| if let Event::IssuanceAuthorized { iat, .. } = event {
            *iat -= 1;
        })
        .is_err()
    );
    // Known entries again, or out of place.
    for (index, entry) in forger.log.entries.iter().enumerate() {
        let mut entry = Entry::parse(entry).unwrap();
        entry.at = forger.log.state.last();
        if index != 2 && index != 3 {
            assert!(forger.log.state.clone().evolve(&entry).is_err(), "{index}");
        }
        assert!(State::default().evolve(&entry).is_err() || index == 0, "{index}");
    }
    let actor = Actor::Peer { key: None };
    let expired = Entry { event: Event::TokenExpired { request_id: id }, actor, ..last };
    assert!(forger.log.state.clone().evolve(&expired).is_err(), "it was never issued");
}

/// A daemon that starts on a database somebody else has written to must not sign for him.
#[test]
fn what_is_still_to_be_signed_is_verified_before_anything_is() {
    let mut forger = Forger::new();
    let id = forger.authorized();
    let entries: Vec<Entry> = forger.log.entries.iter().map(|entry| Entry::parse(entry).unwrap()).collect();
    let fold = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        let mut state = State::default();
        for entry in &entries {
            state.evolve(entry).unwrap();
        }
        state.recheck().map_err(|unfounded| {
            assert_eq!(unfounded.request, id);
            unfounded.why
        })
    };
    for end in 1..=entries.len() {
        assert_eq!(fold(&|entries| entries.truncate(end)), Ok(()));
    }
    let payload = bytes(&grant(&charter()));
    let signature = |signed_by: &str, typ, over: &[u8]| {
        // bob's header, whoever signed.
        let honest = key("bob/1").state(typ, &payload, NOW + 6);
        let input = Signature::signing_input(honest.protected(), over);
        Signature::new(honest.protected(), key(signed_by).sign(&input)).unwrap()
    };
    let approval = |entry: &mut Entry, forged: Signature| {
        let Event::ApprovalRecorded { signature, .. } = &mut entry.event else { panic!("no approval") };
        *signature = forged;
    };
    // An approval that bob never gave: pending, and authorized.
    for end in [4, 5] {
        let forged = fold(&|entries| {
            approval(&mut entries[3], signature("mallory", Typ::Approval, &payload));
            entries.truncate(end);
        });
        assert_eq!(forged, Err(if end == 4 { "SIGNATURE_INVALID" } else { "STATEMENTS_INVALID" }));
    }
    let other = fold(&|entries| {
        approval(&mut entries[3], signature("bob/1", Typ::Approval, b"{}"));
        entries.truncate(4);
    });
    assert_eq!(other, Err("SIGNATURE_INVALID"));
    let denial = fold(&|entries| {
        approval(&mut entries[3], signature("bob/1", Typ::Denial, &payload));
        entries.truncate(4);
    });
    assert_eq!(denial, Err("NOT_A_VERDICT"));
    // Claims or key of the thief's choice.
    let change = |change: &dyn Fn(&mut Event)| fold(&|entries| change(&mut entries[4].event));
    let claims = change(&|event| {
        if let Event::IssuanceAuthorized { claims, .. } = event {
            *claims = Digest::of(b"others");
        }
    });
    assert_eq!(claims, Err("CLAIMS_DIFFER"));
    let kid = change(&|event| {
        if let Event::IssuanceAuthorized { kid, .. } = event {
            *kid = key("hsm/bad").kid();
        }
    });
    assert_eq!(kid, Err("ISSUING_KEY_UNKNOWN"));
}
