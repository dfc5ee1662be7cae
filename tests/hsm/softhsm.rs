//! `SoftHSM`: the suite, and what only a token with many keys, Ed25519 and a directory can show.

use std::fs;

use breakglass::jose::TokenAlg;
use testkit::{SOFTHSM_MODULE, SoftHsm, in_child};

use crate::common::{Device, on_device, test_name};

/// A `SoftHSM` whose directory is the device.
pub struct Soft(pub SoftHsm, TokenAlg);

impl Soft {
    pub fn run(path: &str, body: impl FnOnce(&mut dyn Device)) {
        Self::with(path, |soft| body(soft));
    }

    pub fn with(path: &str, body: impl FnOnce(&mut Self)) {
        Self::signing(TokenAlg::Es256, path, body);
    }

    pub fn signing(alg: TokenAlg, path: &str, body: impl FnOnce(&mut Self)) {
        let setup = || {
            let softhsm = SoftHsm::new();
            let env = vec![softhsm.env()];
            (softhsm, env)
        };
        in_child(test_name(path), setup, || body(&mut Self(SoftHsm::from_env(), alg)));
    }
}

impl Device for Soft {
    fn module(&self) -> &'static str {
        SOFTHSM_MODULE
    }

    fn algorithm(&self) -> TokenAlg {
        self.1
    }

    fn signatures_per_thread(&self) -> u8 {
        if self.1.is_rsa() { 20 } else { 200 }
    }

    fn many_keys(&self) -> bool {
        true
    }

    fn guards_attributes(&self) -> bool {
        true
    }

    fn take_away(&mut self) {
        fs::rename(self.0.tokens(), self.0.dir().join("away")).unwrap();
    }

    fn bring_back(&mut self) {
        fs::rename(self.0.dir().join("away"), self.0.tokens()).unwrap();
    }
}

on_device!(
    Soft;
    generates_a_strict_key,
    is_found_again,
    proves_its_health,
    gives_its_key_to_nobody,
    survives_a_logout,
    finds_a_new_key_after_a_logout,
    survives_a_lost_device,
    signs_for_many_threads,
    refuses_a_wrong_pin,
    never_retries_a_pin,
    answers_for_unknown_keys,
    destroys_a_key,
    initialises_nothing_twice,
    has_one_owner_per_process,
    asks_for_capabilities,
    signs_with_one_algorithm,
);

/// The same promises for the other algorithms; what does not depend on the key is shown once, above.
macro_rules! with_algorithm {
    ($module:ident, $alg:ident) => {
        mod $module {
            use breakglass::jose::TokenAlg;

            use crate::common::{Device, on_device};

            struct Soft;

            impl Soft {
                fn run(path: &str, body: impl FnOnce(&mut dyn Device)) {
                    super::Soft::signing(TokenAlg::$alg, path, |soft| body(soft));
                }
            }

            on_device!(
                Soft;
                generates_a_strict_key,
                is_found_again,
                proves_its_health,
                gives_its_key_to_nobody,
                survives_a_logout,
                finds_a_new_key_after_a_logout,
                survives_a_lost_device,
                signs_for_many_threads,
                answers_for_unknown_keys,
                destroys_a_key,
                asks_for_capabilities,
                signs_with_one_algorithm,
            );
        }
    };
}

with_algorithm!(es384, Es384);
with_algorithm!(eddsa, EdDsa);
with_algorithm!(rs256, Rs256);
with_algorithm!(ps256, Ps256);
