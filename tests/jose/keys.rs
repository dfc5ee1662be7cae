//! Test keys: from a seed, so that vectors can be made again.

use breakglass::jose::{P256PublicKey, b64};
use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

pub struct Key {
    pub secret: SecretKey,
    pub public: P256PublicKey,
}

impl Key {
    pub fn new(seed: u8) -> Self {
        let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
        let public = P256PublicKey::try_from(&secret.public_key()).unwrap();
        Self { secret, public }
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = SigningKey::from(&self.secret).sign(message);
        signature.to_bytes().into()
    }

    pub fn public_jwk(&self) -> Value {
        serde_json::to_value(self.public).unwrap()
    }

    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.public_jwk();
        jwk["d"] = json!(b64::encode(&self.secret.to_bytes()));
        jwk
    }
}
