//! tpm2-pkcs11 on a software TPM: the same promises, by another maker.
//!
//! It holds one key per process (each leaves a context behind in the TPM, which has three), cannot change a PIN after
//! that for the same reason, and has no Ed25519. Its attributes are only notes in a database, which the module lets
//! anyone change who has the PIN; the key itself is fixed in the TPM.

use testkit::{Swtpm, TPM2_MODULE, in_child};

use crate::common::{Device, on_device, test_name};

struct Tpm(Swtpm);

impl Tpm {
    fn run(path: &str, body: impl FnOnce(&mut dyn Device)) {
        let setup = || {
            let tpm = Swtpm::new();
            let env = tpm.env();
            (tpm, env)
        };
        in_child(test_name(path), setup, || {
            let mut tpm = Self(Swtpm::from_env());
            tpm.0.start();
            body(&mut tpm);
        });
    }
}

impl Device for Tpm {
    fn module(&self) -> &'static str {
        TPM2_MODULE
    }

    fn signatures_per_thread(&self) -> u8 {
        25
    }

    fn many_keys(&self) -> bool {
        false
    }

    fn guards_attributes(&self) -> bool {
        false
    }

    fn take_away(&mut self) {
        self.0.stop();
    }

    fn bring_back(&mut self) {
        self.0.start();
    }
}

on_device!(
    Tpm;
    generates_a_strict_key,
    is_found_again,
    proves_its_health,
    gives_its_key_to_nobody,
    survives_a_logout,
    finds_a_new_key_after_a_logout,
    survives_a_lost_device,
    signs_for_many_threads,
    refuses_a_wrong_pin,
    answers_for_unknown_keys,
    destroys_a_key,
    initialises_nothing_twice,
    has_one_owner_per_process,
    asks_for_capabilities,
    signs_with_one_algorithm,
);
