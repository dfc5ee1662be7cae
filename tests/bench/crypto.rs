//! What the cryptography outside the HSM costs: processor time of one thread, for each operation of a flow.

use std::{hint::black_box, time::Duration};

use breakglass::jose::{P256PublicKey, Typ, jwe};
use serde_json::{Value, json};

use crate::{
    people::Signer,
    stats::{round, thread_cpu},
};

/// Microseconds of processor time.
#[derive(Debug, Clone, Copy)]
pub struct Crypto {
    /// Checking one ES256 signature over a statement of common size.
    pub verify: f64,
    /// Encrypting one JWT to a redeem key.
    pub encrypt: f64,
}

/// Measures on the calling thread.
pub fn measure() -> Crypto {
    let signer = Signer::named("alice/1");
    let payload = [b'x'; 900];
    let signature = signer.state(Typ::Approval, &payload, 1_800_000_000);
    let public: P256PublicKey = signer.public;
    let verify = cost(|| signature.verify(black_box(&payload), &public, Typ::Approval).unwrap());
    let random = ring::rand::SystemRandom::new();
    let encrypt = cost(|| jwe::encrypt(black_box(&[b'x'; 4000]), &public, &random).map(drop).unwrap());
    Crypto { verify, encrypt }
}

fn cost(mut work: impl FnMut()) -> f64 {
    (0..200).for_each(|_| work());
    let (mut runs, begun) = (0_u32, thread_cpu());
    while thread_cpu() - begun < Duration::from_millis(500) {
        (0..100).for_each(|_| work());
        runs += 100;
    }
    (thread_cpu() - begun).as_secs_f64() * 1e6 / f64::from(runs)
}

impl Crypto {
    pub fn to_json(self) -> Value {
        json!({"es256_verify": round(self.verify), "jwe_encrypt": round(self.encrypt)})
    }
}
