//! Enrolment: what the device makes, says about itself, and refuses.

use super::{enrolled, pin};
use breakglass::domain::attestation::{PinPolicy, TouchPolicy, verify};
use breakglass::piv::{Enrolment, ManagementKey, Pin, PivError, PivKey, Serial, Slot, enrol, enrol_issuer};
use virtual_yubikey::harness::in_stack;
use virtual_yubikey::{CardSpec, TouchMode, Version};
use zeroize::Zeroizing;

fn enrolment(serial: u32, pin: &Pin) -> Enrolment<'_> {
    Enrolment { serial: Serial(serial), pin, management_key: ManagementKey::Default, overwrite: false }
}

#[test]
fn what_the_device_says_of_its_key_leads_to_the_root() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3), CardSpec::new(0x8000_0002)];
    in_stack("enrolment::what_the_device_says_of_its_key_leads_to_the_root", &cards, |stack| {
        for (serial, firmware) in [(1, [5, 4, 3]), (0x8000_0002, [5, 7, 4])] {
            let key = enrolled(serial);
            let attested = verify(&key.attestation, &[stack.root_der()], &[], 1_800_000_000).unwrap();
            assert_eq!((attested.public_key, attested.serial), (key.public_key, serial));
            assert_eq!((attested.firmware, key.firmware.0), (firmware, firmware));
            assert_eq!((attested.pin_policy, key.pin_policy), (PinPolicy::Always, PinPolicy::Always));
            assert_eq!((attested.touch_policy, key.touch_policy), (TouchPolicy::Always, TouchPolicy::Always));
        }
    });
}

#[test]
fn a_key_in_use_is_not_overwritten_unasked() {
    in_stack("enrolment::a_key_in_use_is_not_overwritten_unasked", &[CardSpec::new(7)], |_| {
        let first = enrolled(7).public_key;
        let pin = pin();
        assert_eq!(enrol(&enrolment(7, &pin)), Err(PivError::SlotOccupied { serial: Serial(7), slot: "9c" }));
        let key = PivKey::open(Serial(7)).unwrap();
        assert_eq!(key.public_key(), Ok(first), "nothing changed");
        let second = enrol(&Enrolment { overwrite: true, ..enrolment(7, &pin) }).unwrap().public_key;
        assert_ne!(first, second);
        assert_eq!(key.public_key(), Ok(second));
    });
}

#[test]
fn a_wrong_pin_or_management_key_changes_nothing() {
    let cards = [CardSpec::new(1).version(Version::V5_4_3), CardSpec::new(2)];
    in_stack("enrolment::a_wrong_pin_or_management_key_changes_nothing", &cards, |_| {
        for serial in [1, 2] {
            let wrong = Pin::new(b"000000").unwrap();
            let refused = enrol(&enrolment(serial, &wrong)).unwrap_err();
            assert_eq!(refused, PivError::WrongPin { serial: Serial(serial), tries_left: 2 });
            let pin = pin();
            let management_key = ManagementKey::Bytes(Zeroizing::new(vec![0x42; 24]));
            let refused = enrol(&Enrolment { management_key, ..enrolment(serial, &pin) }).unwrap_err();
            assert_eq!(refused, PivError::ManagementKey { serial: Serial(serial) });
            let empty = PivKey::open(Serial(serial)).unwrap().public_key();
            assert_eq!(empty, Err(PivError::NoKey { serial: Serial(serial), slot: "9c" }));
        }
    });
}

#[test]
fn the_factorys_secrets_are_noticed() {
    in_stack("enrolment::the_factorys_secrets_are_noticed", &[CardSpec::new(7)], |_| {
        assert!(enrolled(7).factory_secrets);
        let mut device = yubikey::YubiKey::open_by_serial(yubikey::Serial(7)).unwrap();
        device.change_pin(b"123456", b"77777777").unwrap();
        device.change_puk(b"12345678", b"88888888").unwrap();
        device.authenticate(&yubikey::MgmKey::get_default(&device).unwrap()).unwrap();
        let fresh = yubikey::MgmKey::from_bytes([0x17; 24], Some(yubikey::MgmAlgorithmId::Aes192)).unwrap();
        fresh.set_protected(&mut device).unwrap();
        drop(device);
        let pin = Pin::new(b"77777777").unwrap();
        let protected =
            Enrolment { management_key: ManagementKey::Protected, overwrite: true, ..enrolment(7, &pin) };
        assert!(!enrol(&protected).unwrap().factory_secrets, "with a management key behind the PIN");
    });
}

#[test]
fn an_issuing_key_signs_without_touch_beside_a_custodians_key() {
    let test = "enrolment::an_issuing_key_signs_without_touch_beside_a_custodians_key";
    in_stack(test, &[CardSpec::new(7).touch(TouchMode::Refuse)], |stack| {
        let pin = pin();
        let issuer = enrol_issuer(&enrolment(7, &pin)).unwrap();
        assert_eq!(issuer.touch_policy, TouchPolicy::Never);
        let custodian = enrolled(7).public_key;
        let key = PivKey::open(Serial(7)).unwrap().slot(Slot::Authentication);
        assert_eq!(key.public_key(), Ok(issuer.public_key));
        for _ in 0..20 {
            assert!(key.sign(&issuer.public_key, &[9; 32], &pin).is_ok());
        }
        assert_eq!(stack.counts(7).touches.asked, 0);
        let mixed = key.sign(&custodian, &[9; 32], &pin);
        assert_eq!(mixed, Err(PivError::WrongKey { serial: Serial(7), slot: "9a" }));
        let refused = verify(&issuer.attestation, &[stack.root_der()], &[], 1_800_000_000).unwrap_err();
        assert_eq!(refused.reason(), "ATTESTATION_SUBJECT", "never taken for a custodian's key");
    });
}
