//! What every signing device must do, whoever made it.

use std::time::{Duration, Instant};

use breakglass::hsm::{
    CANARY, KeyName, Pkcs11Module, Pkcs11Token, SigningDevice, TokenOptions, TokenSelector, initialise_token,
};
use breakglass::jose::{Digest, TokenAlg};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::AuthPin;
use testkit::wait_for;

use crate::common::{
    Device, HEALING, PIN, Thief, fresh_key, fresh_token, open_module, open_token, pin, rng, sign_and_verify,
};

/// A key has all attributes that were asked for, can be found, and signs.
pub fn generates_a_strict_key(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let made = fresh_key(device, &token, "issuing-1");
    assert_eq!(made.attributes.violations(), Vec::<String>::new());
    assert_eq!(made.attributes.not_reported(), Vec::<&str>::new());
    assert!(made.attributes.born_in_device());
    assert_eq!(made.attributes.only_our_mechanism, Some(true));
    assert_eq!(token.public_keys().unwrap(), [made.public_key.key().clone()]);
    assert_eq!(token.public_key(&made.public_key.thumbprint()).unwrap(), *made.public_key.key());
    sign_and_verify(&token, &made.public_key, b"a message");
}

/// The same token is found again by a later start, with the PIN alone.
pub fn is_found_again(device: &mut dyn Device) {
    let key = fresh_key(device, &fresh_token(device, "issuing"), "issuing-1").public_key;
    let again = open_token(device, "issuing");
    sign_and_verify(&again, &key, b"a message");
    let serial = again.describe().serial.clone();
    let by_serial = TokenSelector::new("issuing", Some(&serial)).unwrap();
    Pkcs11Token::open(&open_module(device), by_serial, pin(PIN), TokenOptions::default()).unwrap();
    let wrong = TokenSelector::new("issuing", Some("another serial")).unwrap();
    let error =
        Pkcs11Token::open(&open_module(device), wrong, pin(PIN), TokenOptions::default()).unwrap_err();
    assert_eq!(error.reason(), "HSM_TOKEN_NOT_FOUND");
}

/// Health is a signature that was made and verified, and it is over something that is no JWS.
pub fn proves_its_health(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let (kid, alg) = (key.thumbprint(), key.alg());
    let report = token.health(&kid, alg).unwrap();
    assert_eq!(report.kid, kid);
    assert!(report.latency > Duration::ZERO);
    let signature = token.sign(&kid, alg, CANARY).unwrap();
    key.verify(CANARY, &signature).unwrap();
    assert_eq!(token.health(&Digest::of(b"no such key"), alg).unwrap_err().reason(), "HSM_KEY_NOT_FOUND");
}

/// With the PIN and a raw session, the private key can neither be read nor copied, whatever is done to its attributes.
pub fn gives_its_key_to_nobody(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let made = fresh_key(device, &token, "issuing-1");
    let thief = Thief::at(device, "issuing");
    let session = thief.session();
    let key = Thief::private_key(&session);
    try_to_read_and_copy(&session, key);
    for change in [
        Attribute::Extractable(true),
        Attribute::Sensitive(false),
        Attribute::Derive(true),
        Attribute::Decrypt(true),
        Attribute::Unwrap(true),
        Attribute::Modifiable(true),
        Attribute::Copyable(true),
    ] {
        let changed = session.update_attributes(key, std::slice::from_ref(&change)).is_ok();
        assert!(!(changed && device.guards_attributes()), "changed to {change:?}");
    }
    try_to_read_and_copy(&session, key);

    let inventory = token.inventory(&[made.public_key.thumbprint()]).unwrap();
    assert_eq!(inventory.quarantined, []);
    let [entry] = inventory.keys.as_slice() else { panic!("one key: {inventory:?}") };
    let after = &entry.attributes;
    if device.guards_attributes() {
        assert_eq!(*after, made.attributes);
    } else {
        // What the module let through is at least seen.
        assert!(after.violations().contains(&"CKA_EXTRACTABLE=true".to_owned()), "{after:?}");
    }
}

fn try_to_read_and_copy(session: &Session, key: ObjectHandle) {
    for secret in [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Seed] {
        let read = session.get_attributes(key, &[secret]);
        assert!(read.as_ref().map_or(true, Vec::is_empty), "{secret:?}: {read:?}");
    }
    for weaker in [
        vec![Attribute::Extractable(true), Attribute::Sensitive(false)],
        vec![Attribute::Extractable(true)],
        vec![Attribute::Sensitive(false)],
        vec![],
    ] {
        let mut template = weaker.clone();
        template.push(Attribute::Token(false));
        assert!(session.copy_object(key, &template).is_err(), "copied with {weaker:?}");
    }
}

/// Somebody else in the process logs out: the next signature is simply made.
pub fn survives_a_logout(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let before = token.health(&key.thumbprint(), key.alg()).unwrap().initialisations;
    let thief = Thief::at(device, "issuing");
    for _ in 0..5 {
        thief.session().logout().unwrap();
        sign_and_verify(&token, &key, b"after a logout");
    }
    assert_eq!(
        token.health(&key.thumbprint(), key.alg()).unwrap().initialisations,
        before,
        "a login was enough"
    );
}

/// A key that this process has never used is found although somebody has just logged out.
pub fn finds_a_new_key_after_a_logout(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let thief = Thief::at(device, "issuing");
    thief.session().logout().unwrap();
    sign_and_verify(&token, &key, b"first use");
    thief.session().logout().unwrap();
    assert_eq!(token.public_keys().unwrap(), [key.key().clone()]);
    thief.session().logout().unwrap();
    let inventory = token.inventory(&[key.thumbprint()]).unwrap();
    assert_eq!((inventory.keys.len(), inventory.quarantined), (1, vec![]));
}

/// The device vanishes and returns: calls fail soon and clearly, and then work again in the same process.
pub fn survives_a_lost_device(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let kid = key.thumbprint();
    let before = token.health(&kid, key.alg()).unwrap().initialisations;

    device.take_away();
    let start = Instant::now();
    for _ in 0..20 {
        let error = token.sign(&kid, key.alg(), &[7; 32]).unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(token.health(&kid, key.alg()).is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(20), "40 calls failed within {:?}", start.elapsed());

    device.bring_back();
    wait_for("a signature after the device came back", HEALING, || {
        token.sign(&kid, key.alg(), &[7; 32]).ok()
    });
    sign_and_verify(&token, &key, b"after the fault");
    let after = token.health(&kid, key.alg()).unwrap().initialisations;
    assert!(after > before, "it took a re-initialisation");
    assert!(after - before < 12, "{} re-initialisations are too many", after - before);
}

/// Eight threads share the sessions, and every signature is good.
pub fn signs_for_many_threads(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let count = device.signatures_per_thread();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (token, key) = (&token, &key);
            scope.spawn(move || {
                for turn in 0..count {
                    sign_and_verify(token, key, &[thread, turn]);
                }
            });
        }
    });
}

/// A wrong PIN is refused with its own reason, and is not tried a second time.
pub fn refuses_a_wrong_pin(device: &mut dyn Device) {
    drop(fresh_token(device, "issuing"));
    let module = open_module(device);
    // The right PIN is still logged in by the token above; a new process would not be.
    let thief = Thief::at(device, "issuing");
    let _ = thief.session().logout();
    let selector = TokenSelector::new("issuing", None).unwrap();
    let error =
        Pkcs11Token::open(&module, selector, pin("wrong-wrong"), TokenOptions::default()).unwrap_err();
    assert_eq!(error.reason(), "HSM_PIN_REFUSED", "{error:?}");
    assert!(!error.is_transient());
    assert!(!format!("{error} {error:?}").contains("wrong-wrong"));
}

/// Once refused, a PIN stays refused until a person acts, even if it has become right in the meantime.
pub fn never_retries_a_pin(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let (old, new) = (AuthPin::new(PIN.into()), AuthPin::new("another pin 8".into()));
    let thief = Thief::at(device, "issuing");
    let session = thief.session();
    session.set_pin(&old, &new).unwrap();
    session.logout().unwrap();
    let refused = token.sign(&key.thumbprint(), key.alg(), &[1; 32]).unwrap_err();
    assert_eq!(refused.reason(), "HSM_PIN_REFUSED", "{refused:?}");
    session.login(cryptoki::session::UserType::User, Some(&new)).unwrap();
    session.set_pin(&new, &old).unwrap();
    session.logout().unwrap();
    assert_eq!(token.sign(&key.thumbprint(), key.alg(), &[1; 32]).unwrap_err().reason(), "HSM_PIN_REFUSED");
    // A person restarts the daemon.
    sign_and_verify(&open_token(device, "issuing"), &key, b"after the restart");
}

/// An unknown key is an answer, not a fault: nothing is re-initialised for it.
pub fn answers_for_unknown_keys(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let before = token.health(&key.thumbprint(), key.alg()).unwrap().initialisations;
    for n in 0..20_u8 {
        let error = token.sign(&Digest::of(&[n]), key.alg(), &[1; 32]).unwrap_err();
        assert_eq!(error.reason(), "HSM_KEY_NOT_FOUND");
        assert!(!error.is_transient());
    }
    assert_eq!(token.health(&key.thumbprint(), key.alg()).unwrap().initialisations, before);
}

/// A destroyed key signs no more, and nothing of it is left.
pub fn destroys_a_key(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let doomed = fresh_key(device, &token, "doomed").public_key;
    let kept = device.many_keys().then(|| fresh_key(device, &token, "kept").public_key);
    sign_and_verify(&token, &doomed, b"still there");
    assert!(token.destroy(&doomed.thumbprint()).unwrap());
    let error = token.sign(&doomed.thumbprint(), doomed.alg(), &[1; 32]).unwrap_err();
    assert_eq!(error.reason(), "HSM_KEY_NOT_FOUND");
    assert_eq!(token.destroy_key(&doomed.thumbprint()).unwrap_err().reason(), "HSM_KEY_NOT_FOUND");
    if device.many_keys() {
        // That it is not there is an answer.
        assert!(!token.destroy(&doomed.thumbprint()).unwrap());
        assert!(!token.destroy(&Digest::of(b"no such key")).unwrap());
    }
    let inventory = token.inventory(&[]).unwrap();
    assert_eq!((inventory.keys.len(), inventory.quarantined), (usize::from(kept.is_some()), vec![]));
    if let Some(kept) = kept {
        sign_and_verify(&token, &kept, b"untouched");
    }
}

/// A second token of the same label would make the choice unclear: it is refused, and the first one is untouched.
pub fn initialises_nothing_twice(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    let error =
        initialise_token(&open_module(device), "issuing", &pin("other pin 99"), &mut rng()).unwrap_err();
    assert_eq!(error.reason(), "HSM_TOKEN_EXISTS");
    sign_and_verify(&token, &key, b"untouched");
}

/// There is one owner of a module in a process, however often it is asked for.
pub fn has_one_owner_per_process(device: &mut dyn Device) {
    let (one, two) = (open_module(device), open_module(device));
    assert!(std::ptr::eq::<Pkcs11Module>(&raw const *one, &raw const *two));
}

/// What the device cannot do is asked of it, not tried: it is refused with a reason, and nothing is left behind.
pub fn asks_for_capabilities(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let capabilities = &token.describe().capabilities;
    assert!(capabilities.offers(TokenAlg::Es256) && capabilities.offers(device.algorithm()));
    for alg in TokenAlg::ALL.into_iter().filter(|alg| !capabilities.offers(*alg)) {
        let refused =
            token.generate_issuing(alg, &KeyName::new("issuing-1").unwrap(), &mut rng()).unwrap_err();
        assert_eq!(refused.reason(), "HSM_UNSUPPORTED", "{alg}");
        assert!(!refused.is_transient());
        let refused = token.sign(&Digest::of(b"any key"), alg, b"any message").unwrap_err();
        assert_eq!(refused.reason(), "HSM_UNSUPPORTED", "{alg}");
    }
    assert!(token.public_keys().unwrap().is_empty());
}

/// A key signs by its own algorithm, and is of no use for any other that the device has.
pub fn signs_with_one_algorithm(device: &mut dyn Device) {
    let token = fresh_token(device, "issuing");
    let key = fresh_key(device, &token, "issuing-1").public_key;
    assert_eq!(key.alg(), device.algorithm());
    sign_and_verify(&token, &key, b"its own");
    for alg in TokenAlg::ALL.into_iter().filter(|alg| *alg != key.alg()) {
        // ES256 and ES384 are one mechanism: there the length of the answer gives it away.
        assert!(token.sign(&key.thumbprint(), alg, b"another").is_err(), "{alg} by a key of {}", key.alg());
        sign_and_verify(&token, &key, b"its own again");
    }
    let inventory = token.inventory(&[key.thumbprint()]).unwrap();
    let [entry] = inventory.keys.as_slice() else { panic!("one key: {inventory:?}") };
    assert_eq!((entry.algorithm, inventory.quarantined.len()), (key.alg(), 0));
}
