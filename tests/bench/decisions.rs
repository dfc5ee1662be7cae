//! What a gate's decision costs: processor time of one thread, without sockets.
//!
//! - cold: a token that this gate has not seen, all its signatures verified; bound to a certificate;
//! - warm: one that it has seen, bound to a certificate;
//! - DPoP: one that it has seen, with a proof that it has not.

use std::{hint::black_box, sync::Arc, time::Duration};

use breakglass::{
    gate::{
        clock::Moment,
        decide::{Memory, Refusal, Request, Settings, decide},
        map::{Map, Pattern, Rule, Template},
        view::{Known, Source},
    },
    jose::{Digest, b64},
};
use serde_json::{Value, json};

use crate::{
    kit::{self, Log, NOW},
    people::Signer,
    stats::{round, thread_cpu},
};

/// Tokens that are shown for the first time, again and again to a gate without memory.
const TOKENS: usize = 64;
/// Proofs of each run.
const PROOFS: usize = 4_000;
const DURATION: Duration = Duration::from_secs(2);
const HOST: &str = "orders.example.test";
const CERTIFICATE: &[u8] = b"erin's certificate";

/// Decisions per second of processor time of one thread.
#[derive(Debug, Clone, Copy)]
pub struct Decisions {
    pub cold: f64,
    pub warm: f64,
    pub dpop: f64,
}

impl Decisions {
    pub fn to_json(self) -> Value {
        json!({"cold": round(self.cold), "warm_mtls": round(self.warm), "dpop": round(self.dpop)})
    }
}

/// A gate in memory, and when it is asked.
struct Gate {
    settings: Settings,
    known: Known,
    now: Moment,
}

/// Measures all three on the calling thread.
pub fn measure() -> Decisions {
    let mut log = Log::new(&kit::charter());
    let tokens: Vec<String> = (0..TOKENS)
        .map(|number| {
            token(&mut log, &format!("cold {number}"), json!({"x5t#S256": Digest::of(CERTIFICATE)}))
        })
        .collect();
    let holder = Signer::named("the holder");
    let bound = token(&mut log, "dpop", json!({"jkt": holder.public.thumbprint()}));
    let gate = Gate::new(&log);
    Decisions { cold: gate.cold(&tokens), warm: gate.warm(&tokens[0]), dpop: gate.dpop(&holder, &bound) }
}

/// A whole flow: a token that is bound like this.
fn token(log: &mut Log, name: &str, cnf: Value) -> String {
    let grant = kit::patch(kit::grant_named(&log.charter(), name), json!({"cnf": cnf}));
    let id = log.file(&grant, "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW).unwrap();
    log.approve(&id, "bob/1", NOW).unwrap();
    log.issue(&id, NOW).unwrap()
}

impl Gate {
    fn new(log: &Log) -> Self {
        let now = Moment { wall: (NOW + 5) * 1000, monotonic: 100_000 };
        let path = Pattern::parse("/orders/{name}").unwrap();
        let word = |text: &str| text.to_owned().try_into().unwrap();
        let rule = Rule {
            methods: vec!["GET".to_owned()],
            host: None,
            kind: word("database"),
            action: word("read"),
            resource: Template::parse("pg/prod/{name}", &path).unwrap(),
            identifier: None,
            path,
        };
        let started = Moment { wall: now.wall - 60_000, monotonic: now.monotonic - 60_000 };
        let settings = Settings {
            audience: kit::AUD.parse().unwrap(),
            development: true,
            max_stale: 10_000,
            map: Map(vec![rule]),
            started,
        };
        let source = Source { kills: Arc::default(), heard: Some(now.monotonic - 1_000), ahead: 0 };
        let known =
            Known { charter: Arc::new(log.charter()), sources: [source].into(), unrecorded: Arc::default() };
        Self { settings, known, now }
    }

    fn ask(&self, memory: &Memory, authorization: &str, dpop: Option<&str>) -> Result<(), Refusal> {
        let request = Request {
            method: "GET",
            scheme: Some("https"),
            host: Some(HOST),
            target: "/orders/orders?limit=10",
            authorization: Some(authorization),
            dpop,
            certificate: Some(Digest::of(CERTIFICATE)),
        };
        decide(&self.settings, black_box(&request), &self.known, memory, self.now).map(drop)
    }

    fn cold(&self, tokens: &[String]) -> f64 {
        let shown: Vec<String> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
        rate(shown.len(), || {
            let memory = Memory::default();
            for token in &shown {
                self.ask(&memory, token, None).expect("it passes");
            }
        })
    }

    fn warm(&self, token: &str) -> f64 {
        let (memory, shown) = (Memory::default(), format!("Bearer {token}"));
        let runs = 1_000;
        rate(runs, || (0..runs).for_each(|_| self.ask(&memory, &shown, None).expect("it passes")))
    }

    fn dpop(&self, holder: &Signer, token: &str) -> f64 {
        let proofs: Vec<String> = (0..PROOFS).map(|number| self.proof(holder, token, number)).collect();
        let shown = format!("DPoP {token}");
        rate(proofs.len(), || {
            let memory = Memory::default();
            for proof in &proofs {
                self.ask(&memory, &shown, Some(proof)).expect("it passes");
            }
            assert!(self.ask(&memory, &shown, Some(&proofs[0])).is_err(), "a proof counts once");
        })
    }

    fn proof(&self, holder: &Signer, token: &str, number: usize) -> String {
        let text = |value: &Value| b64::encode(value.to_string().as_bytes());
        let header = text(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": holder.public}));
        let claims = text(&json!({"jti": number.to_string(), "htm": "GET", "iat": self.now.seconds(),
            "htu": format!("https://{HOST}/orders/orders"), "ath": Digest::of(token.as_bytes())}));
        let input = format!("{header}.{claims}");
        format!("{input}.{}", b64::encode(&holder.sign(input.as_bytes())))
    }
}

/// How often per second of processor time, if one round does it so often.
fn rate(each: usize, mut round: impl FnMut()) -> f64 {
    round();
    let (mut rounds, begun) = (0_usize, thread_cpu());
    while thread_cpu() - begun < DURATION {
        round();
        rounds += 1;
    }
    (rounds * each) as f64 / (thread_cpu() - begun).as_secs_f64()
}
