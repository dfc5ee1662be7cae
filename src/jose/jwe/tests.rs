//! The key derivation against RFC 7518 Appendix C, and every way to spoil a message.

use p256::elliptic_curve::sec1::FromSec1Point as _;
use ring::rand::SystemRandom;

use super::*;

fn recipient(seed: u8) -> (SecretKey, P256PublicKey) {
    let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
    let public = P256PublicKey::try_from(&secret.public_key()).unwrap();
    (secret, public)
}

/// RFC 7518 Appendix C: Alice's ephemeral key, Bob's key, A128GCM.
#[test]
fn key_derivation_matches_rfc_7518_appendix_c() {
    let scalar = |text| SecretKey::from_slice(&b64::decode_array::<32>(text).unwrap()).unwrap();
    let alice = scalar("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo");
    let bob = scalar("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw");
    let point = |x, y| {
        let sec1 = [&[4], b64::decode(x).unwrap().as_slice(), &b64::decode(y).unwrap()].concat();
        p256::PublicKey::from_sec1_point(&p256::Sec1Point::from_bytes(sec1).unwrap()).unwrap()
    };
    let alice_public =
        point("gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps");
    let bob_public =
        point("weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ", "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck");
    assert_eq!(alice.public_key(), alice_public);
    let z = alice.diffie_hellman(&bob_public);
    assert_eq!(z.raw_secret_bytes(), bob.diffie_hellman(&alice_public).raw_secret_bytes());
    let derived = concat_kdf(z.raw_secret_bytes(), "A128GCM", b"Alice", b"Bob", 128);
    assert_eq!(b64::encode(&derived[..16]), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn only_the_recipient_reads_it() {
    let (secret, public) = recipient(1);
    let jwe = encrypt(b"a.b.c", &public, &SystemRandom::new()).unwrap();
    assert_eq!(decrypt(&jwe, &secret).unwrap().as_slice(), b"a.b.c");
    assert_eq!(decrypt(&jwe, &recipient(2).0).unwrap_err(), JoseError::Decrypt);
    assert_ne!(jwe, encrypt(b"a.b.c", &public, &SystemRandom::new()).unwrap(), "a fresh key each time");
    assert!(decrypt(&encrypt(b"", &public, &SystemRandom::new()).unwrap(), &secret).unwrap().is_empty());
}

#[test]
fn every_changed_character_is_noticed() {
    let (secret, public) = recipient(1);
    let jwe = encrypt(b"a.b.c", &public, &SystemRandom::new()).unwrap();
    for at in 0..jwe.len() {
        let mut changed = jwe.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(decrypt(std::str::from_utf8(&changed).unwrap(), &secret).is_err(), "character {at}");
    }
}

#[test]
fn another_form_is_refused_by_name() {
    let (secret, public) = recipient(1);
    let jwe = encrypt(b"a.b.c", &public, &SystemRandom::new()).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    let header: serde_json::Value = serde_json::from_slice(&b64::decode(parts[0]).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header = header.clone();
        change(&mut header);
        let header = b64::encode(&strict::canonical(&header).unwrap());
        decrypt(&format!("{header}..{}.{}.{}", parts[2], parts[3], parts[4]), &secret).unwrap_err().reason()
    };
    assert_eq!(with(&|h| h["alg"] = json!("ECDH-ES+A256KW")), "ALG_NOT_ALLOWED");
    assert_eq!(with(&|h| h["alg"] = json!("dir")), "ALG_NOT_ALLOWED");
    assert_eq!(with(&|h| h["enc"] = json!("A128GCM")), "ALG_NOT_ALLOWED");
    assert_eq!(with(&|h| h["cty"] = json!("jwt")), "HEADER_VALUE_INVALID");
    assert_eq!(with(&|h| h["zip"] = json!("DEF")), "HEADER_MEMBER_NOT_ALLOWED");
    assert_eq!(with(&|h| h["apu"] = json!("QQ")), "HEADER_MEMBER_NOT_ALLOWED");
    assert_eq!(with(&|h| h["epk"]["x"] = h["epk"]["y"].clone()), "HEADER_VALUE_INVALID");
    assert_eq!(with(&|h| h["epk"]["kid"] = json!("1")), "HEADER_VALUE_INVALID");
    assert_eq!(with(&|h| h["epk"] = json!(null)), "HEADER_VALUE_INVALID");
    let form = |text: &str| decrypt(text, &secret).unwrap_err().reason();
    assert_eq!(form(&parts.join("")), "COMPACT_MALFORMED");
    assert_eq!(form(&jwe.replacen("..", ".AA.", 1)), "COMPACT_MALFORMED");
    assert_eq!(form(&format!("{jwe}.")), "COMPACT_MALFORMED");
    assert_eq!(form(&"A".repeat(MAX_COMPACT + 1)), "TOO_LONG");
}
