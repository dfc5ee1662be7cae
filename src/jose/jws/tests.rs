//! Statements and tokens, signed with p256 and verified with ring.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature as P256Signature, SigningKey};

use super::*;
use crate::jose::{CompactJwt, TokenAlg};

fn key(seed: u8) -> (SigningKey, P256PublicKey) {
    let secret = SigningKey::from_slice(&[seed; 32]).unwrap();
    let public = P256PublicKey::from_sec1(secret.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
    (secret, public)
}

fn sign(secret: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: P256Signature = secret.sign(message);
    signature.to_bytes().into()
}

fn statement(seed: u8, typ: Typ, payload: &[u8]) -> Signature {
    let (secret, public) = key(seed);
    let station = (seed.is_multiple_of(2)).then(|| "ops-1".to_owned());
    let header = ProtectedHeader { kid: public.thumbprint(), typ, iat: 1_800_000_000, station };
    let protected = header.encode().unwrap();
    let bytes = sign(&secret, &Signature::signing_input(&protected, payload));
    let signature = Signature::new(protected, bytes).unwrap();
    assert_eq!(signature.header(), &header);
    signature
}

#[test]
fn a_jws_survives_the_journey_and_verifies() {
    let payload = br#"{"a":1}"#.to_vec();
    let jws = GeneralJws {
        signatures: vec![statement(1, Typ::Request, &payload), statement(2, Typ::Approval, &payload)],
        payload,
    };
    let bytes = jws.to_json();
    assert_eq!(json::canonical(&json::parse::<serde_json::Value>(&bytes, 4096).unwrap()).unwrap(), bytes);
    let read = GeneralJws::parse(&bytes, 4096).unwrap();
    assert_eq!(read, jws);
    read.signatures[0].verify(&read.payload, &key(1).1, Typ::Request).unwrap();
    read.signatures[1].verify(&read.payload, &key(2).1, Typ::Approval).unwrap();
}

#[test]
fn a_signature_fits_one_key_one_typ_and_one_payload() {
    let signature = statement(1, Typ::Approval, b"{}");
    let reason = |payload, seed, typ| signature.verify(payload, &key(seed).1, typ).unwrap_err().reason();
    assert_eq!(reason(b"{}", 1, Typ::Denial), "TYP_UNEXPECTED");
    assert_eq!(reason(b"{}", 2, Typ::Approval), "KID_MISMATCH");
    assert_eq!(reason(b"[]", 1, Typ::Approval), "SIGNATURE_INVALID");
    signature.verify(b"{}", &key(1).1, Typ::Approval).unwrap();
}

#[test]
fn every_flipped_bit_is_noticed() {
    let signature = statement(1, Typ::Approval, b"{}");
    for bit in 0..64 * 8 {
        let mut bytes = *signature.signature_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let changed = Signature::new(signature.protected(), bytes).unwrap();
        assert_eq!(
            changed.verify(b"{}", &key(1).1, Typ::Approval),
            Err(JoseError::SignatureInvalid),
            "bit {bit}"
        );
    }
}

#[test]
fn no_header_is_written_that_would_not_be_read() {
    let header = |iat, station: Option<&str>| ProtectedHeader {
        kid: key(1).1.thumbprint(),
        typ: Typ::Kill,
        iat,
        station: station.map(str::to_owned),
    };
    assert_eq!(header(-1, None).encode().unwrap_err().reason(), "HEADER_VALUE_INVALID");
    assert_eq!(header(1, Some("")).encode().unwrap_err().reason(), "HEADER_VALUE_INVALID");
    assert_eq!(header(1, Some("Ops 1")).encode().unwrap_err().reason(), "HEADER_VALUE_INVALID");
    assert_eq!(header(1 << 53, None).encode().unwrap_err().reason(), "JSON_INTEGER_TOO_BIG");
    assert!(header(0, Some(&"a".repeat(64))).encode().is_ok());
}

#[test]
fn typ_text_and_serde_agree() {
    for typ in Typ::ALL {
        assert_eq!(typ.as_str().parse(), Ok(typ));
        assert_eq!(serde_json::to_value(typ).unwrap(), typ.as_str());
    }
}

#[test]
fn a_token_is_no_statement_and_a_statement_no_token() {
    let (secret, public) = key(3);
    let input = CompactJwt::signing_input(TokenAlg::Es256, &public.thumbprint(), br#"{"iss":"x"}"#);
    let token = CompactJwt::assemble(&input, &sign(&secret, input.as_bytes()));
    let read = CompactJwt::parse(&token, 8192).unwrap();
    read.verify(&public.into()).unwrap();
    assert_eq!((read.kid(), read.payload()), (&public.thumbprint(), br#"{"iss":"x"}"#.as_slice()));
    assert_eq!(read.verify(&key(4).1.into()), Err(JoseError::KidMismatch));
    assert!(!format!("{read:?}").contains(token.rsplit('.').next().unwrap()));

    let header = token.split('.').next().unwrap();
    assert_eq!(Signature::new(header, [1; 64]).unwrap_err().reason(), "TYP_UNKNOWN");
    let statement = statement(3, Typ::Approval, b"{}");
    let forged = format!("{}.e30.{}", statement.protected(), b64::encode(statement.signature_bytes()));
    assert_eq!(CompactJwt::parse(&forged, 8192).unwrap_err().reason(), "TYP_UNEXPECTED");
}
