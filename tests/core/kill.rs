//! Kills and lifts in the log: who may, what each level ends and refuses, that neither can be repeated or kept in a
//! drawer, and what an auditor and a strict verifier make of them.

use breakglass::{
    domain::{
        Command, Refusal, State,
        charter::{Charter, KillLevel, Rules},
        event::{Entry, Event},
        id::{Audience, KillId, RequestId},
        kill::{
            KillRefusal, Kills, LIFT_WITHIN, MAX_PER_TARGET, SignedKill, SignedLift, Target, UNKNOWN_FOR,
        },
        request::Outcome,
        strict::{self, Killed, Seen, View},
        time::Timestamp,
    },
    jose::{Digest, GeneralJws, Typ},
};
use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    kit::{AUD, Log, NOW, bytes, charter, charter_of, document, flow, grant_named, key, nonce, patch},
    replay::audit,
    succession::{following, refused},
};

/// The payload of a kill; its id follows from the tag.
pub fn kill(rules: &Rules, level: &str, target: Option<&str>, tag: &str) -> Value {
    let plain = json!({"iss": rules.document().iss, "charter": rules.digest(), "id": nonce(tag), "level": level,
        "reason": "Seen where it should not be"});
    target.map_or_else(|| plain.clone(), |target| patch(plain.clone(), json!({"target": target})))
}

/// The id of the kill of this tag.
fn id(tag: &str) -> KillId {
    nonce(tag).parse().unwrap()
}

fn lift(log: &Log, tags: &[&str]) -> Value {
    let mut kills: Vec<KillId> = tags.iter().map(|tag| id(tag)).collect();
    kills.sort_unstable();
    json!({"iss": log.charter().document().iss, "charter": log.charter().digest(), "kills": kills,
        "epoch": log.state.kills().epoch()})
}

impl Log {
    pub fn kill(
        &mut self,
        level: &str,
        target: Option<&str>,
        by: &str,
        tag: &str,
        at: i64,
    ) -> Result<Vec<Event>, Refusal> {
        let payload = kill(&self.charter(), level, target, tag);
        self.kill_with(&payload, by, at, at)
    }

    fn kill_with(
        &mut self,
        payload: &Value,
        by: &str,
        signed_at: i64,
        at: i64,
    ) -> Result<Vec<Event>, Refusal> {
        let jws = key(by).jws(Typ::Kill, &bytes(payload), signed_at);
        let signed = SignedKill::verify(jws, &self.charter(), Typ::Kill)?;
        self.run(&Command::Kill(Box::new(signed)), at * 1000)
    }

    pub fn lift(&mut self, tags: &[&str], devices: &[&str], at: i64) -> Result<Vec<Event>, Refusal> {
        let payload = lift(self, tags);
        self.lift_with(&payload, devices, at, at)
    }

    fn lift_with(
        &mut self,
        payload: &Value,
        devices: &[&str],
        signed_at: i64,
        at: i64,
    ) -> Result<Vec<Event>, Refusal> {
        let signed = SignedLift::verify(under(payload, devices, signed_at), &self.charter())?;
        self.run(&Command::Lift(Box::new(signed)), at * 1000)
    }

    /// Files a grant of this name at `at`, with these members changed.
    fn ask(&mut self, name: &str, by: &str, changes: Value, at: i64) -> Result<RequestId, Refusal> {
        let times = json!({"requested_at": at, "expires_at": at + 600});
        let grant = patch(patch(grant_named(&self.charter(), name), times), changes);
        self.file(&grant, by)
    }

    fn erin(&mut self, name: &str, at: i64) -> Result<RequestId, Refusal> {
        self.ask(name, "erin/file", json!({}), at)
    }

    fn killed(&self, id: &RequestId) -> bool {
        assert!(self.state.request(id).is_some() || self.state.closed(id).is_some());
        self.state.closed(id).is_some_and(|closed| closed.outcome == Outcome::Killed)
    }
}

fn under(payload: &Value, devices: &[&str], at: i64) -> GeneralJws {
    let payload = bytes(payload);
    let sign = |device: &&str| key(device).state(Typ::Lift, &payload, at);
    let signatures = devices.iter().map(sign).collect();
    GeneralJws { payload, signatures }
}

/// A request in each state: pending, authorized, issued; and one of dave's under another profile.
fn busy() -> (Log, [RequestId; 4]) {
    let mut log = Log::new(&charter());
    let [pending, authorized, issued] = ["p", "a", "i"].map(|name| log.erin(name, NOW).unwrap());
    for (device, at) in [("alice/1", NOW + 1), ("bob/1", NOW + 2)] {
        for id in [&authorized, &issued] {
            log.approve(id, device, at).unwrap();
        }
    }
    log.issue(&issued, NOW + 3).unwrap();
    let write =
        json!([{"type": "database", "actions": ["write"], "identifier": "t_1", "locations": ["pg/prod/x"]}]);
    let changes = json!({"profile": "db-write", "sub": "dave", "client_id": "dave", "aud": "https://write.example.test",
        "requester_key": key("dave/file").kid(), "authorization_details": write});
    let dave = log.ask("d", "dave/file", changes, NOW + 3).unwrap();
    (log, [pending, authorized, issued, dave])
}

#[test]
fn each_level_ends_what_it_hits_and_nothing_else() {
    let kid = |name: &str| key(name).kid().to_string();
    let (_, ids) = busy();
    let [pending, authorized, issued, _] = ids.map(|id| id.to_string());
    // Which of the four end, and why a new request of erin's is refused then.
    let cases: [(&str, Option<&str>, [bool; 4], &str); 12] = [
        ("request", Some(&pending), [true, false, false, false], ""),
        ("jti", Some(&authorized), [false, true, false, false], ""),
        ("jti", Some(&issued), [false, false, true, false], ""),
        ("request", Some(&issued), [false, false, true, false], ""),
        ("requester", Some("erin"), [true, true, true, false], "REQUESTER_KILLED"),
        ("requester", Some("dave"), [false, false, false, true], ""),
        ("profile", Some("db-read"), [true, true, true, false], "PROFILE_KILLED"),
        ("key", Some(&kid("erin/file")), [true, true, true, false], "KEY_KILLED"),
        ("key", Some(&kid("hsm/1")), [false, true, true, false], "KEY_KILLED"),
        ("key", Some(&kid("bob/1")), [false, true, true, false], ""),
        ("key", Some(&kid("carol/1")), [false; 4], ""),
        ("all", None, [true; 4], "LOCKDOWN"),
    ];
    for (level, target, ends, new) in cases {
        let (mut log, ids) = busy();
        let events = log.kill(level, target, "carol/1", "k", NOW + 4).unwrap();
        assert!(matches!(events.as_slice(), [Event::KillRecorded { epoch: 1, .. }]), "{events:?}");
        assert_eq!(ids.map(|id| log.killed(&id)), ends, "{level} {target:?}");
        for (id, _) in ids.iter().zip(ends).filter(|(_, ended)| *ended) {
            refused(log.approve(id, "carol/1", NOW + 5).map(|_| Vec::new()), "REQUEST_UNKNOWN");
            refused(log.redeem(id, "erin/file", NOW + 5, "r"), "WRONG_STATE");
            let issued = Command::Issued { request: *id, jwt: Digest::of(b"j"), jwe: "e30".into() };
            refused(log.run(&issued, (NOW + 5) * 1000), "WRONG_STATE");
            refused(log.run(&Command::TakeOver { request: *id }, (NOW + 5) * 1000), "WRONG_STATE");
        }
        match log.erin("new", NOW + 6) {
            Ok(_) => assert_eq!(new, "", "{level} {target:?}"),
            Err(refusal) => assert_eq!(refusal.reason(), new, "{level} {target:?}: {refusal}"),
        }
        assert_eq!(log.state.kills().is_lockdown(), level == "all");
        log.audited();
    }
}

#[test]
fn what_was_killed_by_id_is_never_filed() {
    let mut log = Log::new(&charter());
    let grant = grant_named(&log.charter(), "not here yet");
    let id = RequestId(Digest::of(&bytes(&grant)));
    log.kill("request", Some(&id.to_string()), "bob/1", "k", NOW - 10).unwrap();
    refused(log.file(&grant, "erin/file").map(|_| Vec::new()), "TOKEN_KILLED");
    log.audited();
}

#[test]
fn a_killed_device_approves_nothing_but_kills_and_lifts() {
    let (mut log, [pending, ..]) = busy();
    log.kill("key", Some(&key("bob/1").kid().to_string()), "alice/1", "bob", NOW + 4).unwrap();
    refused(log.approve(&pending, "bob/1", NOW + 5), "KEY_KILLED");
    refused(log.judge(&pending, "bob/1", Typ::Denial, NOW + 5), "KEY_KILLED");
    // Or whoever killed first could keep the others from answering.
    log.kill("key", Some(&key("alice/1").kid().to_string()), "bob/1", "alice", NOW + 6).unwrap();
    log.lift(&["bob", "alice"], &["bob/1", "alice/1"], NOW + 7).unwrap();
    log.approve(&pending, "bob/1", NOW + 8).unwrap();
    log.audited();
}

#[test]
fn a_killed_issuing_key_gives_way_to_another_active_one() {
    let mut document = document();
    let second = json!({"key": key("hsm/2").jwk(), "profiles": ["db-read"], "state": "active"});
    document["issuing_keys"].as_array_mut().unwrap().push(second);
    let mut log = Log::new(&charter_of(&document));
    let request = log.erin("a", NOW).unwrap();
    log.kill("key", Some(&key("hsm/1").kid().to_string()), "carol/1", "k", NOW + 1).unwrap();
    log.approve(&request, "alice/1", NOW + 2).unwrap();
    log.approve(&request, "bob/1", NOW + 3).unwrap();
    assert_eq!(log.authorization(&request).kid, key("hsm/2").kid());
    log.kill("key", Some(&key("hsm/2").kid().to_string()), "carol/1", "l", NOW + 4).unwrap();
    assert!(log.killed(&request));
    refused(log.erin("b", NOW + 5).map(|_| Vec::new()), "KEY_KILLED");
    log.audited();
}

#[test]
fn any_custodians_hardware_key_kills_and_no_other_key() {
    for (by, reason) in [
        ("erin/file", "NO_KILL_RIGHT"),
        ("dave/file", "NO_KILL_RIGHT"),
        ("hank/1", "NO_KILL_RIGHT"),
        ("pager/file", "NO_KILL_RIGHT"),
        ("mallory", "KEY_UNKNOWN"),
        ("hsm/1", "KEY_UNKNOWN"),
    ] {
        for level in ["requester", "all"] {
            let mut log = Log::new(&charter());
            let target = (level != "all").then_some("erin");
            refused(log.kill(level, target, by, "k", NOW), reason);
        }
    }
    let mut log = Log::new(&charter());
    log.kill("all", None, "gus/1", "k", NOW + 999).unwrap();
    refused(log.kill("all", None, "gus/1", "l", NOW + 1_000), "NO_KILL_RIGHT");
    let station = bytes(&kill(&log.charter(), "all", None, "station"));
    let jws = GeneralJws {
        signatures: vec![key("dave/2").state_at(Typ::Kill, &station, NOW, Some("lobby"))],
        payload: station,
    };
    let signed = SignedKill::verify(jws, &log.charter(), Typ::Kill).unwrap();
    log.run(&Command::Kill(Box::new(signed)), (NOW + 1_001) * 1000).unwrap();
    let other = key("alice/1").jws(Typ::Denial, &bytes(&kill(&log.charter(), "all", None, "typ")), NOW);
    assert!(SignedKill::verify(other, &log.charter(), Typ::Kill).is_err(), "another kind of statement");
}

#[test]
fn whom_the_charter_names_kills_at_the_levels_it_names() {
    let mut document = document();
    document["kill_rights"] = json!({"jti": ["pager"], "requester": ["ivan", "pager"]});
    let mut log = Log::new(&charter_of(&document));
    let asked = log.erin("a", NOW).unwrap();
    log.kill("jti", Some(&asked.to_string()), "pager/file", "k", NOW).unwrap();
    assert!(log.killed(&asked));
    log.kill("requester", Some("dave"), "ivan/file", "l", NOW + 999).unwrap();
    refused(log.kill("requester", Some("dave"), "ivan/file", "m", NOW + 1_000), "NO_KILL_RIGHT");
    refused(log.kill("jti", Some(&asked.to_string()), "ivan/file", "m", NOW + 999), "NO_KILL_RIGHT");
    for (level, target) in
        [("request", Some(asked.to_string())), ("profile", Some("db-read".into())), ("all", None)]
    {
        refused(log.kill(level, target.as_deref(), "pager/file", "m", NOW + 999), "NO_KILL_RIGHT");
    }
    let suspending = patch(lift(&log, &["l"]), json!({"suspend": [key("pager/file").kid()]}));
    log.lift_with(&suspending, &["alice/1", "bob/1"], NOW + 1_000, NOW + 1_000).unwrap();
    refused(log.kill("requester", Some("dave"), "pager/file", "n", NOW + 1_001), "KILL_RIGHT_SUSPENDED");
    log.audited();
}

#[test]
fn the_same_kill_again_is_answered_and_another_under_its_id_is_not() {
    let mut log = Log::new(&charter());
    let payload = kill(&log.charter(), "profile", Some("db-read"), "k");
    log.kill_with(&payload, "alice/1", NOW, NOW).unwrap();
    assert_eq!(log.kill_with(&payload, "alice/1", NOW, NOW + 5).unwrap(), []);
    // The same words under another signature are the same kill.
    assert_eq!(log.kill_with(&payload, "bob/1", NOW + 6, NOW + 6).unwrap(), []);
    refused(log.kill("all", None, "bob/1", "k", NOW + 7), "KILL_ID_REUSED");
    // What is stopped already is killed once more under another id, so that lifting one does not lift both.
    log.kill("profile", Some("db-read"), "bob/1", "l", NOW + 8).unwrap();
    assert_eq!(log.state.kills().epoch(), 2);
    log.lift(&["k"], &["alice/1", "bob/1"], NOW + 9).unwrap();
    refused(log.erin("still", NOW + 20).map(|_| Vec::new()), "PROFILE_KILLED");
    for n in 1..MAX_PER_TARGET {
        log.kill("profile", Some("db-read"), "bob/1", &format!("k{n}"), NOW + 20).unwrap();
    }
    refused(log.kill("profile", Some("db-read"), "bob/1", "more", NOW + 20), "TOO_MANY_KILLS");
    log.audited();
}

#[test]
fn a_kill_is_refused_neither_for_the_clock_nor_for_an_expired_or_a_previous_charter() {
    let mut log = Log::new(&charter());
    let before = kill(&log.charter(), "requester", Some("erin"), "before");
    log.succeed(&following(&log, NOW), NOW);
    log.kill_with(&before, "alice/1", NOW, NOW + 1).unwrap();
    log.kill_with(&kill(&log.charter(), "profile", Some("db-read"), "1970"), "bob/1", 0, NOW + 2).unwrap();
    log.kill_with(
        &kill(&log.charter(), "profile", Some("db-write"), "2100"),
        "bob/1",
        4_102_444_800,
        NOW + 3,
    )
    .unwrap();
    let late = NOW + 200 * 86_400;
    log.kill("all", None, "carol/1", "late", late).unwrap();
    refused(log.erin("x", late).map(|_| Vec::new()), "CHARTER_EXPIRED");
    log.kill("key", Some(&key("erin/file").kid().to_string()), "carol/1", "locked", late).unwrap();
    log.lift(&["late", "before"], &["alice/1", "carol/1"], late + 1).unwrap();
    // Those of other chains and issuers are nobody's.
    for changes in [json!({"charter": Digest::of(b"elsewhere")}), json!({"iss": "https://elsewhere.example"})]
    {
        let payload = patch(kill(&log.charter(), "all", None, "else"), changes);
        refused(log.kill_with(&payload, "alice/1", late, late + 2), "CHARTER_MISMATCH");
    }
    log.audited();
}

#[test]
fn a_custodian_of_an_earlier_charter_only_kills_no_more() {
    let mut log = Log::new(&charter());
    let payload = kill(&log.charter(), "all", None, "k");
    let mut document = following(&log, NOW);
    let persons = document["persons"].as_array_mut().unwrap();
    persons.retain(|person| person["id"] != "gus");
    for profile in document["profiles"].as_array_mut().unwrap() {
        let of = &mut profile["quorum"]["of"];
        if let Some(named) = of.as_array_mut() {
            named.retain(|one| one != "gus");
        }
    }
    log.succeed(&document, NOW);
    refused(log.kill_with(&payload, "gus/1", NOW, NOW + 1), "KEY_UNKNOWN");
}

#[test]
fn misspelt_targets_and_malformed_statements_are_refused() {
    let mut log = Log::new(&charter());
    let unknown = Digest::of(b"unknown").to_string();
    for (level, target) in [("requester", "erim"), ("profile", "db-reads"), ("key", &unknown)] {
        refused(log.kill(level, Some(target), "alice/1", "k", NOW), "KILL_TARGET_UNKNOWN");
    }
    let good = kill(&log.charter(), "requester", Some("erin"), "k");
    for changes in [
        json!({"level": "all"}),
        json!({"level": "everything"}),
        json!({"target": null}),
        json!({"target": "Erin"}),
        json!({"level": "jti"}),
        json!({"level": "key"}),
        json!({"reason": ""}),
        json!({"reason": "  "}),
        json!({"reason": "x".repeat(281)}),
        json!({"reason": "a\u{202e}b"}),
        json!({"reason": "e\u{301}"}),
        json!({"id": "AAAA"}),
        json!({"note": 1}),
    ] {
        // Not through JCS, which has no text for some of this.
        let payload = serde_json::to_vec(&patch(good.clone(), changes.clone())).unwrap();
        let jws = key("alice/1").jws(Typ::Kill, &payload, NOW);
        assert!(SignedKill::verify(jws, &log.charter(), Typ::Kill).is_err(), "{changes}");
    }
    let both = GeneralJws {
        payload: bytes(&good),
        signatures: ["alice/1", "bob/1"].map(|by| key(by).state(Typ::Kill, &bytes(&good), NOW)).into(),
    };
    let refusal = SignedKill::verify(both, &log.charter(), Typ::Kill).unwrap_err();
    assert_eq!(refusal.reason(), "NOT_ONE_SIGNATURE");
    assert_eq!(log.state.kills(), &Kills::default());
}

#[test]
fn a_lift_ends_the_kills_it_names_and_neither_comes_back() {
    let (mut log, [pending, ..]) = busy();
    let killed = kill(&log.charter(), "requester", Some("erin"), "k");
    log.kill_with(&killed, "carol/1", NOW + 4, NOW + 4).unwrap();
    log.kill("requester", Some("ivan"), "carol/1", "other", NOW + 4).unwrap();
    let payload = lift(&log, &["k"]);
    log.lift_with(&payload, &["alice/1", "dave/2"], NOW + 5, NOW + 6).unwrap();
    assert!(log.state.kills().was_lifted(&id("k")) && log.state.kills().get(&id("other")).is_some());
    // Nothing that had ended comes back, and in the second of the lift itself nothing new begins.
    assert!(log.killed(&pending));
    log.erin("after", NOW + 6).unwrap();
    refused(log.kill_with(&killed, "carol/1", NOW + 4, NOW + 7), "KILL_LIFTED");
    refused(log.lift_with(&payload, &["alice/1", "dave/2"], NOW + 5, NOW + 7), "KILL_LIFTED");
    // Lifted once, killed again under a new id: the old lift is for another.
    log.kill("requester", Some("erin"), "carol/1", "again", NOW + 8).unwrap();
    refused(log.lift_with(&payload, &["alice/1", "dave/2"], NOW + 5, NOW + 9), "KILL_LIFTED");
    refused(log.erin("more", NOW + 9).map(|_| Vec::new()), "REQUESTER_KILLED");
    log.audited();
}

#[test]
fn a_lift_needs_the_quorum_the_epoch_and_fresh_signatures() {
    let mut log = Log::new(&charter());
    log.kill("all", None, "carol/1", "k", NOW).unwrap();
    for (devices, reason) in [
        (&[][..], "LIFT_INCOMPLETE"),
        (&["alice/1"], "LIFT_INCOMPLETE"),
        (&["alice/1", "alice/2"], "LIFT_INCOMPLETE"),
        (&["alice/1", "gus/1"], "LIFT_INCOMPLETE"),
        (&["alice/1", "alice/1"], "ALREADY_SIGNED"),
        (&["alice/1", "dave/file"], "NOT_A_CUSTODIAN"),
        (&["alice/1", "hank/1"], "LIFT_INCOMPLETE"),
        (&["alice/1", "bob/1", "mallory"], "KEY_UNKNOWN"),
    ] {
        refused(log.lift(&["k"], devices, NOW + 1), reason);
    }
    let both = ["alice/1", "bob/1"];
    let good = lift(&log, &["k"]);
    let mut station = under(&good, &["alice/1"], NOW + 1);
    station.signatures.push(key("bob/1").state_at(Typ::Lift, &bytes(&good), NOW + 1, Some("lobby")));
    assert_eq!(SignedLift::verify(station, &log.charter()).unwrap_err().reason(), "STATION_FORBIDDEN");
    for (changes, reason) in [
        (json!({"epoch": 0}), "KILL_EPOCH_MISMATCH"),
        (json!({"epoch": 2}), "KILL_EPOCH_MISMATCH"),
        (json!({"charter": Digest::of(b"another")}), "CHARTER_MISMATCH"),
        (json!({"kills": [nonce("unknown")]}), "KILL_UNKNOWN"),
        (json!({"suspend": [Digest::of(b"nobody's")]}), "KILL_TARGET_UNKNOWN"),
    ] {
        refused(log.lift_with(&patch(good.clone(), changes), &both, NOW + 1, NOW + 1), reason);
    }
    for (signed_at, at, reason) in [
        (NOW - 61, NOW + 1, "LIFT_STALE"),
        (NOW + 1, NOW + 2 + LIFT_WITHIN, "LIFT_STALE"),
        (NOW + 62, NOW + 1, "CLOCK_SKEW"),
    ] {
        refused(log.lift_with(&good, &both, signed_at, at), reason);
    }
    for changes in [json!({"kills": []}), json!({"kills": [nonce("k"), nonce("k")]}), json!({"suspend": []})]
    {
        let jws = under(&patch(good.clone(), changes.clone()), &both, NOW + 1);
        assert!(SignedLift::verify(jws, &log.charter()).is_err(), "{changes}");
    }
    // Somebody kills in between: whoever signed did not know of that.
    log.kill("requester", Some("erin"), "dave/1", "l", NOW + 2).unwrap();
    refused(log.lift_with(&good, &both, NOW + 1, NOW + 3), "KILL_EPOCH_MISMATCH");
    // Under a charter that has been replaced it is nobody's lift.
    let signed = SignedLift::verify(under(&lift(&log, &["k"]), &both, NOW + 3), &log.charter()).unwrap();
    log.succeed(&following(&log, NOW + 3), NOW + 3);
    refused(log.run(&Command::Lift(Box::new(signed)), (NOW + 4) * 1000), "CHARTER_MISMATCH");
    log.lift(&["k", "l"], &both, NOW + 5).unwrap();
    log.audited();
}

#[test]
fn recovery_custodians_lift_a_lockdown_and_nothing_else() {
    let mut log = Log::new(&crate::recovery::first());
    log.kill("all", None, "carol/1", "k", NOW).unwrap();
    log.kill("requester", Some("erin"), "carol/1", "l", NOW).unwrap();
    let sealed = ["sam/1", "sue/1"];
    refused(log.kill("all", None, sealed[0], "m", NOW), "NO_KILL_RIGHT");
    refused(log.lift(&["k", "l"], &sealed, NOW + 1), "LIFT_INCOMPLETE");
    refused(log.lift(&["l"], &sealed, NOW + 1), "LIFT_INCOMPLETE");
    refused(log.lift(&["k"], &[sealed[0], "alice/1"], NOW + 1), "LIFT_INCOMPLETE");
    let suspending = patch(lift(&log, &["k"]), json!({"suspend": [key("carol/1").kid()]}));
    refused(log.lift_with(&suspending, &sealed, NOW + 1, NOW + 1), "LIFT_INCOMPLETE");
    log.lift(&["k"], &sealed, NOW + 1).unwrap();
    assert!(!log.state.kills().is_lockdown() && log.state.kills().get(&id("l")).is_some());
    log.audited();
}

#[test]
fn a_kill_of_one_token_is_final() {
    let (mut log, [pending, ..]) = busy();
    log.kill("request", Some(&pending.to_string()), "alice/1", "k", NOW + 4).unwrap();
    refused(log.lift(&["k"], &["alice/1", "bob/1"], NOW + 5), "KILL_FINAL");
}

#[test]
fn a_lift_may_take_the_kill_right_from_a_key_until_the_next_charter() {
    let mut log = Log::new(&charter());
    log.kill("all", None, "gus/1", "k", NOW).unwrap();
    let payload = patch(lift(&log, &["k"]), json!({"suspend": [key("gus/1").kid()]}));
    log.lift_with(&payload, &["alice/1", "bob/1"], NOW + 1, NOW + 1).unwrap();
    refused(log.kill("all", None, "gus/1", "l", NOW + 2), "KILL_RIGHT_SUSPENDED");
    log.kill("profile", Some("careful"), "alice/2", "m", NOW + 3).unwrap();
    log.audited();
    log.succeed(&following(&log, NOW + 4), NOW + 4);
    log.kill("all", None, "gus/1", "n", NOW + 5).unwrap();
    assert_eq!(log.state.kills().epoch(), 3);
    log.audited();
}

#[test]
fn kills_of_single_requests_are_forgotten_and_others_stay() {
    let (mut log, [pending, ..]) = busy();
    let killed = kill(&log.charter(), "request", Some(&pending.to_string()), "one");
    log.kill_with(&killed, "alice/1", NOW + 4, NOW + 4).unwrap();
    let unknown = Digest::of(b"unknown").to_string();
    log.kill("jti", Some(&unknown), "alice/1", "unknown", NOW + 4).unwrap();
    log.kill("requester", Some("erin"), "alice/1", "erin", NOW + 4).unwrap();
    let count = |log: &Log| log.state.kills().standing().count();
    assert_eq!(count(&log), 3);
    let half = NOW + 5 + UNKNOWN_FOR / 2;
    log.run(&Command::Start { version: "0".into() }, half * 1000).unwrap();
    assert_eq!(count(&log), 2);
    // What is forgotten is not recorded again.
    refused(log.kill_with(&killed, "alice/1", NOW + 4, half), "KILL_MOOT");
    refused(
        log.kill_with(
            &kill(&log.charter(), "jti", Some(&Digest::of(b"?").to_string()), "x"),
            "bob/1",
            0,
            half,
        ),
        "KILL_MOOT",
    );
    log.run(&Command::Start { version: "0".into() }, (NOW + 5 + UNKNOWN_FOR) * 1000).unwrap();
    assert_eq!(log.state.kills().standing().map(|it| it.kill.id).collect::<Vec<_>>(), [id("erin")]);
    assert_eq!(log.state.kills().epoch(), 3);
    log.audited();
}

/// What the verifier of the database says of erin's token, knowing these kills.
fn verdict(jwt: &str, kills: &Kills, charter: &Charter) -> &'static str {
    let audience: Audience = AUD.parse().unwrap();
    let killed = Killed { as_of: NOW + 12, max_stale: 10, kills: Arc::new(kills.clone()) };
    let view =
        View { charter, audience: &audience, now: NOW + 12, allow_development: true, killed: Some(&killed) };
    strict::verify(jwt, &view, &mut Seen::default())
        .map_or_else(|rejection| rejection.reason(), |_| "ACCEPTED")
}

#[test]
fn a_strict_verifier_refuses_what_was_killed_at_each_level() {
    let (log, request, jwt) = flow();
    let charter = log.charter();
    let (kid, name) = (|name: &str| key(name).kid().to_string(), request.to_string());
    for (level, target, expected) in [
        ("jti", Some(name.as_str()), "TOKEN_KILLED"),
        ("request", Some(&name), "TOKEN_KILLED"),
        ("requester", Some("erin"), "REQUESTER_KILLED"),
        ("profile", Some("db-read"), "PROFILE_KILLED"),
        ("key", Some(&kid("hsm/1")), "KEY_KILLED"),
        ("key", Some(&kid("erin/file")), "KEY_KILLED"),
        ("key", Some(&kid("bob/1")), "KEY_KILLED"),
        ("all", None, "LOCKDOWN"),
        ("jti", Some(&Digest::of(b"another").to_string()), "ACCEPTED"),
        ("requester", Some("dave"), "ACCEPTED"),
        ("profile", Some("db-write"), "ACCEPTED"),
        ("key", Some(&kid("carol/1")), "ACCEPTED"),
    ] {
        let mut kills = Kills::default();
        let payload = bytes(&kill(&charter, level, target, "k"));
        let statement = key("dave/1").jws(Typ::Kill, &payload, NOW + 11);
        kills.learn(statement, &charter, 1, Timestamp::from_seconds(NOW + 11)).unwrap();
        assert_eq!(verdict(&jwt, &kills, &charter), expected, "{level} {target:?}");
    }
}

#[test]
fn after_a_lift_a_verifier_takes_only_what_was_minted_later() {
    let (mut log, _, jwt) = flow();
    log.kill("profile", Some("db-read"), "carol/1", "k", NOW + 11).unwrap();
    let refused_by = |log: &Log, jwt: &str| verdict(jwt, log.state.kills(), &log.charter());
    assert_eq!(refused_by(&log, &jwt), "PROFILE_KILLED");
    let signed = lift(&log, &["k"]);
    // Its signers' clocks are ahead: what they lifted is refused until their second has passed.
    log.lift_with(&signed, &["alice/1", "bob/1"], NOW + 20, NOW + 11).unwrap();
    assert_eq!(refused_by(&log, &jwt), "PROFILE_KILLED");
    refused(log.erin("early", NOW + 20).map(|_| Vec::new()), "PROFILE_KILLED");
    let later = log.erin("later", NOW + 21).unwrap();
    log.approve(&later, "alice/1", NOW + 22).unwrap();
    log.approve(&later, "carol/1", NOW + 23).unwrap();
    let new = log.issue(&later, NOW + 23).unwrap();
    let audience: Audience = AUD.parse().unwrap();
    let killed = Killed { as_of: NOW + 24, max_stale: 10, kills: log.state.shared_kills() };
    let charter = log.charter();
    let view = View {
        charter: &charter,
        audience: &audience,
        now: NOW + 24,
        allow_development: true,
        killed: Some(&killed),
    };
    assert!(strict::verify(&new, &view, &mut Seen::default()).is_ok());
    let old = strict::verify(&jwt, &view, &mut Seen::default()).unwrap_err();
    assert_eq!(old.reason(), "PROFILE_KILLED");
    log.audited();

    // A verifier that was shown the two statements comes to the same.
    let mut learned = Kills::default();
    for recorded in log.state.kills().lifts().iter().flat_map(|lifted| &lifted.kills) {
        learned.learn(recorded.statement.clone(), &charter, recorded.epoch, recorded.at).unwrap();
    }
    for lifted in log.state.kills().lifts() {
        learned.learn_lift(lifted.statement.clone(), &charter, lifted.at).unwrap();
        learned.learn_lift(lifted.statement.clone(), &charter, lifted.at).unwrap();
    }
    for at in [NOW + 10, NOW + 20, NOW + 21] {
        let target = Target::new(KillLevel::Profile, Some("db-read")).unwrap();
        assert_eq!(learned.stops(&target, at), log.state.kills().stops(&target, at), "{at}");
    }
    let statement = log.state.kills().lifts()[0].kills[0].statement.clone();
    let again = learned.learn(statement, &charter, 1, Timestamp::from_seconds(NOW + 30)).unwrap_err();
    assert_eq!(again.reason(), "KILL_LIFTED");
}

#[test]
fn a_verifier_believes_no_kill_or_lift_that_is_not_signed_by_whom_it_takes() {
    let charter = charter();
    let at = Timestamp::from_seconds(NOW);
    let payload = bytes(&kill(&charter, "all", None, "k"));
    let mut kills = Kills::default();
    for by in ["erin/file", "mallory", "hsm/1"] {
        assert!(kills.learn(key(by).jws(Typ::Kill, &payload, NOW), &charter, 1, at).is_err(), "{by}");
    }
    kills.learn(key("bob/1").jws(Typ::Kill, &payload, NOW), &charter, 1, at).unwrap();
    let mut log = Log::new(&charter);
    log.kill("all", None, "bob/1", "k", NOW).unwrap();
    let lift = lift(&log, &["k"]);
    for devices in [&["bob/1"][..], &["bob/1", "gus/1"], &["bob/1", "mallory"]] {
        assert!(kills.learn_lift(under(&lift, devices, NOW + 1), &charter, at).is_err(), "{devices:?}");
    }
    assert!(kills.is_lockdown());
    kills.learn_lift(under(&lift, &["bob/1", "alice/1"], NOW + 1), &charter, at).unwrap();
    assert!(!kills.is_lockdown());
}

/// A thief with the database and all of the daemon's keys writes a log of his own.
#[test]
fn a_forged_removed_or_repeated_kill_or_lift_is_found_by_an_auditor_and_by_the_fold() {
    let mut log = Log::new(&charter());
    log.kill("all", None, "bob/1", "k", NOW).unwrap();
    let killed = log.entries.len() - 1;
    let too_few = under(&lift(&log, &["k"]), &["alice/1"], NOW + 1);
    log.lift(&["k"], &["alice/1", "bob/1"], NOW + 1).unwrap();
    log.erin("after", NOW + 2).unwrap();
    let lifted = killed + 1;
    let change = |at: usize, event: &dyn Fn(Event) -> Event| {
        let mut entries = log.entries.clone();
        let entry = Entry::parse(&entries[at]).unwrap();
        entries[at] = Entry { event: event(entry.event), ..entry }.to_bytes().unwrap();
        entries
    };
    let without = |at: usize| {
        let mut entries = log.entries.clone();
        entries.remove(at);
        entries
    };
    let repeated = |at: usize| {
        let mut entries = log.entries[..=lifted].to_vec();
        entries.push(log.entries[at].clone());
        entries
    };
    let by_thief = kill(&log.charter(), "profile", Some("db-read"), "thief");
    let forged = |statement: GeneralJws| {
        change(killed, &move |_| Event::KillRecorded { kill: statement.clone(), epoch: 1 })
    };
    let cases = [
        ("a lift with one signature", change(lifted, &|_| Event::LiftRecorded { lift: too_few.clone() })),
        ("a lift by nobody", change(lifted, &|_| Event::LiftRecorded { lift: under(&json!({}), &[], 0) })),
        ("no lift", without(lifted)),
        ("no kill", without(killed)),
        ("a kill by the daemon", forged(key("hsm/1").jws(Typ::Kill, &bytes(&by_thief), NOW))),
        ("a kill by a requester", forged(key("erin/file").jws(Typ::Kill, &bytes(&by_thief), NOW))),
        (
            "another epoch",
            change(killed, &|event| match event {
                Event::KillRecorded { kill, .. } => Event::KillRecorded { kill, epoch: 2 },
                other => other,
            }),
        ),
        ("the kill again after its lift", repeated(killed)),
        ("the lift again", repeated(lifted)),
    ];
    assert!(audit(&log.entries, log.pinned).is_ok());
    for (what, entries) in cases {
        assert!(audit(&entries, log.pinned).is_err(), "an auditor believes {what}");
        let mut state = State::default();
        let folded =
            entries.iter().all(|bytes| Entry::parse(bytes).is_ok_and(|entry| state.evolve(&entry).is_ok()));
        // The fold alone does not ask whether a request may be filed; that is the auditor's.
        assert!(!folded || what == "no lift", "the daemon starts on {what}");
    }
}

/// Any sequence of requests, approvals, kills and lifts: nothing that lives is hit by a kill in force.
#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Approve(usize, usize),
    Kill(usize, u8),
    Lift(Vec<u8>, usize),
    Wait(i64),
}

const DEVICES: [&str; 5] = ["alice/1", "alice/2", "bob/1", "carol/1", "dave/1"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Step::Ask),
        8 => (0..6_usize, 0..DEVICES.len()).prop_map(|(request, device)| Step::Approve(request, device)),
        2 => (0..9_usize, 0..6_u8).prop_map(|(target, tag)| Step::Kill(target, tag)),
        2 => (vec(0..6_u8, 1..3), 1..4_usize).prop_map(|(tags, signers)| Step::Lift(tags, signers)),
        2 => select(vec![1, 5, 61, 700]).prop_map(Step::Wait),
    ]
}

/// The targets that the random steps kill, the last two of them single requests.
fn target(at: usize, ids: &[RequestId]) -> (&'static str, Option<String>) {
    let kid = |name: &str| Some(key(name).kid().to_string());
    match at {
        0 => ("all", None),
        1 => ("requester", Some("erin".into())),
        2 => ("requester", Some("pager".into())),
        3 => ("profile", Some("db-read".into())),
        4 => ("key", kid("hsm/1")),
        5 => ("key", kid("alice/1")),
        6 => ("key", kid("dave/file")),
        _ => ("jti", ids.last().map(ToString::to_string)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model keeps, for each tag, whether it is in force or dead; nothing else decides about kills and lifts here.
    #[test]
    fn nothing_lives_that_a_kill_in_force_hits(steps in vec(step(), 10..60)) {
        let mut log = Log::new(&charter());
        let (mut now, mut ids, mut asked) = (NOW, Vec::new(), 0);
        let mut tags = std::collections::BTreeMap::<u8, (bool, usize)>::new();
        let mut epoch = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => {
                    now += seconds;
                    log.run(&Command::Tick, now * 1000).unwrap();
                }
                Step::Ask(who) => {
                    let (by, changes) = [
                        ("erin/file", json!({})),
                        ("dave/file", json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()})),
                        ("pager/file", json!({"client_id": "pager", "requester_key": key("pager/file").kid()})),
                    ][who].clone();
                    asked += 1;
                    let done = log.ask(&asked.to_string(), by, changes, now);
                    let in_force = |at: usize| tags.values().any(|(alive, target)| *alive && *target == at);
                    let stopped = [0, 3, 4].into_iter().any(in_force)
                        || [[1, 1], [6, 6], [1, 2]][who].into_iter().any(in_force);
                    prop_assert!(!(stopped && done.is_ok()), "filed though stopped");
                    ids.extend(done.ok());
                }
                Step::Approve(request, device) => {
                    if let Some(id) = ids.get(request).copied() {
                        let _either = log.approve(&id, DEVICES[device], now);
                    }
                }
                Step::Kill(at, tag) => {
                    let (level, name) = target(at, &ids);
                    if level == "jti" && name.is_none() {
                        continue;
                    }
                    let done = log.kill(level, name.as_deref(), "carol/2", &tag.to_string(), now);
                    let known = tags.contains_key(&tag);
                    match done {
                        Ok(events) if events.is_empty() => prop_assert!(known),
                        Ok(_) => {
                            prop_assert!(!known);
                            epoch += 1;
                            tags.insert(tag, (true, at));
                        }
                        Err(refusal) => prop_assert!(known, "{}", refusal),
                    }
                }
                Step::Lift(named, signers) => {
                    let mut named: Vec<u8> = named;
                    named.sort_unstable();
                    named.dedup();
                    let texts: Vec<String> = named.iter().map(ToString::to_string).collect();
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    let devices = ["alice/1", "alice/2", "bob/1"];
                    let may = signers == 3
                        && named.iter().all(|tag| matches!(tags.get(tag), Some((true, at)) if *at < 7));
                    let done = log.lift(&texts, &devices[..signers], now);
                    prop_assert_eq!(done.is_ok(), may, "{:?}", done);
                    if may {
                        for tag in named {
                            tags.get_mut(&tag).unwrap().0 = false;
                        }
                    }
                }
            }
            prop_assert_eq!(log.state.kills().epoch(), epoch);
            for request in log.state.requests() {
                let approvers: Vec<Digest> = request.approvers().collect();
                let stopped = log.state.kills().stopped_by(&request.subject(&approvers), now);
                prop_assert!(stopped.is_none(), "{stopped:?} lives");
            }
        }
        let audited = audit(&log.entries, log.pinned);
        prop_assert_eq!(audited.as_ref(), Ok(&log.state));
        let restored = State::from_snapshot(&log.state.to_snapshot().unwrap()).unwrap();
        prop_assert_eq!(&restored, &log.state);
    }
}

#[test]
fn refusals_name_what_was_killed() {
    let refusal = KillRefusal::killed(&Target::All).to_string();
    assert!(refusal.starts_with("everything (lockdown) was killed"), "{refusal}");
}
