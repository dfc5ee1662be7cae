//! Issuing keys of every algorithm: what a strict verifier takes of them, and what charters may say of them.

use breakglass::{
    domain::{
        charter::{Charter, Rules},
        claims::{self, Claims, LogPosition},
        grant::Grant,
        strict::{self, Seen, View},
    },
    jose::{CompactJwt, Digest, IssuingPublicKey, TokenAlg, Typ, b64},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    chain::{by, next},
    kit::{AUD, NOW, ORIGIN, bytes, charter_of, document, grant_named, key},
};

/// Keys in software that follow from a seed, as far as a library here makes them.
enum Software {
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Software {
    fn p384() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P384_SHA384_FIXED_SIGNING,
            pkcs8.unwrap().as_ref(),
            &SystemRandom::new(),
        );
        Self::P384(pair.unwrap())
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap())
    }

    fn jwk(&self) -> Value {
        match self {
            Self::P384(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
                json!({"crv": "P-384", "kty": "EC", "x": b64::encode(x), "y": b64::encode(y)})
            }
            Self::Ed25519(pair) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": b64::encode(pair.public_key().as_ref())})
            }
        }
    }

    fn public(&self) -> IssuingPublicKey {
        serde_json::from_value(self.jwk()).unwrap()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P384(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// An RSA key of so many bytes whose private half nobody has.
fn rsa(alg: &str, modulus: usize, name: &str) -> Value {
    let bytes =
        (0..=modulus / 32).flat_map(|turn| *Digest::of(format!("{name} {turn}").as_bytes()).as_bytes());
    let mut n: Vec<u8> = bytes.take(modulus).collect();
    n[0] |= 0x80;
    n[modulus - 1] |= 1;
    json!({"alg": alg, "e": "AQAB", "kty": "RSA", "n": b64::encode(&n)})
}

/// The kit's charter in which this key alone signs for `db-read`.
fn reading_with(key: Value) -> Value {
    let mut document = document();
    document["issuing_keys"][0]["profiles"] = json!(["careful", "db-write"]);
    let key = json!({"key": key, "profiles": ["db-read"], "state": "active"});
    document["issuing_keys"].as_array_mut().unwrap().push(key);
    document
}

/// What a good token says under this charter.
fn claims(charter: &Charter) -> Vec<u8> {
    let payload = bytes(&grant_named(charter, "algorithms"));
    let grant = Grant::parse(&payload).unwrap();
    let mut jws = key("erin/file").jws(Typ::Request, &payload, NOW);
    for device in ["alice/1", "bob/1"] {
        jws.signatures.push(key(device).state(Typ::Approval, &payload, NOW));
    }
    let log = LogPosition { origin: ORIGIN.parse().unwrap(), index: 4 };
    Claims::new(&grant, &charter.permits(&grant).unwrap(), jws, NOW, log, None).to_bytes().unwrap()
}

fn judge(charter: &Charter, jwt: &str) -> &'static str {
    let audience = AUD.parse().unwrap();
    let view = View { charter, audience: &audience, now: NOW, allow_development: true, killed: None };
    strict::verify(jwt, &view, &mut Seen::default()).map_or_else(|why| why.reason(), |_| "OK")
}

#[test]
fn a_strict_verifier_takes_the_algorithm_of_the_charters_key_and_no_other() {
    for software in [Software::p384(), Software::ed25519()] {
        let (charter, public) = (charter_of(&reading_with(software.jwk())), software.public());
        let (claims, kid) = (claims(&charter), public.thumbprint());
        assert_eq!(charter.issuing_key(&"db-read".parse().unwrap()).unwrap().key, public);
        let mint = |alg: TokenAlg| {
            let input = CompactJwt::signing_input(alg, &kid, &claims);
            CompactJwt::assemble(&input, &software.sign(input.as_bytes()))
        };
        assert_eq!(judge(&charter, &mint(public.alg())), "OK");
        for alg in TokenAlg::ALL.into_iter().filter(|alg| *alg != public.alg()) {
            assert_eq!(judge(&charter, &mint(alg)), "TOKEN_MALFORMED", "{alg} by a key of {}", public.alg());
        }
        // The public key as the secret of a MAC, and no signature at all.
        let with = |alg: &str, signature: &[u8]| {
            let header = json!({"alg": alg, "kid": kid, "typ": "at+jwt"}).to_string();
            let input = format!("{}.{}", b64::encode(header.as_bytes()), b64::encode(&claims));
            CompactJwt::assemble(&input, signature)
        };
        let input = with("HS256", &[]);
        for secret in [public.key().spki_der(), software.jwk().to_string().into_bytes()] {
            let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            let mac = ring::hmac::sign(&secret, input.trim_end_matches('.').as_bytes());
            assert_eq!(judge(&charter, &with("HS256", mac.as_ref())), "TOKEN_MALFORMED");
        }
        assert_eq!(judge(&charter, &with("none", &[])), "TOKEN_MALFORMED");
        // The key of another profile, with its own algorithm.
        assert_eq!(judge(&charter, &key("hsm/1").jwt(&claims)), "ISSUING_KEY_UNKNOWN");
        // Another key's signature under this kid.
        let other = key("hsm/1");
        let input = CompactJwt::signing_input(TokenAlg::Es256, &kid, &claims);
        assert_eq!(
            judge(&charter, &CompactJwt::assemble(&input, &other.sign(input.as_bytes()))),
            "TOKEN_MALFORMED"
        );
    }
}

#[test]
fn one_rsa_key_has_one_algorithm_for_ever() {
    let key = rsa("RS256", 384, "one");
    let first = charter_of(&reading_with(key.clone()));
    let follow = |change: &dyn Fn(&mut Value)| {
        let mut document = next(&first);
        change(&mut document);
        first.successor(by(&document, &["alice/1", "bob/1"]), NOW)
    };
    assert!(follow(&|_| ()).is_ok());
    let error = follow(&|document| document["issuing_keys"][3]["key"]["alg"] = json!("PS256")).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_KEY_LIFE");
    assert!(error.to_string().contains("it signs RS256 and cannot sign PS256"), "{error}");
    // Left out for a version, it is not forgotten.
    let mut without = next(&first);
    without["issuing_keys"][0]["profiles"] = json!(["careful", "db-read", "db-write"]);
    without["issuing_keys"].as_array_mut().unwrap().pop();
    let gap = first.successor(by(&without, &["alice/1", "bob/1"]), NOW).unwrap();
    let mut again = next(&gap);
    let other = json!({"key": rsa("PS256", 384, "one"), "profiles": ["db-read"], "state": "active"});
    again["issuing_keys"].as_array_mut().unwrap().push(other.clone());
    let error = gap.successor(by(&again, &["alice/1", "bob/1"]), NOW).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_KEY_LIFE");
    // Nor both at once: the thumbprint is the same.
    let mut both = reading_with(key);
    both["issuing_keys"].as_array_mut().unwrap().push(other);
    let error = Rules::parse(&crate::kit::payload(&both)).unwrap_err();
    assert!(error.to_string().contains("appears twice"), "{error}");
}

#[test]
fn a_longer_signature_counts_in_the_size_of_a_token() {
    let bound = |key: Value| {
        let charter = charter_of(&reading_with(key));
        let payload = bytes(&grant_named(&charter, "size"));
        let (grant, profile) = (Grant::parse(&payload).unwrap(), "db-read".parse().unwrap());
        let jws = key_of_erin(&payload);
        let permit = charter.permits(&grant).unwrap();
        let signature = charter.longest_signature(&profile);
        let origin = ORIGIN.parse().unwrap();
        (signature, claims::largest_token(&grant, &permit, &jws, &origin, 2, signature).unwrap())
    };
    let (short, small) = bound(key("hsm/other").jwk());
    assert_eq!(short, 64);
    for (key, signature, more) in [
        (Software::ed25519().jwk(), 64, 0),
        (Software::p384().jwk(), 96, 128 - 86),
        (rsa("RS256", 256, "a"), 256, 342 - 86),
        (rsa("PS256", 512, "b"), 512, 683 - 86),
    ] {
        assert_eq!(bound(key), (signature, small + more));
    }
}

fn key_of_erin(payload: &[u8]) -> breakglass::jose::GeneralJws {
    key("erin/file").jws(Typ::Request, payload, NOW)
}

/// The bytes of charters from before there was a choice stay what they were.
#[test]
fn a_p256_key_has_the_text_that_it_always_had() {
    let (old, new): (breakglass::jose::P256PublicKey, IssuingPublicKey) =
        (key("hsm/1").public, key("hsm/1").public.into());
    assert_eq!(bytes(&json!(old)), bytes(&json!(new)));
    let rules = Rules::parse(&crate::kit::payload(&document())).unwrap();
    let written = serde_json::to_value(rules.document()).unwrap();
    assert_eq!(written["issuing_keys"][0]["key"], document()["issuing_keys"][0]["key"]);
}
