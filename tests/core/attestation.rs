//! Genesis with evidence: keys of firmware 5.7.4, whose certificates lead to the root through two authorities that are
//! not on the device.

use std::sync::LazyLock;

use breakglass::{
    domain::{
        Command, Context, Refusal, State, charter::Charter, decide, event::Event, evidence::Evidence,
        replay::Replay, time::Timestamp,
    },
    jose::{Digest, b64},
};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Encode as _};
use getrandom::{SysRng, rand_core::UnwrapErr};
use serde_json::{Value, json};
use virtual_yubikey::attestation::{RsaPrivateKey, Template, VALIDITY, generate_rsa, spki};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::{
    chain::{next, sign},
    kit::{self, NOW, key},
};

const ROOT: &str = "CN=Test Attestation Root 1";
const UPPER: &str = "CN=Test Intermediate B 1";
const LOWER: &str = "CN=Test PIV Attestation B 1";
const DEVICE: &str = "CN=Yubico PIV Attestation";

/// Keys of the root, of the two between, and of the device's f9.
static KEYS: LazyLock<[RsaPrivateKey; 4]> =
    LazyLock::new(|| std::array::from_fn(|_| generate_rsa(&mut UnwrapErr(SysRng)).unwrap()));

fn authority(subject: &str, issuer: &str, below: u8) -> Template {
    Template {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        validity: VALIDITY,
        basic_constraints: Some(BasicConstraints { ca: true, path_len_constraint: Some(below) }),
        extensions: Vec::new(),
    }
}

/// The root, and what stands between it and the devices.
fn authorities() -> (String, Vec<String>) {
    let [root, upper, lower, _] = &*KEYS;
    let issue = |template: Template, number, key, signer| {
        b64::encode(&template.issue(number, spki(key).unwrap(), signer).unwrap())
    };
    let mut between = vec![
        issue(authority(UPPER, ROOT, 2), 2, upper, root),
        issue(authority(LOWER, UPPER, 1), 3, lower, upper),
    ];
    between.sort();
    (issue(authority(ROOT, ROOT, 3), 1, root, root), between)
}

/// Until when the devices' certificates of [`FLEETING`] are valid.
const FLEETING_ENDS: i64 = NOW + 10 * 86_400;
/// Its certificate ends soon after genesis: whether evidence is judged again shows on it.
const FLEETING: u32 = 101;

/// What a device of firmware 5.7.4 says of the kit's key of this name.
fn evidence(name: &str, serial: u32) -> Evidence {
    let [_, _, lower, device] = &*KEYS;
    let oid = |last: u32| ObjectIdentifier::new(&format!("1.3.6.1.4.1.41482.3.{last}")).unwrap();
    let number = UintRef::new(&serial.to_be_bytes()).unwrap().to_der().unwrap();
    let statement = Template {
        extensions: vec![(oid(3), vec![5, 7, 4]), (oid(7), number), (oid(8), vec![3, 2])],
        basic_constraints: None,
        ..authority("CN=YubiKey PIV Attestation 9c", DEVICE, 0)
    };
    let public = SubjectPublicKeyInfoOwned::from_der(&key(name).public.spki_der()).unwrap();
    let mut f9 = authority(DEVICE, LOWER, 0);
    if serial == FLEETING {
        f9.validity.1 = u64::try_from(FLEETING_ENDS).unwrap();
    }
    let f9 = f9.issue(5, spki(device).unwrap(), lower).unwrap();
    Evidence::of_der(&statement.issue(6, public, device).unwrap(), &f9)
}

/// The kit's charter with evidence for every device, under this policy.
fn charter(policy: &Value) -> Result<(Charter, Vec<Evidence>), String> {
    let (mut document, mut all) = (kit::document(), Vec::new());
    for person in document["persons"].as_array_mut().unwrap() {
        let id = person["id"].as_str().unwrap().to_owned();
        let devices = person.get_mut("devices").and_then(Value::as_array_mut);
        for (device, number) in devices.into_iter().flatten().zip(1..) {
            let serial = u32::try_from(device["serial"].as_u64().unwrap()).unwrap();
            let evidence = evidence(&format!("{id}/{number}"), serial);
            device["attestation"] = json!(evidence.digest());
            all.push(evidence);
        }
    }
    // All sets in their order but those of the policy, which stay as they are given.
    let mut document: Value = serde_json::from_slice(&kit::payload(&document)).unwrap();
    document["attestation"] = policy.clone();
    let payload = kit::bytes(&document);
    let digest = Digest::of(&payload);
    let charter = Charter::genesis(kit::signed(&payload, &kit::DEVICES), digest);
    Ok((charter.map_err(|refused| refused.to_string())?, all))
}

fn adopt(policy: &Value) -> Result<Vec<Event>, Refusal> {
    let (charter, evidence) = charter(policy).unwrap();
    let now = Timestamp::from_millis(NOW * 1000);
    let context = Context { now, index: 0, instance: "d1.init".parse().unwrap() };
    decide(&State::default(), &Command::Adopt { charter: Box::new(charter), evidence }, &context)
}

#[test]
fn a_chain_through_the_charters_intermediates_leads_to_its_root() {
    let (root, between) = authorities();
    let events = adopt(&json!({"roots": [root], "intermediates": between})).unwrap();
    let recorded = events.iter().filter(|event| matches!(event, Event::AttestationRecorded { .. }));
    assert_eq!(recorded.count(), kit::DEVICES.len() + 1, "all devices, with that of a requester");
    assert!(matches!(events.last(), Some(Event::CharterAdopted { .. })));
}

#[test]
fn an_auditor_judges_the_evidence_again() {
    let (root, between) = authorities();
    let (charter, evidence) = charter(&json!({"roots": [root], "intermediates": between})).unwrap();
    let mut log = kit::Log {
        state: State::default(),
        entries: Vec::new(),
        instance: "d1.init".parse().unwrap(),
        pinned: charter.digest(),
    };
    log.run(&Command::Adopt { charter: Box::new(charter), evidence }, NOW * 1000).unwrap();
    let replayed = |entries: &[Vec<u8>]| {
        let mut replay = Replay::new(log.pinned);
        entries.iter().try_for_each(|entry| replay.next(entry).map(drop)).map(|()| replay.is_complete())
    };
    assert!(replayed(&log.entries).unwrap());
    assert!(!replayed(&log.entries[..3]).unwrap(), "evidence without its charter");
    for missing in 0..log.entries.len() - 1 {
        let mut entries = log.entries.clone();
        entries.remove(missing);
        assert!(replayed(&entries).is_err(), "without the evidence of device {missing}");
    }
}

#[test]
fn a_chain_with_a_gap_or_without_its_root_is_refused() {
    let (root, between) = authorities();
    let refused = |policy: Value| {
        let error = adopt(&policy).unwrap_err();
        assert_eq!(error.reason(), "ATTESTATION_REFUSED");
        let told = error.to_string();
        assert!(told.contains("neither a root of the charter nor leads to one"), "{told}");
    };
    refused(json!({"roots": [root]}));
    for one in &between {
        refused(json!({"roots": [root], "intermediates": [one]}));
    }
    let foreign = authority("CN=Root of another", "CN=Root of another", 3);
    let foreign = b64::encode(&foreign.issue(1, spki(&KEYS[3]).unwrap(), &KEYS[3]).unwrap());
    refused(json!({"roots": [foreign], "intermediates": between}));
}

#[test]
fn intermediates_are_a_sorted_list_and_left_out_when_there_are_none() {
    let (root, mut between) = authorities();
    let (good, _) = charter(&json!({"roots": [root], "intermediates": between})).unwrap();
    let kept: Vec<&String> = good.document().attestation.intermediates.iter().collect();
    assert_eq!(kept, between.iter().collect::<Vec<_>>());
    between.reverse();
    assert!(charter(&json!({"roots": [root], "intermediates": between})).is_err(), "not sorted");
    assert!(charter(&json!({"roots": [root], "intermediates": []})).is_err(), "empty, but there");
    assert!(charter(&json!({"roots": [root]})).is_ok());
}

/// Genesis under this policy, and a next version two days or twenty days later whose demands a change of policy made.
fn next_version(days: i64, change: &Value) -> Result<Vec<Event>, Refusal> {
    let (root, between) = authorities();
    let (charter, evidence) = charter(&json!({"roots": [root], "intermediates": between})).unwrap();
    let mut log = kit::Log {
        state: State::default(),
        entries: Vec::new(),
        instance: "d1.init".parse().unwrap(),
        pinned: charter.digest(),
    };
    log.run(&Command::Adopt { charter: Box::new(charter), evidence }, NOW * 1000).unwrap();
    let at = NOW + days * 86_400;
    let mut document =
        kit::patch(next(&log.charter()), json!({"issued_at": at, "expires_at": at + 80 * 86_400}));
    // Whoever is not in term any more has no place in a version that begins later.
    document["persons"].as_array_mut().unwrap().retain(|person| person["term"].is_null());
    for profile in document["profiles"].as_array_mut().unwrap() {
        if let Some(seats) = profile["quorum"]["of"].as_array_mut() {
            seats.retain(|seat| seat != "gus");
        }
    }
    document["clients"][0]["subjects"] = json!(["erin"]);
    document["attestation"] = kit::patch(document["attestation"].clone(), change.clone());
    let events = log.propose(sign(&document, &[("alice/1", at), ("bob/1", at)]), at)?;
    assert_eq!(crate::replay::audit(&log.entries, log.pinned).unwrap(), log.state);
    Ok(events)
}

#[test]
fn evidence_is_judged_again_when_an_advisory_or_the_oldest_firmware_changes() {
    let advisory = json!({"advisories": [{"id": "YSA-2024-03", "below": "5.7.0"}]});
    let firmware = json!({"minimum_firmware": "5.7.0"});
    // The log holds the evidence: nobody gives it again.
    for change in [&advisory, &firmware, &json!({})] {
        let events = next_version(2, change).unwrap();
        assert!(matches!(events.as_slice(), [Event::CharterAdopted { .. }]), "{events:?}");
    }
    // By then the certificate of one device has ended: that matters when its evidence is judged, and only then.
    next_version(20, &json!({})).unwrap();
    for change in [&advisory, &firmware] {
        let refusal = next_version(20, change).unwrap_err();
        assert_eq!(refusal.reason(), "ATTESTATION_REFUSED", "{refusal}");
        assert!(refusal.to_string().contains(&FLEETING.to_string()), "{refusal}");
    }
}

#[test]
fn a_device_that_an_advisory_affects_is_refused_by_its_name() {
    let refusal = |change: Value| next_version(2, &change).unwrap_err().to_string();
    // The devices have 5.7.4.
    let told = refusal(json!({"advisories": [{"id": "YSA-2099-01", "from": "5.7.0", "below": "5.8.0"}]}));
    assert!(told.contains("YSA-2099-01 (firmware from 5.7.0 and below 5.8.0) affects: replace it"), "{told}");
    assert!(told.contains("device 101 of alice"), "{told}");
    for harmless in [json!({"from": "5.7.5", "below": "5.8.0"}), json!({"from": "5.4.0", "below": "5.7.4"})] {
        let advisory = kit::patch(json!({"id": "YSA-2099-02"}), harmless);
        next_version(2, &json!({"advisories": [advisory]})).unwrap();
    }
    let told = refusal(json!({"minimum_firmware": "5.7.5"}));
    assert!(told.contains("older than demanded"), "{told}");
    let told = refusal(json!({"advisories": [{"id": "X", "from": "5.7.0", "below": "5.7.0"}]}));
    assert!(told.contains("no firmware is from"), "{told}");
    let unnamed = next_version(2, &json!({"advisories": [{"id": "no name", "below": "5.7.0"}]})).unwrap_err();
    assert_eq!(unnamed.reason(), "CHARTER_MALFORMED", "{unnamed}");
}
