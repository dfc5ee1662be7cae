//! The edges of ECDSA on P-256, where implementations have failed before (CVE-2022-21449 and its kin): ring, which
//! decides in production, and p256, which others of this project sign with, must say the same.

use breakglass::jose::{P256PublicKey, b64};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::DecompressPoint as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::elliptic_curve::subtle::Choice;
use p256::elliptic_curve::{FieldBytes, PrimeField as _};
use p256::{AffinePoint, NistP256, ProjectivePoint, Scalar};
use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::Digest as _;

use crate::keys::Key;

const MESSAGE: &[u8] = b"breakglass";
/// The order of the group, big-endian.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Both verdicts, which have to be the same one.
fn verdict(key: &P256PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let ring =
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_sec1()).verify(message, signature).is_ok();
    let p256 = VerifyingKey::from_sec1_bytes(&key.to_sec1()).unwrap();
    let p256 =
        Signature::from_slice(signature).is_ok_and(|signature| p256.verify(message, &signature).is_ok());
    assert_eq!(ring, p256, "ring and p256 differ: {}", b64::encode(signature));
    if let Ok(signature) = signature.try_into() {
        assert_eq!(key.verify(message, signature).is_ok(), ring);
    }
    ring
}

fn scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::from_repr((*bytes).into()).unwrap()
}

fn bytes(scalar: &Scalar) -> [u8; 32] {
    scalar.to_repr().into()
}

fn hash() -> Scalar {
    let digest: [u8; 32] = sha2::Sha256::digest(MESSAGE).into();
    <Scalar as Reduce<FieldBytes<NistP256>>>::reduce(&digest.into())
}

fn public(point: ProjectivePoint) -> P256PublicKey {
    P256PublicKey::from_sec1(AffinePoint::from(point).to_sec1_point(false).as_bytes()).unwrap()
}

fn join(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    [*r, *s].concat().try_into().unwrap()
}

/// `N + delta`, big-endian; never overflows for the small deltas here.
fn n_plus(delta: i8) -> [u8; 32] {
    let mut value = N;
    value[31] = value[31].checked_add_signed(delta).unwrap();
    value
}

#[test]
fn both_halves_of_a_signature_are_signatures() {
    let key = Key::new(7);
    let signature = key.sign(MESSAGE);
    let s: [u8; 32] = signature[32..].try_into().unwrap();
    let other = join(signature[..32].try_into().unwrap(), &bytes(&-scalar(&s)));
    assert_ne!(signature, other);
    assert!(verdict(&key.public, MESSAGE, &signature));
    assert!(
        verdict(&key.public, MESSAGE, &other),
        "ECDSA is malleable: nothing may be keyed by signature bytes"
    );
}

#[test]
fn r_and_s_out_of_range_are_refused() {
    let key = Key::new(7);
    let signature = key.sign(MESSAGE);
    let (r, s) = (signature[..32].try_into().unwrap(), signature[32..].try_into().unwrap());
    let one = bytes(&Scalar::ONE);
    let edges = [[0; 32], one, n_plus(-1), N, n_plus(1), [0xff; 32]];
    for edge in &edges {
        assert!(!verdict(&key.public, MESSAGE, &join(edge, s)), "r = {edge:?}");
        assert!(!verdict(&key.public, MESSAGE, &join(r, edge)), "s = {edge:?}");
        for other in &edges {
            assert!(!verdict(&key.public, MESSAGE, &join(edge, other)), "r = {edge:?}, s = {other:?}");
        }
    }
}

#[test]
fn other_encodings_are_refused() {
    let key = Key::new(7);
    let raw = key.sign(MESSAGE);
    let der = Signature::from_slice(&raw).unwrap().to_der();
    assert!(!verdict(&key.public, MESSAGE, der.as_bytes()));
    for length in [0, 1, 32, 63] {
        assert!(!verdict(&key.public, MESSAGE, &raw[..length]));
    }
    assert!(!verdict(&key.public, MESSAGE, &[&raw[..], &[0]].concat()));
    assert!(!verdict(&key.public, MESSAGE, &[&[0], &raw[..]].concat()));
    let swapped = [&raw[32..], &raw[..32]].concat();
    assert!(!verdict(&key.public, MESSAGE, &swapped));
}

/// The x coordinate of R may be n or more; then r is what remains, and r + n is no other way to write it.
#[test]
fn an_r_that_was_reduced_verifies_and_its_unreduced_form_does_not() {
    let (offset, point) = (1_i8..60)
        .find_map(|delta| {
            let x: FieldBytes<NistP256> = n_plus(delta).into();
            let point: Option<AffinePoint> = AffinePoint::decompress(&x, Choice::from(0)).into();
            Some((delta, ProjectivePoint::from(point?)))
        })
        .unwrap();
    // The key to which (r, s) is a signature, recovered rather than generated: Q = (s R - e G) / r.
    let r = Scalar::from(u64::from(offset.unsigned_abs()));
    let s = Scalar::from(5_u64);
    let key = public((point * s - ProjectivePoint::GENERATOR * hash()) * r.invert().unwrap());
    assert!(verdict(&key, MESSAGE, &join(&bytes(&r), &bytes(&s))));
    assert!(!verdict(&key, MESSAGE, &join(&n_plus(offset), &bytes(&s))));
    assert!(!verdict(&key, b"else", &join(&bytes(&r), &bytes(&s))));
}

/// The sum of the two products is the point at infinity, which has no x coordinate to compare.
#[test]
fn a_sum_at_infinity_is_refused() {
    let r = Scalar::from(7_u64);
    let key = public(ProjectivePoint::GENERATOR * -(hash() * r.invert().unwrap()));
    for s in [1_u64, 2, 5, 1 << 40] {
        assert!(!verdict(&key, MESSAGE, &join(&bytes(&r), &bytes(&Scalar::from(s)))));
    }
}

/// Both products are the same point, so that their sum is a doubling, which incomplete formulas get wrong.
#[test]
fn a_sum_that_is_a_doubling_verifies() {
    let k = Scalar::from(0x0123_4567_89ab_cdef_u64);
    let x: FieldBytes<NistP256> =
        *AffinePoint::from(ProjectivePoint::GENERATOR * k).to_sec1_point(false).x().unwrap();
    let r = <Scalar as Reduce<FieldBytes<NistP256>>>::reduce(&x);
    let key = public(ProjectivePoint::GENERATOR * (hash() * r.invert().unwrap()));
    let s = (hash() + hash()) * k.invert().unwrap();
    assert!(verdict(&key, MESSAGE, &join(&bytes(&r), &bytes(&s))));
    assert!(!verdict(&key, b"else", &join(&bytes(&r), &bytes(&s))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to a signature, both say the same; and a change other than s to n - s is never accepted.
    #[test]
    fn the_same_verdict_on_everything(
        seed in 1_u8..=254,
        message in prop::collection::vec(any::<u8>(), 0..64),
        at in 0_usize..64,
        flip in 1_u8..=255,
    ) {
        let key = Key::new(seed);
        let mut signature = key.sign(&message);
        prop_assert!(verdict(&key.public, &message, &signature));
        signature[at] ^= flip;
        prop_assert!(!verdict(&key.public, &message, &signature));
    }
}
