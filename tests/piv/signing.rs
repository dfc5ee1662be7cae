//! Signatures: PIN and touch in every way they can go wrong, and keys that are not the right ones.

use super::{DEADLINE, enrolled, pin};
use breakglass::jose::P256PublicKey;
use breakglass::piv::{Pin, PivError, PivKey, Serial};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use std::time::{Duration, Instant};
use virtual_yubikey::harness::in_stack;
use virtual_yubikey::{CardSpec, TouchMode, Version};

const DIGEST: [u8; 32] = [0x5a; 32];

fn verifies(key: &P256PublicKey, signature: &[u8; 64]) -> bool {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.to_sec1()).unwrap();
    key.verify_prehash(&DIGEST, &p256::ecdsa::Signature::from_slice(signature).unwrap()).is_ok()
}

fn sign(serial: u32, key: &P256PublicKey, pin: &Pin) -> Result<[u8; 64], PivError> {
    PivKey::open(Serial(serial))?.sign(key, &DIGEST, pin)
}

#[test]
fn signs_with_pin_and_touch_on_both_firmwares() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3), CardSpec::new(2).version(Version::V5_7_4)];
    in_stack("signing::signs_with_pin_and_touch_on_both_firmwares", &cards, |stack| {
        for serial in [1, 2] {
            let key = enrolled(serial).public_key;
            assert_eq!(PivKey::open(Serial(serial)).unwrap().public_key(), Ok(key));
            assert!(verifies(&key, &sign(serial, &key, &pin()).unwrap()));
            assert!(verifies(&key, &sign(serial, &key, &pin()).unwrap()), "and again");
            let counts = stack.counts(serial);
            assert_eq!((counts.touches.given, counts.signatures), (2, 2), "one touch for each signature");
        }
    });
}

#[test]
fn a_wrong_pin_is_sent_once_and_three_block() {
    in_stack("signing::a_wrong_pin_is_sent_once_and_three_block", &[CardSpec::new(7)], |stack| {
        let key = enrolled(7).public_key;
        let wrong = Pin::new(b"654321").unwrap();
        let serial = Serial(7);
        let tries = || PivKey::open(serial).unwrap().pin_tries().unwrap();
        assert_eq!((tries(), tries()), (3, 3), "asking costs nothing");
        assert_eq!(sign(7, &key, &wrong), Err(PivError::WrongPin { serial, tries_left: 2 }));
        assert!(sign(7, &key, &pin()).is_ok(), "the right one resets the counter");
        assert_eq!(sign(7, &key, &wrong), Err(PivError::WrongPin { serial, tries_left: 2 }));
        assert_eq!(sign(7, &key, &wrong), Err(PivError::WrongPin { serial, tries_left: 1 }));
        assert_eq!(sign(7, &key, &wrong), Err(PivError::PinBlocked { serial }));
        assert_eq!(sign(7, &key, &pin()), Err(PivError::PinBlocked { serial }), "blocked is blocked");
        assert_eq!(tries(), 0);
        assert_eq!(stack.counts(7).signatures, 1);
    });
}

#[test]
fn a_missing_touch_is_told_from_a_wrong_pin() {
    in_stack("signing::a_missing_touch_is_told_from_a_wrong_pin", &[CardSpec::new(7)], |stack| {
        let key = enrolled(7).public_key;
        stack.touch(7, TouchMode::Refuse);
        let refused = sign(7, &key, &pin()).unwrap_err();
        assert_eq!(refused.reason(), "PIV_TOUCH_MISSING");
        stack.touch(7, TouchMode::Grant);
        assert!(sign(7, &key, &pin()).is_ok(), "the key is as good as before");
    });
}

#[test]
fn a_touch_that_never_comes_ends_by_itself() {
    in_stack("signing::a_touch_that_never_comes_ends_by_itself", &[CardSpec::new(7)], |stack| {
        let key = enrolled(7).public_key;
        stack.touch(7, TouchMode::Manual);
        let error = sign(7, &key, &pin()).unwrap_err();
        let PivError::TouchMissing { waited_ms, .. } = error else { unreachable!("{error}") };
        assert!(waited_ms >= 14_000, "waited {waited_ms} ms");
    });
}

#[test]
fn a_late_touch_is_waited_for() {
    in_stack("signing::a_late_touch_is_waited_for", &[CardSpec::new(7)], |stack| {
        let key = enrolled(7).public_key;
        stack.touch(7, TouchMode::Delay { ms: 12_000 });
        let started = Instant::now();
        assert!(verifies(&key, &sign(7, &key, &pin()).unwrap()));
        assert!(started.elapsed() >= Duration::from_secs(12));
    });
}

#[test]
fn a_key_pulled_out_while_it_waits_for_the_touch_is_removed() {
    let test = "signing::a_key_pulled_out_while_it_waits_for_the_touch_is_removed";
    in_stack(test, &[CardSpec::new(7)], |stack| {
        let key = enrolled(7).public_key;
        stack.touch(7, TouchMode::Manual);
        let signing = std::thread::spawn(move || sign(7, &key, &pin()));
        stack.wait_until_asked(7, 1, DEADLINE);
        stack.unplug(7);
        assert_eq!(signing.join().unwrap(), Err(PivError::Removed { serial: Serial(7) }));
        assert_eq!(sign(7, &key, &pin()), Err(PivError::NotFound { serial: Serial(7) }));
        stack.touch(7, TouchMode::Grant);
        stack.plug(7);
        super::finding::wait_for(&[7]);
        assert!(verifies(&key, &sign(7, &key, &pin()).unwrap()), "back, with the same key");
    });
}

#[test]
fn another_key_is_refused_before_the_pin_is_sent() {
    let test = "signing::another_key_is_refused_before_the_pin_is_sent";
    in_stack(test, &[CardSpec::new(1), CardSpec::new(2), CardSpec::new(3)], |_| {
        let (first, second) = (enrolled(1).public_key, enrolled(2).public_key);
        let wrong = Pin::new(b"654321").unwrap();
        let refused = sign(1, &second, &wrong).unwrap_err();
        assert_eq!(refused, PivError::WrongKey { serial: Serial(1), slot: "9c" });
        // Had the wrong PIN been sent, one try would be gone.
        assert_eq!(sign(1, &first, &wrong), Err(PivError::WrongPin { serial: Serial(1), tries_left: 2 }));
        assert_eq!(sign(3, &first, &pin()), Err(PivError::NoKey { serial: Serial(3), slot: "9c" }));
        assert_eq!(sign(9, &first, &pin()), Err(PivError::NotFound { serial: Serial(9) }));
    });
}

#[test]
fn another_program_cannot_use_the_pin_afterwards() {
    let test = "signing::another_program_cannot_use_the_pin_afterwards";
    in_stack(test, &[CardSpec::new(7)], |_| {
        let key = enrolled(7).public_key;
        // A second program that is connected all the time, with the crate's own session.
        let mut other = yubikey::YubiKey::open_by_serial(yubikey::Serial(7)).unwrap();
        assert!(sign(7, &key, &pin()).is_ok());
        let stolen = yubikey::piv::sign_data(
            &mut other,
            &DIGEST,
            yubikey::piv::AlgorithmId::EccP256,
            yubikey::piv::SlotId::Signature,
        );
        assert!(stolen.is_err(), "a signature without a PIN");
    });
}
