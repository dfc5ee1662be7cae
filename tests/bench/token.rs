//! The HSM alone: `C_Sign` on the daemon's own tokens, with as little as possible around it.
//!
//! It runs in a process of its own, because the module finds its configuration through the environment.

use std::{
    env, fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, ObjectClass},
    session::{Session, UserType},
    types::AuthPin,
};
use serde_json::{Value, json};
use testkit::SOFTHSM_MODULE;

use crate::{
    stats::{round, thread_cpu},
    world::World,
};

/// The argument with which this program becomes the child.
pub const CHILD: &str = "measure-the-token";
/// How many `pkcs11_session`s sign at a time.
const SESSIONS: [usize; 3] = [1, 2, 4];
const DURATION: Duration = Duration::from_secs(2);

/// What the tokens can do.
#[derive(Debug)]
pub struct Token {
    /// Sessions, and ES256 signatures per second.
    pub es256: Vec<(u64, f64)>,
    /// Sessions, and Ed25519 signatures per second.
    eddsa: Vec<(u64, f64)>,
    /// Microseconds of processor time of one ES256 signature.
    pub es256_cpu: f64,
    /// Microseconds of processor time of one Ed25519 signature.
    pub eddsa_cpu: f64,
}

/// Measures both tokens of a world whose daemon is not running.
pub fn measure(world: &World) -> Token {
    let mut measured = ["issuing", "log"].map(|label| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([CHILD, label]).arg(world.path(&format!("{label}.pin")));
        command.envs([world.hsm.env()]).stderr(Stdio::inherit());
        let output = command.output().unwrap();
        assert!(output.status.success(), "the child measured {label}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rates = value["rates"].as_array().unwrap().iter();
        let rates = rates.map(|rate| (rate[0].as_u64().unwrap(), rate[1].as_f64().unwrap())).collect();
        (rates, value["cpu_us"].as_f64().unwrap())
    });
    let [(es256, es256_cpu), (eddsa, eddsa_cpu)] = measured.each_mut().map(std::mem::take);
    Token { es256, eddsa, es256_cpu, eddsa_cpu }
}

impl Token {
    /// ES256 signatures per second at the best number of sessions: the denominator.
    pub fn best(&self) -> f64 {
        self.es256.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    pub fn to_json(&self) -> Value {
        let rates = |rates: &[(u64, f64)]| -> serde_json::Map<String, Value> {
            rates.iter().map(|(sessions, rate)| (sessions.to_string(), json!(rate.round()))).collect()
        };
        json!({
            "es256_per_second_by_sessions": rates(&self.es256),
            "ed25519_per_second_by_sessions": rates(&self.eddsa),
            "es256_cpu_us": round(self.es256_cpu),
            "ed25519_cpu_us": round(self.eddsa_cpu),
        })
    }
}

/// Signs as fast as it goes, and prints what came out as JSON.
pub fn child(arguments: &mut impl Iterator<Item = String>) {
    let (label, pin_file) = (arguments.next().unwrap(), arguments.next().unwrap());
    let pin = fs::read_to_string(pin_file).unwrap();
    let module = Pkcs11::new(SOFTHSM_MODULE).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = module.get_slots_with_initialized_token().unwrap();
    let mut slots = slots.into_iter();
    let slot = slots.find(|slot| module.get_token_info(*slot).unwrap().label() == label).unwrap();
    // The login is the token's, and lasts as long as one session does.
    let first = module.open_ro_session(slot).unwrap();
    first.login(UserType::User, Some(&AuthPin::new(pin.trim().into()))).unwrap();
    let mut cpu = 0.0;
    let mut rates = Vec::new();
    for sessions in SESSIONS {
        let opened = (0..sessions).map(|_| module.open_ro_session(slot).unwrap()).collect();
        let (rate, cost) = sign(opened, label == "log");
        rates.push((sessions, rate));
        if sessions == 1 {
            cpu = cost;
        }
    }
    println!("{}", json!({"rates": rates, "cpu_us": cpu}));
}

/// Signatures per second of all sessions together, and microseconds of processor time of one.
fn sign(sessions: Vec<Session>, is_log: bool) -> (f64, f64) {
    let begun = Instant::now();
    let workers: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            std::thread::spawn(move || {
                let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
                let key = session.find_objects(&[class]).unwrap()[0];
                let eddsa = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
                let mechanism = if is_log { &eddsa } else { &Mechanism::Ecdsa };
                // A digest, or a checkpoint of common length.
                let message = if is_log { vec![b'x'; 100] } else { vec![b'x'; 32] };
                let (mut count, spent) = (0_u32, thread_cpu());
                while begun.elapsed() < DURATION {
                    let signature = session.sign(mechanism, key, &message).unwrap();
                    assert_eq!(signature.len(), 64);
                    count += 1;
                }
                (f64::from(count), (thread_cpu() - spent).as_secs_f64() * 1e6)
            })
        })
        .collect();
    let done = workers.into_iter().map(|worker| worker.join().unwrap());
    let (count, spent) = done.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (count / begun.elapsed().as_secs_f64(), spent / count)
}
