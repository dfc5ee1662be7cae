//! Recovery custodians: how they stand in a charter, what a recovery may change, and that it takes their quorum and nobody
//! else's.

use breakglass::{
    domain::{
        Command, Refusal,
        charter::{Charter, CharterError, Rules, difference, verify_chain},
        event::Event,
        proposal::SignedProposal,
    },
    jose::{GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::{
    chain::{by, next, sign},
    kit::{DEVICES, Log, NOW, charter, device, document, grant, key, patch, payload, signed},
    replay::audit,
};

/// sam, sue and sid keep sealed devices; two of them recover.
pub fn recoverable() -> Value {
    let mut document = document();
    for (id, serial) in [("sam", 901), ("sid", 902), ("sue", 903)] {
        let record = json!({"id": id, "name": id, "roles": ["recovery"], "devices": [device(&format!("{id}/1"), serial)]});
        document["persons"].as_array_mut().unwrap().push(record);
    }
    document["recovery"] = json!({"threshold": 2, "of": ["sam", "sid", "sue"]});
    document
}

/// The same, in force.
pub fn first() -> Charter {
    let payload = payload(&recoverable());
    let devices: Vec<&str> = DEVICES.into_iter().chain(["sam/1", "sid/1", "sue/1"]).collect();
    let statement = signed(&payload, &devices);
    Charter::genesis(statement, breakglass::jose::Digest::of(&payload)).unwrap()
}

/// alice, bob and carol are lost; dave stays, and judy and kim come for them.
pub fn recovery(before: &Charter) -> Value {
    let mut document = patch(next(before), json!({"by_recovery": true, "clients": null, "groups": null}));
    let persons = document["persons"].as_array_mut().unwrap();
    persons.retain(|person| !["alice", "bob", "carol", "gus"].contains(&person["id"].as_str().unwrap()));
    for (id, serial) in [("judy", 701), ("kim", 702), ("leo", 703), ("mia", 704)] {
        persons.push(json!({"id": id, "name": id, "roles": ["custodian"], "devices": [device(&format!("{id}/1"), serial)]}));
    }
    let anyone = json!({"threshold": 2, "of": ["dave", "judy", "kim", "leo", "mia"]});
    document["governance"] = anyone.clone();
    for profile in document["profiles"].as_array_mut().unwrap() {
        profile["quorum"] = anyone.clone();
        profile.as_object_mut().unwrap().remove("denials");
    }
    document
}

/// The devices that are new in it.
pub const NEW: [&str; 4] = ["judy/1", "kim/1", "leo/1", "mia/1"];

fn with_new<'a>(more: &[&'a str]) -> Vec<&'a str> {
    NEW.into_iter().chain(more.iter().copied()).collect()
}

#[track_caller]
fn refused(before: &Charter, statement: GeneralJws, reason: &str) -> CharterError {
    let error = before.successor(statement, NOW).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    error
}

#[track_caller]
fn no_charter(document: &Value, says: &str) {
    let error = Rules::parse(&payload(document)).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn a_charter_without_recovery_has_the_bytes_it_always_had() {
    let bytes = String::from_utf8(payload(&document())).unwrap();
    assert!(!bytes.contains("recovery"));
    assert!(charter().recovery().is_none() && first().recovery().is_some());
}

#[test]
fn how_a_recovery_custodian_stands_in_a_charter() {
    let with = |at: &str, value: Value| {
        let mut document = recoverable();
        *document.pointer_mut(at).unwrap() = value;
        document
    };
    Rules::parse(&payload(&recoverable())).unwrap();
    no_charter(
        &with("/persons/8/roles", json!(["custodian", "recovery"])),
        "so no custodian and no requester",
    );
    no_charter(
        &with("/persons/8/roles", json!(["recovery", "requester"])),
        "so no custodian and no requester",
    );
    Rules::parse(&payload(&with("/persons/8/roles", json!(["auditor", "recovery"])))).unwrap();
    no_charter(&with("/persons/8/devices", json!([])), "sam is a recovery custodian without a device");
    no_charter(
        &with("/recovery/of", json!(["sid", "sue", "alice"])),
        "alice in the formula of recovery is no recovery",
    );
    no_charter(
        &with("/governance/of", json!(["alice", "bob", "carol", "sam"])),
        "sam in the formula of governance is no",
    );
    no_charter(&with("/recovery/of", json!(["sid", "sue"])), "sam is a recovery custodian whom the formula");
    no_charter(
        &patch(recoverable(), json!({"recovery": null})),
        "whom the formula of recovery does not name",
    );
    no_charter(&with("/recovery/threshold", json!(1)), "the formula of recovery");
    // One device each: after the loss of any of them, three of three are not there.
    no_charter(&with("/recovery/threshold", json!(3)), "recovery needs 3 of");
    no_charter(&patch(recoverable(), json!({"by_recovery": true})), "version 1 is pinned");
    no_charter(&with("/clients/0/roles", json!(["recovery"])), "only persons approve and recover");
    let mut ends = recoverable();
    for person in [8, 9] {
        ends["persons"][person]["term"] = json!({"until": NOW + 1000});
    }
    no_charter(&ends, "recovery needs 2 of");
}

#[test]
fn sealed_devices_sign_the_first_charter_that_names_them() {
    let payload = payload(&recoverable());
    let without = signed(&payload, &DEVICES);
    let error = Charter::genesis(without, breakglass::jose::Digest::of(&payload)).unwrap_err();
    assert!(error.to_string().contains("sam (device 901)"), "{error}");
    // The same later on, and for a custodian who becomes one: that is another promise.
    let before = charter();
    let document = patch(recoverable(), json!({"version": 2, "previous": before.digest(), "issued_at": NOW}));
    let all = ["alice/1", "bob/1", "sam/1", "sid/1", "sue/1"];
    refused(&before, by(&document, &all[..4]), "CHARTER_INCOMPLETE");
    before.successor(by(&document, &all), NOW).unwrap();
}

#[test]
fn sealed_devices_put_new_custodians_in_force() {
    let before = first();
    let document = recovery(&before);
    let statement = by(&document, &with_new(&["sam/1", "sue/1"]));
    let after = before.successor(statement.clone(), NOW).unwrap();
    assert!(after.document().by_recovery);
    let chain = [before.statement().clone(), statement];
    assert_eq!(verify_chain(before.digest(), chain, NOW).unwrap(), after);
    // The next version is governance's again.
    let third = patch(next(&after), json!({"by_recovery": null}));
    after.successor(by(&third, &["dave/1", "judy/1"]), NOW).unwrap();
}

#[test]
fn fewer_recovery_custodians_than_the_formula_needs_recover_nothing() {
    let before = first();
    let document = recovery(&before);
    let error = refused(&before, by(&document, &with_new(&["sam/1"])), "CHARTER_INCOMPLETE");
    assert!(error.to_string().contains("by the recovery custodians"), "{error}");
    // Neither does one of them with custodians, however many: the two formulas never add up.
    let mixed = with_new(&["sam/1", "alice/1", "bob/1", "carol/1", "dave/1"]);
    refused(&before, by(&document, &mixed), "CHARTER_INCOMPLETE");
    // A whole quorum of governance does not put in force what says that it is a recovery.
    refused(&before, by(&document, &with_new(&["alice/1", "bob/1"])), "CHARTER_INCOMPLETE");
    // Nor do recovery custodians put in force what does not say so.
    let silent = patch(document.clone(), json!({"by_recovery": null}));
    refused(&before, by(&silent, &with_new(&["sam/1", "sid/1", "sue/1"])), "CHARTER_INCOMPLETE");
    refused(&before, by(&silent, &with_new(&["sam/1", "sue/1", "alice/1"])), "CHARTER_INCOMPLETE");
    // Whoever is new has agreed, and the new governance stands.
    refused(&before, by(&document, &["judy/1", "kim/1", "leo/1", "sam/1", "sue/1"]), "CHARTER_INCOMPLETE");
}

#[test]
fn a_recovery_custodian_out_of_term_does_not_count() {
    let mut document = recoverable();
    document["persons"][8]["term"] = json!({"from": NOW + 5});
    document["persons"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "sol", "name": "sol", "roles": ["recovery"],
        "devices": [device("sol/1", 904)]}));
    document["recovery"]["of"] = json!(["sam", "sid", "sol", "sue"]);
    let payload = payload(&document);
    let devices: Vec<&str> = DEVICES.into_iter().chain(["sam/1", "sid/1", "sol/1", "sue/1"]).collect();
    let before =
        Charter::genesis(signed(&payload, &devices), breakglass::jose::Digest::of(&payload)).unwrap();
    let document = recovery(&before);
    refused(&before, by(&document, &with_new(&["sam/1", "sue/1"])), "CHARTER_INCOMPLETE");
    let later: Vec<(&str, i64)> = with_new(&["sam/1", "sue/1"]).into_iter().map(|by| (by, NOW + 5)).collect();
    before.successor(sign(&document, &later), NOW + 5).unwrap();
}

#[test]
fn a_recovery_changes_people_and_formulas_only() {
    let before = first();
    let good = recovery(&before);
    let signers = with_new(&["sam/1", "sue/1"]);
    let with = |at: &str, value: Value| {
        let mut document = good.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value;
        document
    };
    let at = |id: &str| good["persons"].as_array().unwrap().iter().position(|one| one["id"] == id).unwrap();
    let others: Vec<Value> =
        good["persons"].as_array().unwrap().iter().filter(|one| one["id"] != "sid").cloned().collect();
    let without_sid =
        patch(good.clone(), json!({"persons": others, "recovery": {"threshold": 2, "of": ["sam", "sue"]}}));
    let rewritten = json!({"threshold": 2, "of": [{"threshold": 1, "of": ["sam", "sid"]}, {"threshold": 1, "of": ["sue", "sid"]}]});
    for (document, says) in [
        (with("/profiles/0/max_ttl", json!(901)), "profiles beyond their formulas"),
        (with("/profiles/0/aud", json!("https://other.example.test")), "profiles beyond their formulas"),
        (with("/issuing_keys/0/state", json!("deactivated")), "issuing key"),
        (with("/issuing_keys/1/state", json!("compromised")), "changes issuing keys"),
        (with("/daemons/0/id", json!("d2")), "changes daemons"),
        (with("/attestation/minimum_firmware", json!("5.7.0")), "what is demanded of devices"),
        (with("/verifiers", json!([{"id": "v", "aud": "https://write.example.test"}])), "changes verifiers"),
        (
            with("/receipts", json!({"threshold": 1, "sinks": [{"id": "s", "key": key("s").jwk()}]})),
            "copies outside",
        ),
        (with("/kill_rights", json!({"all": ["erin"]})), "kill rights"),
        (with("/recovery", rewritten), "recovery itself"),
        (with(&format!("/persons/{}/name", at("sam")), json!("Samuel")), "recovery itself"),
        (with(&format!("/persons/{}/devices", at("sam")), json!([device("sam/2", 999)])), "recovery itself"),
        (without_sid, "recovery"),
    ] {
        let error = before.successor(by(&document, &signers), NOW).unwrap_err();
        assert!(error.to_string().contains(says), "{says:?}: {error}");
    }
    let mut live = good.clone();
    live["development"] = json!(null);
    assert!(before.successor(by(&live, &signers), NOW).is_err());
    before.successor(by(&good, &signers), NOW).unwrap();
    // A chain without recovery custodians has nobody who could.
    let plain = charter();
    let document = patch(next(&plain), json!({"by_recovery": true}));
    let error = plain.successor(by(&document, &["alice/1", "bob/1"]), NOW).unwrap_err();
    assert!(error.to_string().contains("names no recovery custodians"), "{error}");
}

#[test]
fn what_custodians_read_of_a_recovery() {
    let before = first();
    let lines = |document: &Value| -> Vec<String> {
        let changes = difference(&before, &Rules::parse(&payload(document)).unwrap());
        changes.iter().map(|one| format!("{}{}", if one.weakens { "! " } else { "" }, one.text)).collect()
    };
    assert!(
        lines(&recovery(&before))[0].starts_with("! IS A RECOVERY: put in force by the recovery custodians")
    );
    let three = json!({"recovery": {"threshold": 3, "of": ["sam", "sid", "sol", "sue"]}});
    let mut raised = patch(next(&before), three);
    raised["persons"].as_array_mut().unwrap().push(json!({"id": "sol", "name": "sol", "roles": ["recovery"],
        "devices": [device("sol/1", 904)]}));
    let line = "raises recovery from 2 of (sam, sid, sue) to 3 of (sam, sid, sol, sue)";
    assert!(lines(&raised).iter().any(|found| found == line), "{:?}", lines(&raised));
    raised["recovery"]["threshold"] = json!(2);
    let lowered = lines(&raised);
    assert!(lowered.iter().any(|line| line.starts_with("! lowers recovery from")), "{lowered:?}");
    let mut ended = patch(next(&before), json!({"recovery": null}));
    ended["persons"].as_array_mut().unwrap().retain(|person| person["roles"] != json!(["recovery"]));
    assert!(lines(&ended).iter().any(|line| line.starts_with("ends recovery")));
    let plain = charter();
    let began = patch(recoverable(), json!({"version": 2, "previous": plain.digest()}));
    let changes = difference(&plain, &Rules::parse(&payload(&began)).unwrap());
    assert!(changes.iter().any(|one| one.weakens && one.text.starts_with("lets sealed devices replace")));
}

fn verdict(log: &mut Log, device: &str) -> Refusal {
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.judge(&id, device, Typ::Approval, NOW + 5).unwrap_err()
}

#[test]
fn a_recovery_custodian_approves_no_request() {
    let mut log = Log::new(&first());
    assert_eq!(verdict(&mut log, "sam/1").reason(), "NOT_A_CUSTODIAN");
}

fn propose(log: &mut Log, document: &Value, devices: &[&str]) -> Result<Vec<Event>, Refusal> {
    let signed = SignedProposal::verify(by(document, devices), &log.charter(), NOW)?;
    log.run(&Command::Propose { proposal: Box::new(signed), evidence: Vec::new() }, NOW * 1000)
}

#[test]
fn a_recovery_is_proposed_signed_and_adopted_like_any_version() {
    let mut log = Log::new(&first());
    let document = recovery(&log.charter());
    let by_a_stranger = propose(&mut log, &document, &with_new(&["sam/1"])).unwrap_err();
    assert_eq!(by_a_stranger.reason(), "NOT_A_CUSTODIAN");
    // Proposed by a recovery custodian; the second of them completes it.
    let mut order = vec!["sam/1"];
    order.extend(NEW);
    let events = propose(&mut log, &document, &order).unwrap();
    assert!(matches!(events.as_slice(), [Event::CharterProposed { .. }]));
    let payload = payload(&document);
    let digest = breakglass::jose::Digest::of(&payload);
    let sign = |device: &str| Command::Sign {
        proposal: digest,
        signature: Box::new(key(device).state(Typ::Charter, &payload, NOW)),
    };
    log.run(&sign("dave/1"), NOW * 1000).unwrap();
    assert_eq!(log.charter().document().version, 1, "governance does not add up with recovery");
    let events = log.run(&sign("sue/1"), NOW * 1000).unwrap();
    assert!(matches!(events.get(1), Some(Event::CharterAdopted { .. })), "{events:?}");
    assert!(log.charter().document().by_recovery);
    assert_eq!(audit(&log.entries, log.pinned).unwrap(), log.state);
}
