//! The difference between two versions in words: what custodians read before they sign.

use breakglass::domain::charter::{Change, Charter, Rules, difference};
use serde_json::{Value, json};

use crate::{
    chain::next,
    kit::{NOW, charter, charter_of, device, key, patch, payload},
    outside::furnished,
};

fn changes(before: &Charter, document: &Value) -> Vec<Change> {
    difference(before, &Rules::parse(&payload(document)).unwrap())
}

/// `!` before what weakens.
fn lines(document: &Value) -> Vec<String> {
    let line = |change: Change| format!("{}{}", if change.weakens { "! " } else { "" }, change.text);
    let lines = changes(&charter(), document).into_iter().map(line);
    lines.filter(|line| !line.contains("is valid until")).collect()
}

fn unchanged() -> Value {
    next(&charter())
}

#[test]
fn nothing_but_time_changes_in_a_renewal() {
    let renewed = unchanged();
    assert_eq!(lines(&renewed), Vec::<String>::new());
    let all = changes(&charter(), &renewed);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].text, "is valid until 2027-04-05T08:00:00.000Z");
    let mut longer = renewed;
    longer["expires_at"] = json!(NOW + 90 * 86_400);
    let all = changes(&charter(), &longer);
    assert!(all[0].weakens && all[0].text.ends_with("90 days from its issue instead of 80"), "{all:?}");
}

#[test]
fn people_who_come_go_and_change() {
    let mut document = unchanged();
    let persons = document["persons"].as_array_mut().unwrap();
    persons.remove(7);
    persons[1]["devices"].as_array_mut().unwrap().push(device("bob/2", 202));
    persons[2]["devices"].as_array_mut().unwrap().remove(1);
    persons[4]["roles"] = json!(["requester"]);
    persons[5]["term"] = json!({"until": NOW + 2000});
    persons[6]["name"] = json!("Henry");
    persons.push(json!({"id": "judy", "name": "Judy", "roles": ["custodian"],
        "devices": [device("judy/1", 302)]}));
    document["clients"][0]["subjects"] = json!(["erin"]);
    document["groups"]["ops"] = json!(["carol", "dave", "judy"]);
    let kid = |name: &str| key(name).kid();
    assert_eq!(
        lines(&document),
        [
            format!(
                "! adds a device of bob: device 202 (firmware 5.7.4, key {}, not attested)",
                kid("bob/2")
            ),
            format!("removes carol's device 302 (firmware 5.7.4, key {}, not attested)", kid("carol/2")),
            "erin is no auditor any more".to_owned(),
            "! changes the term of gus from until 2027-01-15T08:16:40.000Z to until 2027-01-15T08:33:20.000Z"
                .to_owned(),
            "! shows hank as Henry instead of HANK".to_owned(),
            "removes ivan (IVAN)".to_owned(),
            "! adds judy (Judy): custodian; 1 devices, 0 file keys, 0 certificates".to_owned(),
            "! gives judy device 302, which was carol's".to_owned(),
            "pager may no longer file for ivan".to_owned(),
            "! adds judy to ops".to_owned(),
        ]
    );
}

#[test]
fn formulas_are_raised_lowered_or_changed() {
    let mut document = unchanged();
    document["governance"]["threshold"] = json!(3);
    document["profiles"][0]["quorum"] = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave"]});
    document["profiles"][1]["quorum"] = json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave"]});
    document["profiles"][2].as_object_mut().unwrap().remove("denials");
    assert_eq!(
        lines(&document),
        [
            "raises changes of the charter from 2 of (alice, bob, carol, dave) to 3 of (alice, bob, carol, dave)",
            "raises db-read from 2 of (alice, bob, carol, dave, gus) to 2 of (alice, bob, carol, dave)",
            "! lowers db-write from 1 of security and 1 of ops to 2 of (alice, bob, carol, dave)",
            "changes denials of careful from 2 of (alice, bob, carol, dave) to any one custodian",
        ]
    );
}

#[test]
fn profiles_keys_and_demands() {
    let mut document = unchanged();
    document["profiles"][0]["max_ttl"] = json!(1800);
    document["profiles"][0]["authorization_details"] =
        json!([{"type": "database", "actions": ["read"], "locations": ["pg/*"]}]);
    document["profiles"][1]["stations"] = json!(true);
    document["profiles"][2]["cooldown"] = json!(600);
    document["profiles"][2]["approval_window"] = json!(600);
    document["profiles"][2]["requester_key"] = json!("file");
    document["issuing_keys"][0]["state"] = json!("suspended");
    document["issuing_keys"].as_array_mut().unwrap().push(
        json!({"key": key("hsm/2").jwk(), "profiles": ["careful", "db-read", "db-write"], "state": "active"}),
    );
    document["daemons"][0]["spki"] = json!(key("another").kid());
    document["attestation"]["minimum_firmware"] = json!("5.7.0");
    document["attestation"]["advisories"] = json!([{"id": "YSA-2024-03", "below": "5.7.0"}]);
    document["development"] = json!(true);
    let kid = |name: &str| key(name).kid();
    assert_eq!(
        lines(&document),
        [
            "db-read no longer allows explain, read on pg/prod/* (database)".to_owned(),
            "! db-read allows read on pg/* (database)".to_owned(),
            "! lengthens the longest life of tokens of db-read from 900 s to 1800 s".to_owned(),
            "! approvals of db-write given at a station count".to_owned(),
            "shortens the wait for approvals of careful from 3600 s to 600 s".to_owned(),
            "! shortens the cooldown of careful from 1200 s to 600 s".to_owned(),
            "! careful is asked for with a file key instead of a hardware key".to_owned(),
            format!("issuing key {} becomes suspended (it was active)", kid("hsm/1")),
            format!("! adds issuing key {} (ES256), active, for careful, db-read, db-write", kid("hsm/2")),
            format!("! changes the key of daemon d1 to {}", kid("another")),
            "refuses devices that YSA-2024-03 (firmware below 5.7.0) affects".to_owned(),
            "changes the oldest firmware of devices from any to 5.7.0".to_owned(),
        ]
    );
}

/// Every value anywhere in the document, changed in every way that still gives a charter.
#[test]
fn every_change_of_the_document_has_a_line() {
    let receipts = json!({"threshold": 1, "sinks": [{"id": "archive", "key": key("archive").jwk()}]});
    let before = charter_of(&patch(furnished(), json!({"receipts": receipts})));
    let document = next(&before);
    // What every version has anew; of `issued_at` only the life that follows from it is told.
    let quiet = ["/version", "/previous", "/nonce", "/iss", "/issued_at"];
    let mut tried = 0;
    let mut pointers = Vec::new();
    collect(&document, String::new(), &mut pointers);
    for pointer in pointers.iter().filter(|pointer| !quiet.contains(&pointer.as_str())) {
        for changed in mutations(&document, pointer) {
            let bytes = payload(&changed);
            let Ok(rules) = Rules::parse(&bytes) else { continue };
            if bytes == payload(&document) {
                continue; // A set in another order is the same set.
            }
            tried += 1;
            let usual = difference(&before, &Rules::parse(&payload(&document)).unwrap());
            let said = difference(&before, &rules);
            assert_ne!(said, usual, "{pointer}: {changed}");
        }
    }
    assert!(tried > 150, "only {tried} changes give a charter");
}

fn collect(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

fn mutations(document: &Value, pointer: &str) -> Vec<Value> {
    let value = document.pointer(pointer).unwrap();
    let mut values = Vec::new();
    match value {
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            values.extend([number - 1, number + 1, number * 2].map(|number| json!(number)));
        }
        Value::Bool(flag) => values.push(json!(!flag)),
        Value::String(text) => {
            values.extend(
                ["active", "suspended", "destroyed", "file", "piv", "alice", "ops", "5.7.3"].map(Into::into),
            );
            values.push(json!(format!("{text}x")));
            values.push(json!(key("another").kid()));
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                values.push(fewer.into());
            }
            values.push(items.iter().rev().cloned().collect());
            for more in [json!("gus"), json!("requester"), json!("db-read"), key("another").jwk()] {
                values.push(items.iter().cloned().chain([more]).collect());
            }
        }
        Value::Object(_) => values.push(key("another").jwk()),
        Value::Null => {}
    }
    let mut changed: Vec<Value> = values
        .into_iter()
        .map(|value| {
            let mut changed = document.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        })
        .collect();
    if let Some((parent, name)) = pointer.rsplit_once('/') {
        let mut without = document.clone();
        if let Some(object) = without.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(name);
            changed.push(without);
        }
    }
    changed
}
