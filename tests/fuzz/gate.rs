//! What a client sends through a proxy to a gate: proofs, tokens, targets.

use std::sync::Arc;

use breakglass::{
    gate::{
        clock::Moment,
        decide::{Memory, Request, Settings, decide},
        map::{Map, Path, Pattern, Rule, Template},
        view::{Known, Source},
    },
    jose::{Digest, DpopProof, b64},
};
use serde_json::json;

use crate::{
    Parsed, fuzz,
    kit::{self, NOW, key},
};

fn proof(token: &str) -> String {
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key("a grant/cnf").jwk()});
    let claims = json!({"jti": "one", "htm": "GET", "htu": "https://a.example/orders/orders", "iat": NOW + 13,
        "ath": Digest::of(token.as_bytes())});
    let text = |value: &serde_json::Value| b64::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", text(&header), text(&claims));
    format!("{input}.{}", b64::encode(&key("a grant/cnf").sign(input.as_bytes())))
}

#[test]
fn proofs() {
    fuzz(&[proof("token").into_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        match DpopProof::parse(text) {
            Ok(parsed) => {
                let _ = (parsed.jkt(), parsed.verify());
                Parsed::Loosely
            }
            Err(_) => Parsed::Refused,
        }
    });
}

#[test]
fn targets() {
    let corpus = ["/orders/orders?page=1", "/a%20b/c/", "/", "/v1.2/a..b/%C3%A9"];
    fuzz(&corpus.map(|target| target.as_bytes().to_vec()), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        if Path::parse(text).is_ok() { Parsed::Loosely } else { Parsed::Refused }
    });
}

/// Nothing but the very token and proof passes, whatever is changed about them.
#[test]
fn questions() {
    let (log, _, token) = kit::flow();
    let at = |seconds: i64| Moment { wall: seconds * 1000, monotonic: 1_000_000 };
    let path = Pattern::parse("/orders/{name}").unwrap();
    let word = |text: &str| text.to_owned().try_into().unwrap();
    let rule = Rule {
        methods: Vec::new(),
        host: None,
        kind: word("database"),
        action: word("read"),
        resource: Template::parse("pg/prod/{name}", &path).unwrap(),
        identifier: None,
        path,
    };
    let settings = Settings {
        audience: kit::AUD.parse().unwrap(),
        development: true,
        max_stale: 10_000,
        map: Map(vec![rule]),
        started: at(NOW),
    };
    let source = Source { heard: Some(1_000_000), ..Source::default() };
    let known =
        Known { charter: Arc::new(log.charter()), sources: [source].into(), unrecorded: Arc::default() };
    let good = format!("DPoP {token}\n{}\n/orders/orders", proof(&token));
    fuzz(&[good.clone().into_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        let mut lines = text.split('\n');
        let (Some(authorization), Some(dpop), Some(target)) = (lines.next(), lines.next(), lines.next())
        else {
            return Parsed::Refused;
        };
        let request = Request {
            method: "GET",
            scheme: Some("https"),
            host: Some("a.example"),
            target,
            authorization: Some(authorization),
            dpop: Some(dpop),
            certificate: None,
        };
        match decide(&settings, &request, &known, &Memory::default(), at(NOW + 13)) {
            Ok(pass) => {
                assert_eq!(pass.need.location.to_string(), "pg/prod/orders");
                assert!(text.contains(&token), "another token passes");
                Parsed::Loosely
            }
            Err(refusal) => {
                assert!(!refusal.reason().is_empty() && !refusal.to_string().is_empty());
                Parsed::Refused
            }
        }
    });
}
