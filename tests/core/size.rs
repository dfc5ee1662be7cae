//! How large tokens are: never larger than was said when the request was filed.

use breakglass::{
    domain::{
        charter::Charter,
        claims::{self, Claims, LogPosition},
        grant::Grant,
        strict::{self, Seen, View},
    },
    jose::{GeneralJws, Typ},
};
use proptest::{collection::btree_set, prelude::*};
use serde_json::{Value, json};

use crate::kit::{AUD, NOW, ORIGIN, bytes, document, flow, grant_named, key, patch};

#[test]
fn typical_tokens_are_as_large_as_the_design_says() {
    let (_, _, two) = flow();
    println!("two approvals: {} bytes", two.len());
    assert!((3_000..4_000).contains(&two.len()), "{}", two.len());
}

/// Five approvals, all given at a station with the longest name, over any details that the profile allows.
fn large() -> Charter {
    let mut document = document();
    let any = json!([{"type": "k", "actions": ["a*"], "locations": ["l*"], "identifiers": ["i*"]},
        {"type": "database-of-some-kind", "actions": ["a*"], "locations": ["l*"]}]);
    let change = json!({"quorum": {"threshold": 3, "of": ["alice", "bob", "carol", "dave", "gus"]}, "stations": true,
        "authorization_details": any});
    document["profiles"][0] = patch(document["profiles"][0].clone(), change);
    document["persons"][5] = patch(document["persons"][5].clone(), json!({"term": null}));
    // Every custodian has a second device, so that three of five can always be reached.
    for (person, serial) in [(1, 202), (5, 502)] {
        let name = document["persons"][person]["id"].as_str().unwrap().to_owned();
        let device = json!({"kind": "piv", "key": key(&format!("{name}/2")).jwk(), "serial": serial, "firmware": "5.7.4"});
        document["persons"][person]["devices"].as_array_mut().unwrap().push(device);
    }
    let payload = crate::kit::payload(&document);
    let devices = [&crate::kit::DEVICES[..], &["bob/2", "gus/2"]].concat();
    let statement = crate::kit::signed(&payload, &devices);
    Charter::genesis(statement, breakglass::jose::Digest::of(&payload)).unwrap()
}

fn detail() -> impl Strategy<Value = Value> {
    let words = |pattern: &'static str| btree_set(pattern, 1..5);
    (any::<bool>(), words("a[a-z/@=,-]{0,60}"), words("l[a-z/@=,-]{0,60}"), "i[A-Z]{0,90}").prop_map(
        |(plain, actions, locations, identifier)| {
            if plain {
                json!({"type": "database-of-some-kind", "actions": actions, "locations": locations})
            } else {
                json!({"type": "k", "actions": actions, "locations": locations, "identifier": identifier})
            }
        },
    )
}

/// The token of this grant with so many approvals, each at a station or none.
fn mint(charter: &Charter, payload: &[u8], station: Option<&str>, index: u64) -> (usize, String) {
    let grant = Grant::parse(payload).unwrap();
    let permit = charter.permits(&grant).unwrap();
    let mut jws: GeneralJws = key("erin/file").jws(Typ::Request, payload, NOW);
    let origin = ORIGIN.parse().unwrap();
    let bound = claims::largest_token(&grant, &permit, &jws, &origin, 3, 64).unwrap();
    for device in ["alice/1", "bob/1", "gus/1"] {
        jws.signatures.push(key(device).state_at(Typ::Approval, payload, NOW, station));
    }
    let claims = Claims::new(&grant, &permit, jws, NOW, LogPosition { origin, index }, Some(131_071));
    (bound, key("hsm/1").jwt(&claims.to_bytes().unwrap()))
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_token_is_larger_than_its_bound(
        details in prop::collection::vec(detail(), 1..6),
        reason in "[a-zäöü\"\\\\ ]{1,120}[a-z]",
        incident in "[!#-;=?-\\[\\]-~]{1,64}",
        station in prop::option::of("[a-z0-9._-]{64}"),
        index in 0..(1_u64 << 53),
    ) {
        let charter = CHARTER.with(Clone::clone);
        let asked = patch(grant_named(&charter, "large"),
            json!({"authorization_details": details, "reason": reason, "incident": incident}));
        let payload = bytes(&asked);
        prop_assume!(payload.len() <= 2_400);
        let (bound, jwt) = mint(&charter, &payload, station.as_deref(), index);
        prop_assert!(jwt.len() <= bound, "{} > {}", jwt.len(), bound);
        if station.is_some() {
            prop_assert!(bound - jwt.len() < 64, "the bound is {} above the truth", bound - jwt.len());
        }
        if bound <= 7_500 {
            let audience = AUD.parse().unwrap();
            let view = View { charter: &charter, audience: &audience, now: NOW, allow_development: true, killed: None };
            prop_assert!(strict::verify(&jwt, &view, &mut Seen::default()).is_ok());
        }
    }
}

thread_local! {
    static CHARTER: Charter = large();
}
