//! A YubiKey as the device of the issuing key: the behaviour that every signing device has, on a virtual one.

use super::{DEADLINE, finding::wait_for};
use breakglass::daemon::YubikeyDevice;
use breakglass::hsm::{Backend, HsmError, SigningDevice as _, UserPin};
use breakglass::jose::{Digest, IssuingPublicKey, P256PublicKey, PublicKey, TokenAlg};
use breakglass::piv::{Enrolment, ManagementKey, Pin, PivKey, Serial, enrol_issuer};
use std::time::Instant;
use virtual_yubikey::harness::{Remote, in_stack};
use virtual_yubikey::{CardSpec, Version};

const PIN: &str = "20261122";
const WRONG: &str = "22112026";

fn user_pin(text: &str) -> UserPin {
    UserPin::new(text.to_owned().into())
}

/// Gives the key a PIN of eight bytes, as its owner does with ykman, and makes an issuing key.
pub(crate) fn issuer(serial: u32) -> P256PublicKey {
    super::foreign::ykman(serial, &["piv", "access", "change-pin", "-P", "123456", "-n", PIN]);
    let pin = Pin::new(PIN.as_bytes()).unwrap();
    let enrolment = Enrolment {
        serial: Serial(serial),
        pin: &pin,
        management_key: ManagementKey::Default,
        overwrite: false,
    };
    enrol_issuer(&enrolment).unwrap().public_key
}

fn tries(serial: u32) -> u8 {
    PivKey::open(Serial(serial)).unwrap().pin_tries().unwrap()
}

/// Takes it out, and waits until nobody sees it.
fn take_out(stack: &Remote, serial: u32) {
    stack.unplug(serial);
    wait_for(&[]);
}

fn put_back(stack: &Remote, serial: u32) {
    stack.plug(serial);
    wait_for(&[serial]);
}

#[test]
fn signs_with_the_one_key_and_without_a_touch() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3), CardSpec::new(2)];
    in_stack("backend::signs_with_the_one_key_and_without_a_touch", &cards, |stack| {
        for serial in [1, 2] {
            let key = issuer(serial);
            let kid = key.thumbprint();
            let device = YubikeyDevice::open(serial, &user_pin(PIN)).unwrap();
            assert_eq!(device.public_keys().unwrap(), [PublicKey::P256(key)]);
            assert_eq!(device.public_key(&kid).unwrap(), PublicKey::P256(key));
            let message = b"a token";
            let signature = device.sign(&kid, TokenAlg::Es256, message).unwrap();
            assert_eq!(IssuingPublicKey::from(key).verify(message, &signature), Ok(()));
            for other in [TokenAlg::Es384, TokenAlg::EdDsa, TokenAlg::Rs256, TokenAlg::Ps256] {
                assert_eq!(device.sign(&kid, other, message).unwrap_err().reason(), "HSM_UNSUPPORTED");
            }
            assert_eq!(device.health(&kid, TokenAlg::Es256).unwrap().kid, kid);
            assert_eq!(device.destroy(&kid).unwrap_err().reason(), "HSM_UNSUPPORTED", "a person does that");
            assert!(!device.destroy(&Digest::of(b"another key")).unwrap());
            let described = device.describe();
            assert_eq!(
                (described.backend, described.serial.as_str()),
                (Backend::Yubikey, &*serial.to_string())
            );
            let counts = stack.counts(serial);
            // Opening it and asking for its health signs a canary each.
            assert_eq!((counts.signatures, counts.touches.asked), (3, 0));
        }
    });
}

#[test]
fn an_unknown_key_is_not_found_and_costs_no_signature() {
    in_stack("backend::an_unknown_key_is_not_found_and_costs_no_signature", &[CardSpec::new(7)], |stack| {
        issuer(7);
        let device = YubikeyDevice::open(7, &user_pin(PIN)).unwrap();
        let (before, stranger) = (stack.counts(7).signatures, Digest::of(b"no key of ours"));
        for refused in [
            device.sign(&stranger, TokenAlg::Es256, &[1; 32]).unwrap_err(),
            device.public_key(&stranger).unwrap_err(),
            device.health(&stranger, TokenAlg::Es256).unwrap_err(),
        ] {
            assert!(matches!(refused, HsmError::KeyNotFound { .. }), "{refused}");
        }
        assert_eq!(stack.counts(7).signatures, before);
    });
}

#[test]
fn callers_at_the_same_time_get_a_signature_each() {
    in_stack("backend::callers_at_the_same_time_get_a_signature_each", &[CardSpec::new(7)], |_| {
        let key = issuer(7);
        let device = YubikeyDevice::open(7, &user_pin(PIN)).unwrap();
        std::thread::scope(|scope| {
            for caller in 0..4u8 {
                let device = &device;
                scope.spawn(move || {
                    for round in 0..3u8 {
                        let message = [caller, round];
                        let signature = device.sign(&key.thumbprint(), TokenAlg::Es256, &message).unwrap();
                        assert_eq!(IssuingPublicKey::from(key).verify(&message, &signature), Ok(()));
                    }
                });
            }
        });
    });
}

#[test]
fn a_wrong_pin_is_sent_once_and_the_last_try_is_left_to_a_person() {
    let test = "backend::a_wrong_pin_is_sent_once_and_the_last_try_is_left_to_a_person";
    in_stack(test, &[CardSpec::new(7)], |_| {
        issuer(7);
        assert_eq!(tries(7), 3);
        for left in [2, 1] {
            let refused = YubikeyDevice::open(7, &user_pin(WRONG)).unwrap_err();
            let cause = refused.downcast_ref::<HsmError>().unwrap();
            assert!(matches!(cause, HsmError::PinRefused { .. }), "{refused:?}");
            assert_eq!(tries(7), left, "one start, one try");
        }
        let refused = YubikeyDevice::open(7, &user_pin(WRONG)).unwrap_err().to_string();
        assert!(refused.contains("it is not tried here"), "{refused}");
        assert_eq!(tries(7), 1, "a service that restarts for ever does not block it");
        let refused = YubikeyDevice::open(7, &user_pin("123456")).unwrap_err().to_string();
        assert!(refused.contains("8 bytes"), "{refused}");
        assert_eq!(tries(7), 1);
    });
}

#[test]
fn a_pin_that_was_changed_under_it_is_sent_once_by_many_callers() {
    let test = "backend::a_pin_that_was_changed_under_it_is_sent_once_by_many_callers";
    in_stack(test, &[CardSpec::new(7)], |stack| {
        let kid = issuer(7).thumbprint();
        let device = YubikeyDevice::open(7, &user_pin(PIN)).unwrap();
        super::foreign::ykman(7, &["piv", "access", "change-pin", "-P", PIN, "-n", WRONG]);
        let before = stack.counts(7).signatures;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let refused = device.sign(&kid, TokenAlg::Es256, &[1; 32]).unwrap_err();
                    assert_eq!(refused.reason(), "HSM_PIN_REFUSED", "{refused}");
                });
            }
        });
        assert_eq!((tries(7), stack.counts(7).signatures), (2, before));
        assert_eq!(device.public_key(&kid).unwrap().thumbprint(), kid, "what needs no PIN goes on");
    });
}

#[test]
fn taken_out_and_put_back_it_signs_again() {
    in_stack("backend::taken_out_and_put_back_it_signs_again", &[CardSpec::new(7)], |stack| {
        let kid = issuer(7).thumbprint();
        let device = YubikeyDevice::open(7, &user_pin(PIN)).unwrap();
        take_out(stack, 7);
        let begun = Instant::now();
        let refused = device.sign(&kid, TokenAlg::Es256, &[1; 32]).unwrap_err();
        assert!(matches!(refused, HsmError::Fault { .. }), "{refused}");
        assert!(device.health(&kid, TokenAlg::Es256).is_err(), "and its health says so");
        assert!(begun.elapsed() < DEADLINE, "it took {:?} to notice", begun.elapsed());
        put_back(stack, 7);
        assert!(device.health(&kid, TokenAlg::Es256).is_ok(), "without a restart");
        // Nobody asked while it was away: the first caller afterwards must not pay for that.
        take_out(stack, 7);
        put_back(stack, 7);
        assert!(device.sign(&kid, TokenAlg::Es256, &[1; 32]).is_ok());
    });
}
