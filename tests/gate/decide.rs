//! Decisions as a pure function: token, possession, map, view, time.

use std::sync::Arc;

use breakglass::{
    domain::{charter::Charter, kill::Kills, time::Timestamp},
    gate::{
        clock::Moment,
        decide::{Memory, Pass, Refusal, Request, Settings, decide, still_stands},
        map::{Map, Pattern, Rule, Template},
        view::{Known, Source},
    },
    jose::{Digest, Typ},
};
use serde_json::{Value, json};

use crate::{
    dpop,
    kit::{self, Log, NOW, key},
};

/// When the tests ask: two seconds after the token was minted.
pub const ASKED: i64 = NOW + 13;
const HOST: &str = "orders.example.test";

/// A moment at this Unix second; the forward clock runs with it.
pub fn at(seconds: i64) -> Moment {
    Moment { wall: seconds * 1000, monotonic: (seconds - NOW + 1_000) * 1000 }
}

/// A rule: reading an order is reading its location.
pub fn settings() -> Settings {
    let path = Pattern::parse("/orders/{name}").unwrap();
    let word = |text: &str| text.to_owned().try_into().unwrap();
    let rule = |methods: &[&str], action: &str| Rule {
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        host: None,
        kind: word("database"),
        action: word(action),
        resource: Template::parse("pg/prod/{name}", &path).unwrap(),
        identifier: None,
        path: path.clone(),
    };
    Settings {
        audience: kit::AUD.parse().unwrap(),
        development: true,
        max_stale: 10_000,
        map: Map(vec![rule(&["GET"], "read"), rule(&["POST"], "write")]),
        started: at(NOW - 100),
    }
}

/// A view that was heard a second before [`ASKED`].
pub fn known(charter: &Charter) -> Known {
    let source = Source { kills: Arc::default(), heard: Some(at(ASKED - 1).monotonic), ahead: 0 };
    Known { charter: Arc::new(charter.clone()), sources: [source].into(), unrecorded: Arc::default() }
}

/// A gate in memory, and a client with a token that is bound to his key or certificate.
struct Gate {
    settings: Settings,
    known: Known,
    memory: Memory,
    now: Moment,
    token: String,
    /// Counts proofs.
    proofs: std::cell::Cell<u32>,
}

impl Gate {
    fn new() -> Self {
        let (log, _, token) = kit::flow();
        Self::with(&log, token)
    }

    fn with(log: &Log, token: String) -> Self {
        let known = known(&log.charter());
        Self {
            settings: settings(),
            known,
            memory: Memory::default(),
            now: at(ASKED),
            token,
            proofs: 0.into(),
        }
    }

    fn proof(&self, change: Value) -> String {
        self.proofs.set(self.proofs.get() + 1);
        let jti = format!("proof {}", self.proofs.get());
        let url = format!("https://{HOST}/orders/orders");
        let claims = dpop::claims("GET", &url, &self.token, self.now.seconds(), &jti);
        dpop::proof(&key("a grant/cnf"), &kit::patch(claims, change))
    }

    /// As the client asks for what he may, with a fresh proof.
    fn ask(&self) -> Result<Pass, Refusal> {
        self.ask_with(&self.proof(json!({})), |request| request)
    }

    fn ask_with(
        &self,
        proof: &str,
        change: impl for<'a> FnOnce(Request<'a>) -> Request<'a>,
    ) -> Result<Pass, Refusal> {
        let authorization = format!("DPoP {}", self.token);
        let request = Request {
            method: "GET",
            scheme: Some("https"),
            host: Some(HOST),
            target: "/orders/orders?page=2",
            authorization: Some(&authorization),
            dpop: Some(proof),
            certificate: None,
        };
        decide(&self.settings, &change(request), &self.known, &self.memory, self.now)
    }

    #[track_caller]
    fn refuses(&self, reason: &str) {
        assert_eq!(self.ask().unwrap_err().reason(), reason);
    }
}

impl Gate {
    /// Changes what the only daemon shows.
    fn source(&mut self, change: impl FnOnce(&mut Source)) {
        let mut sources = self.known.sources.to_vec();
        change(&mut sources[0]);
        self.known.sources = sources.into();
    }
}

/// Erin's token that is bound to her certificate.
fn certificate_bound() -> Gate {
    let mut log = Log::new(&kit::charter());
    let cnf = json!({"cnf": {"x5t#S256": Digest::of(b"erin's certificate")}});
    let grant = kit::patch(kit::grant(&log.charter()), cnf);
    let id = log.file(&grant, "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    let token = log.issue(&id, NOW + 11).unwrap();
    Gate::with(&log, token)
}

#[test]
fn a_good_request_passes_and_says_for_whom_and_why() {
    let gate = Gate::new();
    let pass = gate.ask().unwrap();
    assert_eq!(pass.token.claims.sub.as_str(), "erin");
    assert_eq!(pass.need.location.to_string(), "pg/prod/orders");
    assert_eq!(gate.memory.sizes(), (1, 1));
    // A second time from memory, and still_stands without any request.
    let again = gate.ask().unwrap();
    assert!(Arc::ptr_eq(&pass.token, &again.token), "its signatures were verified once");
    still_stands(&gate.settings, &again.token, &gate.known, &gate.memory, gate.now).unwrap();
}

#[test]
fn a_remembered_token_is_judged_afresh_each_time() {
    let mut gate = Gate::new();
    let pass = gate.ask().unwrap();
    let stands = |gate: &Gate| {
        still_stands(&gate.settings, &pass.token, &gate.known, &gate.memory, gate.now)
            .map_err(|refusal| refusal.reason())
    };
    // Killed.
    let fresh = gate.known.clone();
    let charter = kit::charter();
    let payload = kit::bytes(&json!({"iss": charter.document().iss, "charter": charter.digest(),
        "id": kit::nonce("a kill"), "level": "requester", "target": "erin", "reason": "Seen where it should not be"}));
    let mut kills = Kills::default();
    let kill = key("carol/1").jws(Typ::Kill, &payload, ASKED);
    learn(&mut kills, kill, &charter);
    gate.source(|source| source.kills = Arc::new(kills));
    gate.refuses("REQUESTER_KILLED");
    assert_eq!(stands(&gate), Err("REQUESTER_KILLED"));
    // Expired, while the view stays fresh.
    gate.known = fresh.clone();
    gate.ask().unwrap();
    let exp = pass.token.claims.exp;
    gate.now = at(exp - 1);
    gate.source(|source| source.heard = Some(at(exp - 1).monotonic));
    gate.ask().unwrap();
    gate.now = at(exp);
    gate.refuses("TOKEN_TIME");
    assert_eq!(stands(&gate), Err("TOKEN_TIME"));
    // A charter that has expired.
    let mut document = kit::document();
    document["expires_at"] = json!(NOW + 40 * 86_400);
    (gate.now, gate.known) = (at(ASKED), known(&kit::charter_of(&document)));
    assert_eq!(gate.ask().unwrap_err().reason(), "CHARTER_MISMATCH", "of another chain");
}

/// Takes in a kill, as a gate that was told of it does.
fn learn(kills: &mut Kills, kill: breakglass::jose::GeneralJws, charter: &Charter) {
    kills.learn(kill, charter, 1, Timestamp::from_seconds(ASKED)).unwrap();
}

#[test]
fn nothing_passes_on_a_view_that_is_not_fresh() {
    let mut gate = Gate::new();
    gate.source(|source| source.heard = None);
    gate.refuses("KILL_VIEW_MISSING");
    let now = gate.now.monotonic;
    gate.source(|source| source.heard = Some(now - 10_000));
    gate.ask().unwrap();
    gate.source(|source| source.heard = Some(now - 10_001));
    gate.refuses("KILL_VIEW_STALE");
    let told = gate.ask().unwrap_err().to_string();
    assert!(told.contains("10 s ago"), "{told}");
    // By the clock that only runs forward: what the wall's says makes nothing fresh.
    gate.now.wall -= 20_000;
    gate.refuses("KILL_VIEW_STALE");
    // Nor does a stranger learn more than that.
    let nobody = gate.ask_with("", |request| Request { authorization: None, target: "//", ..request });
    assert_eq!(nobody.unwrap_err().reason(), "KILL_VIEW_STALE");
}

#[test]
fn clocks_that_differ_by_more_than_a_minute_are_not_relied_on() {
    let mut gate = Gate::new();
    for ahead in [-60_000, 60_000] {
        gate.source(|source| source.ahead = ahead);
        gate.ask().unwrap();
    }
    for ahead in [-60_001, 60_001, i64::MIN] {
        gate.source(|source| source.ahead = ahead);
        gate.refuses("CLOCK_WRONG");
    }
}

#[test]
fn a_token_for_another_audience_or_of_development_is_refused() {
    let mut gate = Gate::new();
    gate.settings.development = false;
    gate.refuses("DEVELOPMENT_CHARTER");
    gate.settings = Settings { audience: "https://write.example.test".parse().unwrap(), ..settings() };
    gate.refuses("AUDIENCE_MISMATCH");
}

#[test]
fn a_token_allows_what_its_details_say_and_nothing_else() {
    let gate = Gate::new();
    let ask = |method: &'static str, target: &'static str, claims: Value| {
        let proof = gate.proof(claims);
        gate.ask_with(&proof, |request| Request { method, target, ..request })
            .map(drop)
            .map_err(|why| why.reason())
    };
    let url = |path: &str| json!({"htu": format!("https://{HOST}{path}")});
    assert_eq!(ask("GET", "/orders/orders", url("/orders/orders")), Ok(()));
    assert_eq!(ask("POST", "/orders/orders", json!({"htm": "POST"})), Err("DETAILS_NOT_COVERED"));
    assert_eq!(ask("GET", "/orders/orders2", url("/orders/orders2")), Err("DETAILS_NOT_COVERED"));
    assert_eq!(ask("DELETE", "/orders/orders", json!({})), Err("REQUEST_UNMAPPED"));
    assert_eq!(ask("GET", "/orders", json!({})), Err("REQUEST_UNMAPPED"));
    assert_eq!(ask("GET", "/orders/x/../orders", json!({})), Err("PATH_AMBIGUOUS"));
    assert_eq!(ask("GET", "/orders//orders", json!({})), Err("PATH_AMBIGUOUS"));
    assert_eq!(ask("GET", "/orders/%2e%2e%2forders", json!({})), Err("PATH_AMBIGUOUS"));
    assert_eq!(ask("GET", "/orders/orders%00", json!({})), Err("PATH_AMBIGUOUS"));
    assert_eq!(ask("GET", "https://x/orders/orders", json!({})), Err("PATH_INVALID"));
}

#[test]
fn a_token_bound_to_a_certificate_needs_that_certificate() {
    let gate = certificate_bound();
    let bearer = format!("Bearer {}", gate.token);
    let ask = |certificate: Option<&[u8]>| {
        let certificate = certificate.map(Digest::of);
        // A proof beside it neither helps nor harms.
        let proof = gate.proof(json!({}));
        let request = Request {
            method: "GET",
            scheme: None,
            host: None,
            target: "/orders/orders",
            authorization: Some(&bearer),
            dpop: Some(&proof),
            certificate,
        };
        let decided = decide(&gate.settings, &request, &gate.known, &gate.memory, gate.now);
        decided.map(drop).map_err(|why| why.reason())
    };
    assert_eq!(ask(Some(b"erin's certificate")), Ok(()));
    assert_eq!(ask(Some(b"another certificate")), Err("CERTIFICATE_MISMATCH"));
    assert_eq!(ask(None), Err("CERTIFICATE_MISSING"));
    gate.refuses("SCHEME_MISMATCH");
}

#[test]
fn a_proof_is_for_this_request_this_token_now_and_once() {
    let gate = Gate::new();
    let refused = |proof: &str| gate.ask_with(proof, |request| request).unwrap_err().reason();
    let good = gate.proof(json!({}));
    gate.ask_with(&good, |request| request).unwrap();
    assert_eq!(refused(&good), "DPOP_REPLAYED");
    for (change, reason) in [
        (json!({"htm": "POST"}), "DPOP_METHOD_MISMATCH"),
        (json!({"htm": "get"}), "DPOP_METHOD_MISMATCH"),
        (json!({"htu": format!("https://{HOST}/orders/other")}), "DPOP_URL_MISMATCH"),
        (json!({"htu": format!("http://{HOST}/orders/orders")}), "DPOP_URL_MISMATCH"),
        (json!({"htu": "https://evil.example/orders/orders"}), "DPOP_URL_MISMATCH"),
        (json!({"iat": ASKED - 61}), "DPOP_TIME"),
        (json!({"iat": ASKED + 61}), "DPOP_TIME"),
        (json!({"ath": Digest::of(b"another token")}), "DPOP_TOKEN_MISMATCH"),
        (json!({"ath": null}), "DPOP_MALFORMED"),
        (json!({"iat": "now"}), "DPOP_MALFORMED"),
        (json!({"jti": ""}), "DPOP_MALFORMED"),
    ] {
        assert_eq!(refused(&gate.proof(change.clone())), reason, "{change}");
    }
    let claims =
        dpop::claims("GET", &format!("https://{HOST}/orders/orders"), &gate.token, ASKED, "by another");
    assert_eq!(refused(&dpop::proof(&key("mallory"), &claims)), "DPOP_KEY_MISMATCH");
    // The right key in the header, and another's signature.
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key("a grant/cnf").jwk()});
    assert_eq!(refused(&dpop::with_header(&key("mallory"), &header, &claims)), "DPOP_SIGNATURE_INVALID");
    assert_eq!(refused("a.b.c"), "DPOP_MALFORMED");
    let none = gate.ask_with("", |request| Request { dpop: None, ..request });
    assert_eq!(none.unwrap_err().reason(), "DPOP_MISSING");
    let bearer = format!("Bearer {}", gate.token);
    let proof = gate.proof(json!({}));
    let request = Request {
        method: "GET",
        scheme: Some("https"),
        host: Some(HOST),
        target: "/orders/orders",
        authorization: Some(&bearer),
        dpop: Some(&proof),
        certificate: None,
    };
    let plain = decide(&gate.settings, &request, &gate.known, &gate.memory, gate.now);
    assert_eq!(plain.unwrap_err().reason(), "SCHEME_MISMATCH");
    // What was refused used up nothing.
    assert_eq!(gate.memory.sizes().1, 1);
}

#[test]
fn a_proof_from_before_the_start_could_have_been_used_before() {
    let mut gate = Gate::new();
    gate.settings.started = at(ASKED - 5);
    let old = gate.proof(json!({"iat": ASKED - 6}));
    assert_eq!(gate.ask_with(&old, |request| request).unwrap_err().reason(), "DPOP_TIME");
    gate.ask().unwrap();
}

#[test]
fn an_authorization_header_is_one_token_of_one_scheme() {
    let gate = Gate::new();
    for (header, reason) in [
        (None, "TOKEN_MISSING"),
        (Some(""), "TOKEN_MISSING"),
        (Some("Basic YTpi"), "AUTHORIZATION_INVALID"),
        (Some("DPoP"), "AUTHORIZATION_INVALID"),
        (Some("DPoP "), "AUTHORIZATION_INVALID"),
        (Some("DPoP a b"), "AUTHORIZATION_INVALID"),
        (Some("DPoP a,DPoP b"), "AUTHORIZATION_INVALID"),
        (Some("DPoP a.b.c"), "TOKEN_MALFORMED"),
        (Some("Bearer ..."), "TOKEN_MALFORMED"),
    ] {
        let asked = gate.ask_with("", |request| Request { authorization: None, ..request });
        assert_eq!(asked.unwrap_err().reason(), "TOKEN_MISSING");
        let request = Request {
            method: "GET",
            scheme: None,
            host: None,
            target: "/orders/orders",
            authorization: header,
            dpop: None,
            certificate: None,
        };
        let decided = decide(&gate.settings, &request, &gate.known, &gate.memory, gate.now);
        assert_eq!(decided.unwrap_err().reason(), reason, "{header:?}");
    }
    // Schemes are case-insensitive (RFC 9110 section 11.1).
    let lower = format!("dpop  {}", gate.token);
    let proof = gate.proof(json!({}));
    let request = Request {
        method: "GET",
        scheme: Some("https"),
        host: Some(HOST),
        target: "/orders/orders",
        authorization: Some(&lower),
        dpop: Some(&proof),
        certificate: None,
    };
    decide(&gate.settings, &request, &gate.known, &gate.memory, gate.now).unwrap();
}

/// The names of the algorithms that others were confused with, and headers that choose a key.
#[test]
fn a_token_that_chooses_how_it_is_verified_is_refused() {
    let gate = Gate::new();
    let mut parts = gate.token.split('.');
    let (header, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let parsed: Value = serde_json::from_slice(&breakglass::jose::b64::decode(header).unwrap()).unwrap();
    let judged = |changes: Value, signature: &str| {
        let header = breakglass::jose::b64::encode(&kit::bytes(&kit::patch(parsed.clone(), changes)));
        let token = format!("{header}.{payload}.{signature}");
        let authorization = format!("DPoP {token}");
        let request = Request {
            method: "GET",
            scheme: Some("https"),
            host: Some(HOST),
            target: "/orders/orders",
            authorization: Some(&authorization),
            dpop: None,
            certificate: None,
        };
        let decided = decide(&gate.settings, &request, &gate.known, &gate.memory, gate.now);
        decided.unwrap_err().reason()
    };
    // An HMAC keyed with the public key, as the textbook has it.
    let public = kit::key("hsm/1").public.spki_der();
    let mac = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public), payload.as_bytes());
    let mac = breakglass::jose::b64::encode(mac.as_ref());
    let (mallory, jwk) = (key("mallory"), key("mallory").jwk());
    for (changes, signature) in [
        (json!({"alg": "none"}), ""),
        (json!({"alg": "none"}), signature),
        (json!({"alg": "HS256"}), mac.as_str()),
        (json!({"alg": "ES384"}), signature),
        (json!({"jwk": jwk}), signature),
        (json!({"jku": "https://evil.example/jwks.json"}), signature),
        (json!({"x5c": ["AAAA"]}), signature),
        (json!({"crit": ["exp"], "exp": 1}), signature),
        (json!({"b64": false, "crit": ["b64"]}), signature),
        (json!({"typ": "JWT"}), signature),
        (json!({"typ": null}), signature),
    ] {
        assert_eq!(judged(changes.clone(), signature), "TOKEN_MALFORMED", "{changes}");
    }
    assert_eq!(judged(json!({"kid": mallory.kid()}), signature), "ISSUING_KEY_UNKNOWN");
    assert_eq!(judged(json!({"kid": key("hsm/bad").kid()}), signature), "ISSUING_KEY_UNKNOWN", "compromised");
    assert_eq!(judged(json!({"kid": key("hsm/old").kid()}), signature), "SIGNATURE_INVALID");
    assert_eq!(gate.memory.sizes(), (0, 0), "garbage takes no room");
}
