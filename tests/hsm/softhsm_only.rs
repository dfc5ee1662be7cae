//! What needs a token with many keys, Ed25519, or a directory that can be searched: `SoftHSM` alone.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use breakglass::hsm::{
    CANARY, KeyName, LogSigner as _, Pkcs11LogKey, Pkcs11Token, SigningDevice as _, TokenOptions,
    TokenSelector, initialise_token,
};
use breakglass::jose::{Digest, IssuingPublicKey, P256PublicKey, PublicKey, TokenAlg};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use getrandom::rand_core::{Rng as _, TryCryptoRng, TryRng};
use testkit::{SOFTHSM_MODULE, wait_for};

use crate::common::{
    HEALING, PIN, Thief, fresh_key, fresh_token, hex, open_module, open_token, pin, rng, sign_and_verify,
};
use crate::softhsm::Soft;

macro_rules! this_test {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
    };
}

/// Randomness that remembers what it gave away.
struct Recorder(Vec<u8>);

impl TryRng for Recorder {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core_bytes(self).map(u32::from_le_bytes)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core_bytes(self).map(u64::from_le_bytes)
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        rng().fill_bytes(bytes);
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Recorder {}

fn rand_core_bytes<const N: usize>(recorder: &mut Recorder) -> Result<[u8; N], Infallible> {
    let mut bytes = [0; N];
    recorder.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The security officer's PIN is random, works (so that it really is the one), is no default, and is in no file.
#[test]
fn keeps_no_so_pin() {
    Soft::with(this_test!(keeps_no_so_pin), |soft| {
        let mut recorder = Recorder(Vec::new());
        initialise_token(&open_module(soft), "issuing", &pin(PIN), &mut recorder).unwrap();
        let so_pin = hex(&recorder.0);
        assert_eq!(so_pin.len(), 32, "128 bits");

        let files = files_below(soft.0.dir());
        assert!(files.len() >= 2, "the token's own files are searched");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            for secret in [so_pin.as_bytes(), &recorder.0, PIN.as_bytes()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
            }
        }

        let thief = Thief::at(soft, "issuing");
        let session = thief.pkcs11.open_rw_session(thief.slot).unwrap();
        for known in
            ["", PIN, "1234", "123456", "12345678", "010203040506070801020304050607080102030405060708"]
        {
            assert!(session.login(UserType::So, Some(&AuthPin::new(known.into()))).is_err(), "{known}");
        }
        session.login(UserType::So, Some(&AuthPin::new(so_pin.as_str().into()))).unwrap();
    });
}

/// Issuing keys and the log key live on two tokens of one module, and neither token has the other's key.
#[test]
fn serves_two_tokens_in_one_process() {
    Soft::with(this_test!(serves_two_tokens_in_one_process), |soft| {
        let issuing = fresh_token(soft, "issuing");
        let first = fresh_key(soft, &issuing, "issuing-1").public_key;
        let log = fresh_token(soft, "log");
        let second = fresh_key(soft, &issuing, "issuing-2").public_key;
        let made = log.generate_ed25519(&KeyName::new("log-1").unwrap(), &mut rng()).unwrap();
        assert_eq!(made.attributes.violations(), Vec::<String>::new());
        assert!(made.attributes.born_in_device());

        let signer = Pkcs11LogKey::open(log.clone(), made.public_key).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| sign_and_verify(&issuing, &first, b"one")));
            scope.spawn(|| (0..50).for_each(|_| sign_and_verify(&issuing, &second, b"two")));
            scope.spawn(|| {
                for length in 0..100_usize {
                    let message = vec![b'm'; length * 50];
                    let signature = signer.sign_ed25519(&message).unwrap();
                    signer.public_key().verify(&message, &signature).unwrap();
                }
            });
        });
        assert_eq!(signer.health().unwrap().kid, made.public_key.thumbprint());
        let signature = signer.sign_ed25519(CANARY).unwrap();
        made.public_key.verify(CANARY, &signature).unwrap();

        assert_eq!(log.ed25519_public_keys().unwrap(), [made.public_key]);
        assert_eq!(log.public_keys().unwrap(), [PublicKey::Ed25519(made.public_key)]);
        assert_eq!(
            log.sign(&first.thumbprint(), first.alg(), &[1; 32]).unwrap_err().reason(),
            "HSM_KEY_NOT_FOUND"
        );
        let error = Pkcs11LogKey::open(issuing, made.public_key).unwrap_err();
        assert_eq!(error.reason(), "HSM_KEY_NOT_FOUND");
    });
}

/// A key of the wrong kind is not used: an Ed25519 key asked for ES256 is an error, never a signature.
#[test]
fn does_not_mix_algorithms() {
    Soft::with(this_test!(does_not_mix_algorithms), |soft| {
        let token = fresh_token(soft, "log");
        let made = token.generate_ed25519(&KeyName::new("log-1").unwrap(), &mut rng()).unwrap();
        for alg in [TokenAlg::Es256, TokenAlg::Es384, TokenAlg::Rs256, TokenAlg::Ps256] {
            assert!(token.sign(&made.public_key.thumbprint(), alg, &[1; 32]).is_err(), "{alg}");
        }
    });
}

/// One token's directory is lost: the other goes on signing, and the lost one heals when it is back.
#[test]
fn a_lost_token_spares_its_neighbour() {
    Soft::with(this_test!(a_lost_token_spares_its_neighbour), |soft| {
        let lost = fresh_token(soft, "lost");
        let before: Vec<_> = fs::read_dir(soft.0.tokens()).unwrap().map(|e| e.unwrap().path()).collect();
        let [home] = before.as_slice() else { panic!("one token: {before:?}") };
        let lost_key = fresh_key(soft, &lost, "issuing-1").public_key;
        let kept = fresh_token(soft, "kept");
        let kept_key = fresh_key(soft, &kept, "issuing-1").public_key;

        let away = soft.0.dir().join("away");
        fs::rename(home, &away).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..30 {
                    let error = lost.sign(&lost_key.thumbprint(), TokenAlg::Es256, &[1; 32]).unwrap_err();
                    assert!(error.is_transient(), "{error:?}");
                }
            });
            (0..100).for_each(|_| sign_and_verify(&kept, &kept_key, b"unimpressed"));
        });
        fs::rename(&away, home).unwrap();
        wait_for("the lost token to heal", HEALING, || {
            lost.sign(&lost_key.thumbprint(), TokenAlg::Es256, &[1; 32]).ok()
        });
        sign_and_verify(&lost, &lost_key, b"healed");
        sign_and_verify(&kept, &kept_key, b"still here");
    });
}

/// `pkcs11-tool` signs with the key that was made here, and verifies what was signed here.
#[test]
fn agrees_with_pkcs11_tool() {
    Soft::with(this_test!(agrees_with_pkcs11_tool), |soft| {
        let token = fresh_token(soft, "issuing");
        let key = fresh_key(soft, &token, "issuing-1").public_key;
        let digest = Digest::of(b"a message");
        let dir = soft.0.dir();
        let file = |name: &str| dir.join(name).display().to_string();
        fs::write(file("digest"), digest.as_bytes()).unwrap();
        let tool = |args: &[&str]| {
            let output = Command::new("pkcs11-tool")
                .args([
                    "--module",
                    SOFTHSM_MODULE,
                    "--token-label",
                    "issuing",
                    "--login",
                    "--pin",
                    "env:TOKEN_PIN",
                ])
                .args(["--label", "issuing-1"])
                .args(args)
                .env("TOKEN_PIN", PIN)
                .envs([soft.0.env()])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
            text
        };

        tool(&["--read-object", "--type", "pubkey", "--output-file", &file("spki")]);
        assert_eq!(fs::read(file("spki")).unwrap(), key.key().spki_der());

        tool(&["--sign", "-m", "ECDSA", "--input-file", &file("digest"), "--output-file", &file("theirs")]);
        let theirs: [u8; 64] = fs::read(file("theirs")).unwrap().try_into().unwrap();
        key.verify(b"a message", &theirs).unwrap();

        let ours = token.sign(&key.thumbprint(), key.alg(), b"a message").unwrap();
        fs::write(file("ours"), ours).unwrap();
        let verify =
            ["--verify", "-m", "ECDSA", "--input-file", &file("digest"), "--signature-file", &file("ours")];
        assert!(tool(&verify).contains("Signature is valid"));

        let listed = tool(&["--list-objects", "--type", "privkey"]);
        assert!(listed.contains("sensitive, always sensitive, never extractable, local"), "{listed}");
        assert!(listed.contains("Usage:      sign\n"), "{listed}");
    });
}

/// A wrapping key of the thief's own does not get the key out.
#[test]
fn refuses_to_be_wrapped() {
    Soft::with(this_test!(refuses_to_be_wrapped), |soft| {
        let token = fresh_token(soft, "issuing");
        fresh_key(soft, &token, "issuing-1");
        let thief = Thief::at(soft, "issuing");
        let session = thief.session();
        let key = Thief::private_key(&session);
        let wrapping = session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[Attribute::ValueLen(32.into()), Attribute::Wrap(true), Attribute::Encrypt(true)],
            )
            .unwrap();
        let victim = session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[Attribute::ValueLen(32.into()), Attribute::Extractable(true)],
            )
            .unwrap();
        for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad] {
            assert!(session.wrap_key(&mechanism, wrapping, victim).is_ok(), "{mechanism:?} works at all");
            assert!(session.wrap_key(&mechanism, wrapping, key).is_err(), "{mechanism:?}");
        }
    });
}

/// Another mechanism on the same key is refused by the device.
#[test]
fn allows_one_mechanism() {
    Soft::with(this_test!(allows_one_mechanism), |soft| {
        let token = fresh_token(soft, "issuing");
        fresh_key(soft, &token, "issuing-1");
        let thief = Thief::at(soft, "issuing");
        let session = thief.session();
        let key = Thief::private_key(&session);
        assert!(session.sign(&Mechanism::Ecdsa, key, &[1; 32]).is_ok());
        assert!(session.sign(&Mechanism::EcdsaSha256, key, b"text").is_err());
        let derive = cryptoki::mechanism::elliptic_curve::Ecdh1DeriveParams::new(
            cryptoki::mechanism::elliptic_curve::EcKdf::null(),
            &[4; 65],
        );
        assert!(session.derive_key(&Mechanism::Ecdh1Derive(derive), key, &[]).is_err());
    });
}

/// While the program itself signs and opens tokens in other threads, generation succeeds and leaves whole keys only.
#[test]
fn generates_under_load_without_orphans() {
    Soft::with(this_test!(generates_under_load_without_orphans), |soft| {
        let token = fresh_token(soft, "issuing");
        let first = fresh_key(soft, &token, "first").public_key;
        let done = AtomicBool::new(false);
        let mut keys = vec![first.clone()];
        std::thread::scope(|scope| {
            let _stop = SetOnDrop(&done);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        sign_and_verify(&token, &first, b"meanwhile");
                    }
                });
            }
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sign_and_verify(&open_token(soft, "issuing"), &first, b"meanwhile");
                }
            });
            for n in 0..20 {
                keys.push(fresh_key(soft, &token, &format!("issuing-{n}")).public_key);
            }
        });
        for key in &keys {
            sign_and_verify(&token, key, b"whole");
        }
        let known: Vec<Digest> = keys.iter().map(IssuingPublicKey::thumbprint).collect();
        let inventory = token.inventory(&known).unwrap();
        assert!(inventory.keys.iter().all(|key| key.known));
        assert_eq!((inventory.keys.len(), inventory.quarantined), (21, vec![]));
    });
}

/// Another process at the same token makes `SoftHSM` lose keys from view, forget attributes and leave fragments (measured).
/// A key that is handed out is whole all the same, also after the module has read everything anew; what is left over is in
/// no charter, so it is reported and not used.
#[test]
fn generates_whole_keys_beside_another_process() {
    Soft::with(this_test!(generates_whole_keys_beside_another_process), |soft| {
        let token = fresh_token(soft, "issuing");
        let done = AtomicBool::new(false);
        let listed = AtomicUsize::new(0);
        let env = soft.0.env();
        let mut keys = Vec::new();
        std::thread::scope(|scope| {
            let _stop = SetOnDrop(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let output = Command::new("pkcs11-tool")
                        .args([
                            "--module",
                            SOFTHSM_MODULE,
                            "--token-label",
                            "issuing",
                            "--list-objects",
                            "--login",
                        ])
                        .args(["--pin", "env:TOKEN_PIN"])
                        .env("TOKEN_PIN", PIN)
                        .envs([env.clone()])
                        .output();
                    // It suffers from SoftHSM as we do, so it may fail; but it must have been there.
                    listed.fetch_add(usize::from(output.unwrap().status.success()), Ordering::Relaxed);
                }
            });
            for n in 0..15 {
                keys.push(fresh_key(soft, &token, &format!("issuing-{n}")).public_key);
            }
        });
        assert!(listed.load(Ordering::Relaxed) > 0, "pkcs11-tool was at work");
        Thief::at(soft, "issuing").restart_module();
        for key in &keys {
            sign_in_the_end(&token, key);
        }
        let known: Vec<Digest> = keys.iter().map(IssuingPublicKey::thumbprint).collect();
        let inventory = token.inventory(&known).unwrap();
        assert_eq!(inventory.keys.iter().filter(|key| key.known).count(), 15);
        for entry in inventory.keys.iter().filter(|key| key.known) {
            assert_eq!(entry.attributes.violations(), Vec::<String>::new());
        }
    });
}

/// Signs as soon as the device can; a fault on the way must be one that passes.
fn sign_in_the_end(token: &Pkcs11Token, key: &IssuingPublicKey) {
    let signature = wait_for("a signature", HEALING, || {
        token
            .sign(&key.thumbprint(), key.alg(), b"meanwhile")
            .map_err(|error| assert!(error.is_transient(), "{error:?}"))
            .ok()
    });
    key.verify(b"meanwhile", &signature).unwrap();
}

/// Ends the other threads of a test also when it panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What nobody knows is reported, never used as if it were ours, and never deleted.
#[test]
fn quarantines_what_it_does_not_know() {
    Soft::with(this_test!(quarantines_what_it_does_not_know), |soft| {
        let token = fresh_token(soft, "issuing");
        let ours = fresh_key(soft, &token, "issuing-1").public_key.thumbprint();
        let stranger = fresh_key(soft, &token, "stranger").public_key.thumbprint();
        let session = Thief::at(soft, "issuing").session();
        let planted = [
            vec![
                Attribute::Class(ObjectClass::DATA),
                Attribute::Token(true),
                Attribute::Label(b"a note\x1b[31m".to_vec()),
            ],
            vec![
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Token(true),
                Attribute::Value(vec![7; 32]),
                Attribute::Label(b"aes".to_vec()),
            ],
        ];
        let handles: Vec<_> = planted.iter().map(|object| session.create_object(object).unwrap()).collect();

        for _ in 0..2 {
            let inventory = token.inventory(&[ours]).unwrap();
            let known: Vec<_> = inventory.keys.iter().map(|key| (key.kid == ours, key.known)).collect();
            assert_eq!(known.len(), 2);
            assert!(
                known.contains(&(true, true)) && known.contains(&(false, false)),
                "{stranger} is quarantined"
            );
            let mut labels: Vec<_> =
                inventory.quarantined.iter().map(|object| object.label.as_str()).collect();
            labels.sort_unstable();
            assert_eq!(labels, ["a note\\x1b[31m", "aes"], "and what a terminal would obey is escaped");
        }
        assert!(
            handles.iter().all(|handle| session.get_attribute_info(*handle, &[]).is_ok()),
            "all still there"
        );
    });
}

/// A key that was imported is told from one that was born in the device.
#[test]
fn tells_an_imported_key() {
    Soft::with(this_test!(tells_an_imported_key), |soft| {
        let token = fresh_token(soft, "issuing");
        let secret = p256::SecretKey::from_slice(&[9; 32]).unwrap();
        let public = P256PublicKey::try_from(&secret.public_key()).unwrap();
        let session = Thief::at(soft, "issuing").session();
        let curve = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let common = |class| {
            vec![
                Attribute::Class(class),
                Attribute::KeyType(KeyType::EC),
                Attribute::Token(true),
                Attribute::EcParams(curve.clone()),
                Attribute::Id(vec![1]),
                Attribute::Label(b"imported".to_vec()),
            ]
        };
        let mut private = common(ObjectClass::PRIVATE_KEY);
        private.extend([
            Attribute::Value(secret.to_bytes().to_vec()),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ]);
        session.create_object(&private).unwrap();
        let mut point = vec![0x04, 0x41];
        point.extend(public.to_sec1());
        let mut half = common(ObjectClass::PUBLIC_KEY);
        half.push(Attribute::EcPoint(point));
        session.create_object(&half).unwrap();

        let inventory = token.inventory(&[public.thumbprint()]).unwrap();
        let [entry] = inventory.keys.as_slice() else { panic!("one key: {inventory:?}") };
        let report = &entry.attributes;
        assert!(!report.born_in_device());
        let violations = report.violations();
        for expected in ["CKA_LOCAL=false", "CKA_NEVER_EXTRACTABLE=false", "CKA_ALWAYS_SENSITIVE=false"] {
            assert!(violations.iter().any(|v| v == expected), "{expected} in {violations:?}");
        }
    });
}

/// A second public object under the same id, or the same key under two ids: nothing is signed.
#[test]
fn refuses_an_ambiguous_key() {
    Soft::with(this_test!(refuses_an_ambiguous_key), |soft| {
        let token = fresh_token(soft, "issuing");
        let key = fresh_key(soft, &token, "issuing-1").public_key;
        let session = Thief::at(soft, "issuing").session();
        let private = Thief::private_key(&session);
        let id = match &session.get_attributes(private, &[cryptoki::object::AttributeType::Id]).unwrap()[0] {
            Attribute::Id(id) => id.clone(),
            other => panic!("{other:?}"),
        };
        let other =
            P256PublicKey::try_from(&p256::SecretKey::from_slice(&[9; 32]).unwrap().public_key()).unwrap();
        let mut point = vec![0x04, 0x41];
        point.extend(other.to_sec1());
        let planted = session
            .create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::EC),
                Attribute::Token(true),
                Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
                Attribute::EcPoint(point),
                Attribute::Id(id),
            ])
            .unwrap();
        for name in [key.thumbprint(), other.thumbprint()] {
            assert_eq!(
                token.sign(&name, TokenAlg::Es256, &[1; 32]).unwrap_err().reason(),
                "HSM_KEY_AMBIGUOUS"
            );
        }
        assert!(token.public_keys().unwrap().is_empty());
        assert_eq!(token.inventory(&[key.thumbprint()]).unwrap().quarantined.len(), 3);
        session.destroy_object(planted).unwrap();
        sign_and_verify(&token, &key, b"clear again");
    });
}

/// A token that another program made after the module was initialised is found without a restart.
#[test]
fn finds_a_token_made_later() {
    Soft::with(this_test!(finds_a_token_made_later), |soft| {
        let module = open_module(soft);
        let selector = TokenSelector::new("later", None).unwrap();
        let missing =
            Pkcs11Token::open(&module, selector.clone(), pin(PIN), TokenOptions::default()).unwrap_err();
        assert_eq!(missing.reason(), "HSM_TOKEN_NOT_FOUND");
        soft.0.init_token("later", PIN);
        let token = open_token(soft, "later");
        sign_and_verify(&token, &fresh_key(soft, &token, "issuing-1").public_key, b"found");
    });
}

/// Two tokens with one label: the serial decides, and without it nothing is chosen.
#[test]
fn needs_the_serial_among_twins() {
    Soft::with(this_test!(needs_the_serial_among_twins), |soft| {
        soft.0.init_token("twin", PIN);
        soft.0.init_token("twin", PIN);
        let module = open_module(soft);
        let open = |serial: Option<&str>| {
            let selector = TokenSelector::new("twin", serial).unwrap();
            Pkcs11Token::open(&module, selector, pin(PIN), TokenOptions::default())
        };
        assert_eq!(open(None).unwrap_err().reason(), "HSM_TOKEN_AMBIGUOUS");
        let thief = Thief::at(soft, "twin");
        let serial = thief.pkcs11.get_token_info(thief.slot).unwrap().serial_number().to_owned();
        assert_eq!(open(Some(&serial)).unwrap().describe().serial, serial);
    });
}
