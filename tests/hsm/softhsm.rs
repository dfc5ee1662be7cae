//! `SoftHSM`.

use breakglass::hsm::{CANARY, KeyName, LogSigner as _, Pkcs11LogKey, SigningDevice as _, TokenOptions};
use breakglass::jose::Digest;
use testkit::{SOFTHSM_MODULE, SoftHsm, in_child};

use crate::common::{fresh_token, rng};

fn with_softhsm(test: &str, body: impl FnOnce()) {
    in_child(
        test,
        || {
            let softhsm = SoftHsm::new();
            let env = vec![softhsm.env()];
            (softhsm, env)
        },
        body,
    );
}

#[test]
fn thin_path() {
    with_softhsm("softhsm::thin_path", || {
        let issuing = fresh_token(SOFTHSM_MODULE, "issuing", TokenOptions::default());
        let made = issuing.generate_es256(&KeyName::new("issuing-1").unwrap(), &mut rng()).unwrap();
        let kid = made.public_key.thumbprint();
        let message = b"message";
        let signature = issuing.sign_es256(&kid, Digest::of(message).as_bytes()).unwrap();
        made.public_key.verify(message, &signature).unwrap();
        println!("{:?}", made.attributes);
        println!("{:?}", issuing.health(&kid).unwrap());

        let log = fresh_token(SOFTHSM_MODULE, "log", TokenOptions::default());
        let made = log.generate_ed25519(&KeyName::new("log-1").unwrap(), &mut rng()).unwrap();
        let key = Pkcs11LogKey::open(log, made.public_key).unwrap();
        let signature = key.sign_ed25519(message).unwrap();
        made.public_key.verify(message, &signature).unwrap();
        key.health().unwrap();
        assert!(made.public_key.verify(CANARY, &signature).is_err());
    });
}
