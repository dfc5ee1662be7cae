//! Which documents are charters: a good one, one change, and the rule that refuses it in words that say what to do.

use breakglass::{
    domain::charter::{Charter, CharterError, Rules},
    jose::{Digest, GeneralJws, Typ, b64},
};
use serde_json::{Value, json};

use crate::kit::{DEVICES, NOW, bytes, document, key, patch, payload, signed};

/// The document after a change at a JSON pointer; `null` removes a member.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = document();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let place = document.pointer_mut(parent).unwrap();
    match place {
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        _ => *place = patch(place.clone(), json!({name: value})),
    }
    document
}

/// The whole chain of messages.
pub fn words(error: &CharterError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[track_caller]
fn refused(document: &Value, reason: &str, says: &str) {
    match Rules::parse(&payload(document)) {
        Ok(_) => panic!("accepted, though {says}"),
        Err(error) => {
            let words = words(&error);
            assert_eq!(error.reason(), reason, "{words}");
            assert!(words.contains(says), "expected {says:?} in {words:?}");
        }
    }
}

fn device(name: &str, serial: u32) -> Value {
    json!({"kind": "piv", "key": key(name).jwk(), "serial": serial, "firmware": "5.7.4"})
}

#[test]
fn the_good_document_is_a_charter() {
    let rules = Rules::parse(&payload(&document())).unwrap();
    assert_eq!(rules.document().persons.len(), 8);
    println!("a charter of 8 persons has {} bytes", payload(&document()).len());
}

#[test]
fn each_rule_of_content_refuses_in_words() {
    let person = |id: &str, roles: Value| json!({"id": id, "name": id, "roles": roles});
    let content = "CHARTER_CONTENT";
    for (pointer, value, says) in [
        ("/version", json!(0), "version 1 has no previous charter"),
        ("/version", json!(2), "version 1 has no previous charter"),
        ("/previous", json!(Digest::of(b"x")), "version 1 has no previous charter"),
        ("/issued_at", json!(-1), "expire after it was issued"),
        ("/expires_at", json!(NOW - 3_600), "expire after it was issued"),
        ("/expires_at", json!(NOW + 400 * 86_400), "within 366 days"),
        ("/log_keys", json!([]), "at least one profile, one log key and one daemon"),
        ("/daemons", json!([]), "at least one profile, one log key and one daemon"),
        ("/profiles", json!([]), "at least one profile, one log key and one daemon"),
        ("/persons/0/name", json!("  "), "alice needs a name"),
        ("/persons/0/name", json!("x".repeat(81)), "alice needs a name"),
        ("/persons/0/name", json!("BOB"), "name BOB appears twice"),
        ("/persons/0/devices", json!([]), "alice is a custodian without a device"),
        (
            "/persons/5/term",
            json!({"from": NOW + 5, "until": NOW + 5}),
            "the term of gus ends before it begins",
        ),
        ("/persons/-", person("alice", json!([])), "id alice appears twice"),
        ("/persons/0/devices/1/serial", json!(101), "device 101 appears twice"),
        ("/persons/1/devices/0/serial", json!(101), "device 101 appears twice"),
        ("/persons/1/devices/0/key", key("alice/1").jwk(), "appears twice"),
        ("/persons/3/keys", json!([key("erin/file").jwk()]), "appears twice"),
        ("/persons/3/keys", json!([key("dave/1").jwk()]), "appears twice"),
        ("/persons/3/certificates", json!([Digest::of(b"erin's certificate")]), "certificate"),
        ("/groups/ops", json!(["carol", "nobody"]), "nobody in group ops is no custodian"),
        ("/groups/ops", json!(["carol", "erin"]), "erin in group ops is no custodian"),
        ("/groups/unused", json!([]), "group unused has no members"),
        ("/clients/0/roles", json!(["custodian"]), "client pager cannot be a custodian"),
        ("/clients/0/owners", json!([]), "client pager needs at least one owner"),
        ("/clients/0/keys", json!([]), "client pager needs at least one owner and one key"),
        ("/clients/0/owners", json!(["nobody"]), "owner nobody of client pager"),
        ("/clients/0/subjects", json!(["alice"]), "may not file for alice"),
        ("/clients/0/id", json!("erin"), "id erin appears twice"),
        ("/clients/0/keys", json!([key("alice/2").jwk()]), "appears twice"),
        ("/clients/0/term", json!({"from": 9, "until": 3}), "the term of pager ends before it begins"),
        ("/development", json!(null), "names no attestation root"),
        ("/attestation", json!({"roots": ["not base64url!"]}), "not base64url of a DER certificate"),
        (
            "/attestation",
            json!({"intermediates": ["not base64url!"]}),
            "intermediate is not base64url of a DER",
        ),
        ("/attestation", json!({"roots": ["AAAA"]}), "device 101 of alice has no attestation"),
        ("/attestation", json!({"minimum_firmware": "5.7.5"}), "has firmware 5.7.4, older than demanded"),
        ("/issuing_keys/0/profiles", json!(["db-read", "none"]), "names profile none, which does not exist"),
        ("/issuing_keys/0/state", json!("suspended"), "has no active issuing key"),
        ("/issuing_keys/0/profiles", json!(["db-read"]), "profile db-write has no active issuing key"),
        ("/issuing_keys/1/key", key("hsm/1").jwk(), "issuing key"),
        ("/issuing_keys/1/key", key("alice/1").jwk(), "is also somebody's own key"),
        (
            "/daemons/0/spki",
            json!(Digest::of(&key("erin/file").public.spki_der())),
            "is also somebody else's key",
        ),
        (
            "/daemons/0/spki",
            json!(Digest::of(&key("hsm/1").public.spki_der())),
            "is also somebody else's key",
        ),
        ("/daemons/-", json!({"id": "d1", "spki": Digest::of(b"2")}), "daemon d1 appears twice"),
        ("/daemons/-", json!({"id": "d2", "spki": Digest::of(b"the daemon's TLS key")}), "daemon key"),
        (
            "/log_keys/-",
            json!({"origin": crate::kit::ORIGIN, "key": {"kty": "OKP", "crv": "Ed25519", "x": b64::encode(&[8; 32])}}),
            "log origin",
        ),
        ("/profiles/0/authorization_details", json!([]), "profile db-read allows nothing"),
        ("/profiles/0/authorization_details/0/actions", json!([]), "a rule without actions or locations"),
        ("/profiles/0/authorization_details/0/locations", json!([]), "a rule without actions or locations"),
        ("/profiles/0/max_ttl", json!(0), "max_ttl is 1 second to a day"),
        ("/profiles/0/max_ttl", json!(86_401), "max_ttl is 1 second to a day"),
        ("/profiles/0/approval_window", json!(0), "approval_window 1 second to a week"),
        ("/profiles/0/approval_window", json!(604_801), "approval_window 1 second to a week"),
        ("/profiles/0/description", json!(" "), "needs a description"),
        ("/profiles/0/description", json!("x".repeat(201)), "needs a description"),
        ("/profiles/-", document()["profiles"][0].clone(), "profile db-read appears twice"),
        (
            "/profiles/0/quorum/of",
            json!(["alice", "bob", "erin"]),
            "erin in the formula of profile db-read is no custodian",
        ),
        (
            "/profiles/2/denials/of",
            json!(["alice", "bob", "hank"]),
            "hank in the formula of denials of profile careful",
        ),
        ("/governance/of", json!(["alice", "bob", "nobody"]), "nobody in the formula of governance"),
    ] {
        refused(&with(pointer, value), content, says);
    }
    let mut crowd = document();
    for n in 0..60 {
        crowd["persons"].as_array_mut().unwrap().push(person(&format!("p{n}"), json!([])));
    }
    refused(&crowd, content, "at most 64 persons");
}

#[test]
fn formulas_that_are_no_quorum_are_named() {
    refused(&with("/governance/threshold", json!(1)), "CHARTER_FORMULA", "one person alone");
    refused(
        &with("/profiles/2/denials/threshold", json!(0)),
        "CHARTER_FORMULA",
        "denials of profile careful",
    );
}

#[test]
fn what_is_not_strict_is_no_charter() {
    let malformed = "CHARTER_MALFORMED";
    refused(&with("/more", json!(1)), malformed, "unknown field");
    refused(&with("/persons/0/more", json!(1)), malformed, "unknown field");
    refused(&with("/persons/0/devices/0/more", json!(1)), malformed, "unknown field");
    refused(&with("/profiles/0/override", json!(true)), malformed, "unknown field");
    refused(&with("/profiles/0/quorum/minimum", json!(1)), malformed, "unknown field");
    refused(&with("/iss", json!("http://breakglass.example.test")), malformed, "members");
    refused(&with("/iss", json!("https://breakglass.example.test/")), malformed, "members");
    refused(&with("/persons/0/id", json!("Alice")), malformed, "members");
    refused(&with("/persons/0/devices/0/firmware", json!("5.07.4")), malformed, "members");
    refused(&with("/persons/0/devices/0/kind", json!("webauthn")), malformed, "members");
    refused(&with("/profiles/0/aud", json!("two words")), malformed, "members");
    refused(&with("/profiles/0/authorization_details/0/actions", json!(["*"])), malformed, "members");
    refused(&with("/issuing_keys/0/state", json!("on")), malformed, "members");
    // Sets in another order or with repetitions, and absent members as null, would be second texts.
    let text = String::from_utf8(payload(&document())).unwrap();
    for (from, to) in [
        (r#""ops":["carol","dave"]"#, r#""ops":["dave","carol"]"#),
        (r#""ops":["carol","dave"]"#, r#""ops":["carol","carol","dave"]"#),
        (r#""roles":["auditor","requester"]"#, r#""roles":["requester","auditor"]"#),
        (r#""profiles":["db-read"]"#, r#""profiles":["db-read","db-read"]"#),
        (r#""development":true,"#, r#""development":true,"governance ":1,"#),
        (r#""version":1"#, r#""version": 1"#),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(Rules::parse(changed.as_bytes()).unwrap_err().reason(), malformed, "{to}");
    }
    let open = text.replacen(r#""development":true"#, r#""development":false"#, 1);
    assert_eq!(Rules::parse(open.as_bytes()).unwrap_err().reason(), malformed);
}

#[test]
fn a_quorum_must_be_reachable_whoever_asks_and_whatever_is_lost() {
    let unsatisfiable = "CHARTER_UNSATISFIABLE";
    // 2 of 3 with one device each, and one of the three may ask: one lost device leaves too few.
    let mut small = document();
    let person = |id: &str, roles: Value, serial: u32| {
        json!({"id": id, "name": id, "roles": roles, "devices": [device(&format!("{id}/1"), serial)],
            "keys": [key(&format!("{id}/file")).jwk()]})
    };
    let plain = json!(["custodian"]);
    let both = json!(["custodian", "requester"]);
    small["persons"] =
        json!([person("alice", plain.clone(), 1), person("bob", plain.clone(), 2), person("carol", both, 3)]);
    small["clients"] = json!([]);
    small["groups"] = json!({});
    let formula = json!({"threshold": 2, "of": ["alice", "bob", "carol"]});
    small["governance"] = formula.clone();
    let profile = patch(small["profiles"][0].clone(), json!({"quorum": formula}));
    small["profiles"] = json!([profile]);
    for key in small["issuing_keys"].as_array_mut().unwrap() {
        key["profiles"] = json!(["db-read"]);
    }
    refused(&small, unsatisfiable, "cannot be reached when carol asks after alice has lost the only device");
    let mut cured = small.clone();
    cured["persons"][2] = person("carol", plain, 3);
    Rules::parse(&payload(&cured)).unwrap();
    let mut cured = small.clone();
    for (n, name) in ["alice", "bob"].iter().enumerate() {
        cured["persons"][n]["devices"]
            .as_array_mut()
            .unwrap()
            .push(device(&format!("{name}/2"), 20 + u32::try_from(n).unwrap()));
    }
    Rules::parse(&payload(&cured)).unwrap();
    // Terms that end before the charter does.
    let mut ends = document();
    for person in [0, 2, 3] {
        ends["persons"][person]["term"] = json!({"until": NOW + 86_400});
    }
    refused(&ends, unsatisfiable, "2027-01-16T08:00:00.000Z");
    ends["expires_at"] = json!(NOW + 86_400);
    Rules::parse(&payload(&ends)).unwrap();
    // Terms that begin later.
    let mut begins = document();
    for person in [0, 2, 3] {
        begins["persons"][person]["term"] = json!({"from": NOW});
    }
    refused(&begins, unsatisfiable, "cannot be reached");
    // The tool's owner and the person it asks for are excluded together.
    let mut tool = document();
    tool["clients"][0]["subjects"] = json!(["dave"]);
    refused(&tool, unsatisfiable, "when carol and dave");
    // Governance and denials, too.
    let mut governance = document();
    governance["governance"] = json!({"threshold": 2, "of": ["alice", "bob"]});
    refused(&governance, unsatisfiable, "governance needs");
    let mut denials = document();
    denials["profiles"][2]["denials"] = json!({"threshold": 2, "of": ["alice", "bob"]});
    refused(&denials, unsatisfiable, "denials of profile careful");
}

#[test]
fn a_profile_whose_plainest_token_does_not_fit_is_refused() {
    let mut document = document();
    let names: Vec<String> = (0..14).map(|n| format!("c{n:02}")).collect();
    for (n, name) in (0..).zip(&names) {
        let person = json!({"id": name, "name": name, "roles": ["custodian"],
            "devices": [device(&format!("{name}/1"), 1_000 + n)]});
        document["persons"].as_array_mut().unwrap().push(person);
    }
    document["profiles"][0]["quorum"] = json!({"threshold": 5, "of": names});
    Rules::parse(&payload(&document)).unwrap();
    document["profiles"][0]["quorum"]["threshold"] = json!(12);
    refused(&document, "CHARTER_CONTENT", "is the most that proxies take");
}

#[test]
fn a_charter_fits_one_log_entry() {
    // 60,000 bytes of JWS are some 44,000 of payload and signatures: a longer one is refused here, not when it is
    // appended.
    let mut long = document();
    let rule = |n: usize| json!({"type": "database", "actions": [format!("a{n:05}{}", "x".repeat(100))], "locations": ["pg/*"]});
    long["profiles"][0]["authorization_details"] = (0..240).map(rule).collect();
    let bytes = payload(&long);
    let statement = signed(&bytes, &DEVICES);
    assert!(bytes.len() < 60_000 && statement.to_json().len() > 60_000, "{}", bytes.len());
    let error = Charter::genesis(statement, Digest::of(&bytes)).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_MALFORMED", "{}", words(&error));
    assert!(words(&error).contains("60000"), "{}", words(&error));
    long["profiles"][0]["authorization_details"] = (0..480).map(rule).collect();
    assert_eq!(Rules::parse(&payload(&long)).unwrap_err().reason(), "CHARTER_MALFORMED");
}

#[test]
fn genesis_needs_every_custodians_device_once() {
    let bytes = payload(&document());
    let pinned = Digest::of(&bytes);
    let good = signed(&bytes, &DEVICES);
    let genesis = |jws: GeneralJws| Charter::genesis(jws, pinned);
    assert_eq!(genesis(good.clone()).unwrap().digest(), pinned);
    let says = |jws: GeneralJws, expected: &str| {
        let error = genesis(jws).unwrap_err();
        let words = words(&error);
        assert!(words.contains(expected), "expected {expected:?} in {words:?}");
    };
    for missing in 0..DEVICES.len() {
        let mut jws = good.clone();
        jws.signatures.remove(missing);
        says(jws, "missing:");
    }
    let with = |signature| {
        let mut jws = good.clone();
        jws.signatures.push(signature);
        jws
    };
    let sign = |name: &str, typ| key(name).state(typ, &bytes, NOW);
    says(with(good.signatures[0].clone()), "signed twice with one key");
    says(with(sign("alice/1", Typ::Charter)), "signed twice with one key");
    says(with(sign("mallory", Typ::Charter)), "no custodian's device");
    says(with(sign("dave/file", Typ::Charter)), "no custodian's device");
    says(with(sign("hsm/1", Typ::Charter)), "no custodian's device");
    let first = |signature| {
        let mut jws = good.clone();
        jws.signatures[0] = signature;
        jws
    };
    says(first(sign("alice/1", Typ::Approval)), "where breakglass-charter+jws belongs");
    says(first(key("alice/1").state_at(Typ::Charter, &bytes, NOW, Some("desk-1"))), "signed at a station");
    says(first(key("alice/1").state(Typ::Charter, b"{}", NOW)), "does not verify");
    // A requester's hardware key may sign along, but counts for nothing.
    genesis(with(sign("hank/1", Typ::Charter))).unwrap();
    let error = Charter::genesis(good, Digest::of(b"another")).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_NOT_PINNED");
}

#[test]
fn only_version_1_is_pinned() {
    let mut second = document();
    second["version"] = json!(2);
    second["previous"] = json!(Digest::of(b"version 1"));
    let bytes = payload(&second);
    let error = Charter::genesis(signed(&bytes, &DEVICES), Digest::of(&bytes)).unwrap_err();
    assert!(words(&error).contains("only version 1"), "{}", words(&error));
}

#[test]
fn a_statement_over_a_charter_is_not_its_payload_alone() {
    // Signatures over the canonical bytes do not carry over to any other bytes.
    let payload = payload(&document());
    let other = bytes(&patch(document(), json!({"development": null})));
    let mut jws = signed(&payload, &DEVICES);
    jws.payload = other;
    let digest = Digest::of(&jws.payload);
    assert!(Charter::genesis(jws, digest).is_err());
}

/// A charter that nobody can have meant, made to keep its reader busy: it is refused, or judged, in bounded time.
#[test]
fn a_hostile_charter_does_not_keep_its_reader_busy() {
    let mut hostile = document();
    let names: Vec<String> = (0..48).map(|n| format!("p{n:02}")).collect();
    let person = |(n, name): (usize, &String)| {
        json!({"id": name, "name": name, "roles": ["custodian", "requester"],
            "term": {"from": NOW - 3_600 + i64::try_from(n).unwrap()},
            "devices": [device(&format!("{name}/1"), 1_000 + u32::try_from(n).unwrap())]})
    };
    hostile["persons"].as_array_mut().unwrap().extend(names.iter().enumerate().map(person));
    // Each of twelve branches is one of all: 924 ways to choose six of them, and every one has to be tried.
    let branch = json!({"threshold": 1, "of": names});
    let formula = json!({"threshold": 6, "of": vec![branch; 12]});
    let profile =
        |n: usize| patch(hostile["profiles"][0].clone(), json!({"id": format!("h{n}"), "quorum": formula}));
    let profiles: Vec<Value> = (0..4).map(profile).collect();
    hostile["issuing_keys"][0]["profiles"] =
        json!(["careful", "db-read", "db-write", "h0", "h1", "h2", "h3"]);
    hostile["profiles"].as_array_mut().unwrap().extend(profiles);
    let started = std::time::Instant::now();
    let error = Rules::parse(&payload(&hostile)).unwrap_err();
    println!("{} after {:?}: {}", error.reason(), started.elapsed(), words(&error));
    assert!(["CHARTER_CONTENT", "CHARTER_UNSATISFIABLE"].contains(&error.reason()), "{}", words(&error));
}
