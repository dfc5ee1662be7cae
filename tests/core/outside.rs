//! Verifiers, kill rights, reviews and copies outside: what a charter may say of them, and how a change of it reads.

use breakglass::{
    domain::charter::{Change, Charter, NotPermitted, Rules, difference},
    jose::Digest,
};
use serde_json::{Value, json};

use crate::{
    chain::next,
    charter::words,
    kit::{AUD, DEVICES, NOW, charter_of, document, grant, key, patch, payload, signed_at},
};

/// The document of the kit with one of each.
pub fn furnished() -> Value {
    let mut document = patch(
        document(),
        json!({
            "verifiers": [
                {"id": "vault", "aud": AUD, "longest_session": 1800, "revocation_hook": "https://vault.example.test/revoke",
                 "probe": {"url": "https://vault.example.test/v1/auth/jwt/login", "body": "{\"jwt\":\"{jwt}\"}"},
                 "keys": [key("vault/file").jwk()], "secret": Digest::of(b"vault's secret"),
                 "events": "https://vault.example.test/events"},
                {"id": "api", "aud": AUD, "probe": {"url": "http://127.0.0.1:8080/"}},
            ],
            "kill_rights": {"jti": ["erin", "pager"], "requester": ["pager"]},
            "operational_keys": [operational("ops/1"), operational("ops/2")],
        }),
    );
    document["profiles"][0]["status"] = json!(true);
    document["profiles"][0]["review"] =
        json!({"within": 86_400, "by": {"threshold": 2, "of": ["alice", "bob", "dave", "carol"]}});
    document
}

/// The record of an operational key.
fn operational(name: &str) -> Value {
    json!({"iss": "https://breakglass.example.test/ops", "key": key(name).jwk()})
}

fn receipts() -> Value {
    json!({"threshold": 2,
        "witnesses": [{"name": "w.example.test/one", "key": {"kty": "OKP", "crv": "Ed25519", "x": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}}],
        "sinks": [{"id": "archive", "key": key("archive").jwk()}]})
}

#[track_caller]
fn refused(pointer: &str, value: Value, says: &str) {
    let mut document = furnished();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let place = document.pointer_mut(parent).unwrap();
    *place = patch(place.clone(), json!({name: value}));
    let error = words(&Rules::parse(&payload(&document)).map(|_| ()).unwrap_err());
    assert!(error.contains(says), "{says:?} is expected in {error:?}");
}

#[test]
fn a_furnished_charter_is_a_charter() {
    let rules = Rules::parse(&payload(&furnished())).unwrap();
    assert_eq!(rules.document().verifiers.len(), 2);
    assert!(rules.quorums(&"db-read".parse().unwrap()).unwrap().review.is_some());
    // A verifier's key is its own: it is known, and it is nobody's who may ask.
    let holder = rules.holder(&key("vault/file").kid()).unwrap();
    assert_eq!((holder.principal.as_str(), holder.roles.len()), ("vault", 0));
}

#[test]
fn each_rule_about_the_outside_refuses_in_words() {
    let verifier = |changes: Value| json!([patch(json!({"id": "vault", "aud": AUD}), changes)]);
    for (changes, says) in [
        (json!({"aud": "https://nobody.example.test"}), "the audience of no profile"),
        (json!({"longest_session": 901}), "names no revocation_hook"),
        (
            json!({"longest_session": 2_592_001, "revocation_hook": "https://h.example.test/x"}),
            "30 days at most",
        ),
        (json!({"probe": {"url": "https://v.example.test/", "body": "{}"}}), "{jwt} in it once"),
        (json!({"probe": {"url": "https://v.example.test/", "body": "{jwt}{jwt}"}}), "{jwt} in it once"),
        (json!({"id": "alice"}), "id alice appears twice"),
        (json!({"keys": [key("erin/file").jwk()]}), "appears twice"),
        (json!({"keys": [key("hsm/1").jwk()]}), "is also somebody's own key"),
    ] {
        refused("/verifiers", verifier(changes), says);
    }
    for url in [
        "http://v.example.test/",
        "https://u:p@v.example.test/",
        "https://v.example.test/#x",
        "ftp://v/",
        "https://",
    ] {
        refused("/verifiers", verifier(json!({"probe": {"url": url}})), "is not valid");
    }
    let secret = Digest::of(b"vault's secret");
    let sharing =
        json!([{"id": "vault", "aud": AUD, "secret": secret}, {"id": "api", "aud": AUD, "secret": secret}]);
    refused("/verifiers", sharing, "appears twice");
    refused("/verifiers", verifier(json!({"secret": "short"})), "not unpadded base64url");
    let changed = |changes: Value| json!([patch(operational("ops/1"), changes)]);
    for (keys, says) in [
        (json!([]), "needs a status list, and no operational key"),
        (changed(json!({"iss": "https://breakglass.example.test"})), "has another issuer than tokens"),
        (json!([operational("ops/1"), operational("ops/1")]), "operational key"),
        (
            json!([operational("ops/1"), {"iss": "https://x.example.test", "key": key("ops/2").jwk()}]),
            "have one issuer",
        ),
        (changed(json!({"key": key("hsm/1").jwk()})), "is also an issuing key"),
        (changed(json!({"key": key("erin/file").jwk()})), "is also an issuing key"),
        (["1", "2", "3", "4"].iter().map(|name| operational(name)).collect(), "at most 3 operational keys"),
    ] {
        refused("/operational_keys", keys, says);
    }
    refused("/kill_rights", json!({"jti": []}), "names nobody");
    refused("/kill_rights", json!({"jti": ["mallory"]}), "no person or tool");
    refused("/kill_rights", json!({"some": ["erin"]}), "unknown variant");
    refused("/profiles/0/review/within", json!(0), "1 second to 30 days");
    refused("/profiles/0/review/by", json!({"threshold": 1, "of": ["alice", "bob"]}), "one person alone");
    refused("/profiles/0/review/by", json!({"threshold": 2, "of": ["alice", "erin"]}), "is no custodian");
    // dave may ask, and bob has one device.
    refused(
        "/profiles/0/review/by",
        json!({"threshold": 2, "of": ["alice", "bob", "dave"]}),
        "cannot be reached",
    );
    let changed = |changes: Value| patch(receipts(), changes);
    for threshold in [0, 3] {
        refused("/receipts", changed(json!({"threshold": threshold})), "the threshold is 1 to");
    }
    let one = receipts()["witnesses"][0].clone();
    let twin = patch(one.clone(), json!({"name": "w.example.test/two"}));
    refused("/receipts", changed(json!({"witnesses": [one, twin]})), "share a name or a key");
    let sink = receipts()["sinks"][0].clone();
    refused(
        "/receipts",
        changed(json!({"sinks": [patch(sink.clone(), json!({"id": "alice"}))]})),
        "appears twice",
    );
    let twin = patch(sink.clone(), json!({"id": "other"}));
    refused("/receipts", changed(json!({"sinks": [sink, twin]})), "appears twice");
}

/// Neither the daemon nor a verifier can tell whether receipts exist, so under such a charter nothing is permitted.
#[test]
fn a_charter_that_demands_receipts_permits_nothing_yet() {
    let plain = charter_of(&furnished());
    let permitted = |charter: &Charter| {
        let grant = serde_json::from_value(grant(charter)).unwrap();
        charter.permits(&grant).map(|_| ()).map_err(NotPermitted::reason)
    };
    assert_eq!(permitted(&plain), Ok(()));
    let demanding = charter_of(&patch(furnished(), json!({"receipts": receipts()})));
    assert_eq!(permitted(&demanding), Err("RECEIPTS_UNAVAILABLE"));
}

#[test]
fn changes_of_the_outside_are_told() {
    let before = charter_of(&furnished());
    let mut document = next(&before);
    document["verifiers"] = json!([
        patch(
            document["verifiers"][0].clone(),
            json!({"longest_session": 3600, "keys": [], "secret": null, "events": "https://vault.example.test/other"})
        ),
        {"id": "proxy", "aud": AUD, "secret": Digest::of(b"proxy's secret"), "events": "https://proxy.example.test/"},
    ]);
    document["operational_keys"] = json!([operational("ops/2"), operational("ops/3")]);
    document["profiles"][0]["status"] = json!(false);
    document["kill_rights"] = json!({"all": ["erin"], "jti": ["erin", "pager"]});
    document["receipts"] = receipts();
    document["profiles"][0]["review"]["within"] = json!(3600);
    let line = |change: Change| format!("{}{}", if change.weakens { "! " } else { "" }, change.text);
    let lines: Vec<String> =
        difference(&before, &Rules::parse(&payload(&document)).unwrap()).into_iter().map(line).collect();
    let lines: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !line.contains("valid until")).collect();
    let vault = key("vault/file").kid().to_string();
    assert_eq!(
        lines,
        [
            "changes the review of each use of db-read from within 86400 s by 2 of (alice, bob, dave, carol) to within 3600 s by 2 of (alice, bob, dave, carol)",
            "! tokens of db-read have no place any more in the status list",
            &format!("removes operational key {}", key("ops/1").kid()),
            &format!(
                "! adds operational key {}, which signs status lists and events as https://breakglass.example.test/ops",
                key("ops/3").kid()
            ),
            "! vault keeps sessions for 3600 s, ended at https://vault.example.test/revoke (it was: keeps sessions for 1800 s, ended at https://vault.example.test/revoke)",
            &format!("takes the key {vault} from vault"),
            &format!(
                "! vault cannot ask the daemon about tokens (it was: asks the daemon about tokens with the secret of digest {})",
                Digest::of(b"vault's secret")
            ),
            "! vault is sent security events at https://vault.example.test/other (it was: is sent security events at https://vault.example.test/events)",
            "! forgets the verifier api: no kill is proven there any more",
            &format!(
                "adds the verifier proxy for {AUD}, never shown a token; keeps no sessions; keys: nothing; asks the daemon about tokens with the secret of digest {}; is sent security events at https://proxy.example.test/",
                Digest::of(b"proxy's secret")
            ),
            "! pager may no longer kill at level requester",
            "! erin may kill at level all",
            &format!(
                "! demands receipts of 2 of witness w.example.test/one ({}), sink archive ({}) before anything is signed (it was: no copy outside)",
                breakglass::jose::Ed25519PublicKey::from_bytes([7; 32]).thumbprint(),
                key("archive").kid()
            ),
        ]
    );
    assert!(before.document().expires_at > NOW);
}

/// What signs about tokens never signs tokens, in no version of the chain, nor anything for a person.
#[test]
fn an_operational_key_has_one_purpose_for_ever() {
    let before = charter_of(&furnished());
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut document = next(&before);
        change(&mut document);
        document["operational_keys"] = json!([operational("ops/3")]);
        let statement = signed_at(&payload(&document), &DEVICES, NOW);
        before.successor(statement, NOW).map(|_| ()).map_err(|error| error.reason())
    };
    assert_eq!(refused(&|_| {}), Ok(()));
    let issues = refused(&|document| document["issuing_keys"][0]["key"] = key("ops/1").jwk());
    assert_eq!(issues, Err("CHARTER_KEY_MOVED"));
    let asks = refused(&|document| document["persons"][4]["keys"] = json!([key("ops/2").jwk()]));
    assert_eq!(asks, Err("CHARTER_KEY_MOVED"));
    let with_past = patch(
        furnished(),
        json!({"issuing_keys": [furnished()["issuing_keys"][0], {"key": key("hsm/past").jwk(), "profiles": [], "state": "compromised"}]}),
    );
    let before = charter_of(&with_past);
    let mut document = next(&before);
    document["issuing_keys"].as_array_mut().unwrap().pop();
    document["operational_keys"] = json!([operational("hsm/past")]);
    let again = before.successor(signed_at(&payload(&document), &DEVICES, NOW), NOW);
    assert_eq!(again.map(|_| ()).map_err(|error| error.reason()), Err("CHARTER_KEY_MOVED"));
}
