//! The thief is logged in to the HSM and wants the key itself.

use std::{fs, path::Path};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use testkit::{SOFTHSM_MODULE, in_child};

use crate::world::World;

const PIN_FILE: &str = "BREAKGLASS_TEST_PIN_FILE";

fn session() -> Session {
    let module = Pkcs11::new(Path::new(SOFTHSM_MODULE)).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = module.get_slots_with_initialized_token().unwrap();
    let slot =
        slots.into_iter().find(|slot| module.get_token_info(*slot).unwrap().label() == "issuing").unwrap();
    let session = module.open_rw_session(slot).unwrap();
    let pin = fs::read_to_string(std::env::var(PIN_FILE).unwrap()).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(pin.trim().to_owned().into()))).unwrap();
    session
}

fn refused<T: std::fmt::Debug>(what: &str, result: Result<T, Error>, expected: &[RvError]) {
    match result {
        Err(Error::Pkcs11(reason, _)) if expected.contains(&reason) => {}
        other => panic!("{what}: {other:?}"),
    }
}

fn attempts(session: &Session, key: ObjectHandle) {
    let value = session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default();
    assert_eq!(value, [], "the private value was read");
    for change in [
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Modifiable(true),
        Attribute::Copyable(true),
        Attribute::Decrypt(true),
        Attribute::Derive(true),
    ] {
        let expected =
            [RvError::AttributeReadOnly, RvError::ActionProhibited, RvError::AttributeValueInvalid];
        refused(
            "an attribute was changed",
            session.update_attributes(key, std::slice::from_ref(&change)),
            &expected,
        );
        let copy = session.copy_object(key, &[change, Attribute::Label(b"stolen".to_vec())]);
        refused("a copy was made", copy, &[RvError::ActionProhibited, RvError::AttributeReadOnly]);
    }
    let wrapping = session
        .generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::Token(false),
                Attribute::Wrap(true),
                Attribute::Encrypt(true),
                Attribute::ValueLen(32.into()),
            ],
        )
        .unwrap();
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, wrapping, key);
    refused("the key was wrapped", wrapped, &[RvError::KeyUnextractable, RvError::KeyNotWrappable]);
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, wrapping, key);
    refused("the key was wrapped", wrapped, &[RvError::KeyUnextractable, RvError::KeyNotWrappable]);
}

#[test]
fn promise_3_with_the_pin_the_key_signs_but_does_not_come_out() {
    let setup = || {
        let world = World::new();
        let pin = world.path("issuing.pin").display().to_string();
        let env = vec![world.hsm.env(), (PIN_FILE.to_owned(), pin)];
        (world, env)
    };
    in_child("thief::device::promise_3_with_the_pin_the_key_signs_but_does_not_come_out", setup, || {
        let session = session();
        let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC)];
        let keys = session.find_objects(&private).unwrap();
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        attempts(&session, *key);
        session.sign(&Mechanism::Ecdsa, *key, &[7; 32]).expect("it still signs");
    });
}
