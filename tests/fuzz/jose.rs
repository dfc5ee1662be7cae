//! Statements, tokens and their encryption.

use breakglass::jose::{CompactJwt, GeneralJws, ProtectedHeader, jwe};
use serde_json::Value;

use crate::{
    Parsed, fuzz,
    kit::{self, key},
    mutate::Rng,
};

/// The bytes of a good statement: a request with two approvals.
pub fn statement() -> Vec<u8> {
    let (log, id, _) = kit::flow();
    log.state.request(&id).unwrap().with_signatures(&log.authorization(&id).approvals).to_json()
}

#[test]
fn general_jws() {
    let charter = kit::charter().statement().to_json();
    fuzz(&[statement(), charter], |bytes| match GeneralJws::parse(bytes, 60_000) {
        Ok(jws) => Parsed::As(jws.to_json()),
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn protected_headers() {
    let jws = GeneralJws::parse(&statement(), 60_000).unwrap();
    let corpus: Vec<Vec<u8>> =
        jws.signatures.iter().map(|signature| signature.protected().as_bytes().to_vec()).collect();
    fuzz(&corpus, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        match ProtectedHeader::decode(text) {
            Ok(header) => Parsed::As(header.encode().unwrap().into_bytes()),
            Err(_) => Parsed::Refused,
        }
    });
}

#[test]
fn compact_jwts() {
    let (_, _, jwt) = kit::flow();
    let public = key("hsm/1").public;
    fuzz(&[jwt.clone().into_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        let Ok(parsed) = CompactJwt::parse(text, 16_384) else { return Parsed::Refused };
        // Nobody but the device can make another one that verifies. ECDSA has two signatures for each that is made.
        let same_message =
            text.rsplit_once('.').map(|(input, _)| input) == jwt.rsplit_once('.').map(|(input, _)| input);
        assert!(parsed.verify(&public.into()).is_err() || same_message, "a forged token verifies");
        Parsed::Loosely
    });
}

/// The header as the tool of another maker would write it, and all parts around it.
#[test]
fn encrypted_tokens() {
    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let public = breakglass::jose::P256PublicKey::try_from(&secret.public_key()).unwrap();
    let sealed = jwe::encrypt(b"a token", &public, &ring::rand::SystemRandom::new()).unwrap();
    let good = sealed.clone().into_bytes();
    fuzz(&[good], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Parsed::Refused };
        match jwe::decrypt(text, &secret) {
            Ok(opened) => {
                assert_eq!(*opened, *b"a token");
                Parsed::As(sealed.clone().into_bytes())
            }
            Err(_) => Parsed::Refused,
        }
    });
}

/// Strict JSON is judged by another parser: what is accepted means the same there, and nothing is accepted that is not JSON.
#[test]
fn strict_json() {
    let corpus = [kit::bytes(&kit::document()), br#"{"a":[1,true,null,"\u20ac"],"b":{"":-1}}"#.to_vec()];
    let corpus: Vec<Vec<u8>> = corpus
        .iter()
        .map(|text| {
            breakglass::jose::json::canonical(&serde_json::from_slice::<Value>(text).unwrap()).unwrap()
        })
        .collect();
    fuzz(&corpus, |bytes| match breakglass::jose::json::parse::<Value>(bytes, 60_000) {
        Ok(value) => {
            assert_eq!(serde_json::from_slice::<Value>(bytes).unwrap(), value);
            Parsed::As(breakglass::jose::json::canonical(&value).unwrap())
        }
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn the_mutator_repeats_itself() {
    let corpus = [statement()];
    let run = |seed| {
        let mut rng = Rng(seed);
        (0..100).map(|_| crate::mutate::mutate(&mut rng, &corpus)).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
