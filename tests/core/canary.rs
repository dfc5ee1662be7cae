//! Canaries: which pairs of key and verifier get one, what it says, and that it opens nothing at a strict verifier.

use breakglass::{
    domain::{
        Command, Refusal,
        canary::{CanaryClaims, due},
        claims::LogPosition,
        event::Event,
        strict::{self, Seen, View},
    },
    jose::Digest,
};
use serde_json::{Value, json};

use crate::{
    kit::{AUD, Log, NOW, ORIGIN, charter_of, key, patch},
    outside::furnished,
    replay::audit,
    succession::{following, refused},
};

impl Log {
    fn canary(&mut self, verifier: &str, signer: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let command = Command::Canary { verifier: verifier.parse().unwrap(), kid: key(signer).kid() };
        self.run(&command, at * 1000)
    }

    fn canary_issued(&mut self, verifier: &str, signer: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let (verifier, kid) = (verifier.parse().unwrap(), key(signer).kid());
        let (jwt, jwe) = (Digest::of(b"a canary"), "e30.e30".to_owned());
        self.run(&Command::CanaryIssued { verifier, kid, jwt, jwe }, at * 1000)
    }

    /// The pairs that wait for a canary, the key by its name here.
    fn due(&self) -> Vec<(String, &'static str)> {
        let named = |kid: Digest| {
            ["hsm/1", "hsm/2", "hsm/old", "hsm/bad"].into_iter().find(|name| key(name).kid() == kid).unwrap()
        };
        due(&self.state).into_iter().map(|(verifier, kid)| (verifier.to_string(), named(kid))).collect()
    }
}

fn furnished_log() -> Log {
    Log::new(&charter_of(&furnished()))
}

fn with_second_key(log: &Log, at: i64) -> Value {
    let mut document = following(log, at);
    document["issuing_keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"key": key("hsm/2").jwk(), "profiles": ["db-read", "careful"], "state": "pre-active"}));
    document
}

#[test]
fn each_active_key_gets_one_for_each_verifier_that_can_be_probed() {
    let mut log = furnished_log();
    // hsm/old is deactivated, hsm/bad compromised.
    assert_eq!(log.due(), [("vault".to_owned(), "hsm/1"), ("api".to_owned(), "hsm/1")]);
    log.canary("vault", "hsm/1", NOW).unwrap();
    refused(log.canary("vault", "hsm/1", NOW), "CANARY_NOT_DUE");
    refused(log.canary("vault", "hsm/old", NOW), "CANARY_NOT_DUE");
    refused(log.canary("nobody", "hsm/1", NOW), "CANARY_NOT_DUE");
    refused(log.canary_issued("api", "hsm/1", NOW), "CANARY_NOT_DUE");
    log.canary_issued("vault", "hsm/1", NOW + 1).unwrap();
    refused(log.canary_issued("vault", "hsm/1", NOW + 1), "CANARY_NOT_DUE");
    assert_eq!(log.due(), [("api".to_owned(), "hsm/1")]);

    // Announced, a key needs none; activated, it does, and so does each pair of a new charter.
    let announced = with_second_key(&log, NOW + 2);
    log.succeed(&announced, NOW + 2);
    assert_eq!(log.due(), [("vault".to_owned(), "hsm/1"), ("api".to_owned(), "hsm/1")]);
    let kept = log.state.canary(&"vault".parse().unwrap(), &key("hsm/1").kid()).unwrap();
    assert_eq!(kept.jwe.as_deref(), Some("e30.e30"), "the old one serves until there is a new one");
    let mut activated = following(&log, NOW + 3);
    activated["issuing_keys"][0]["state"] = json!("compromised");
    activated["issuing_keys"][3]["state"] = json!("active");
    activated["issuing_keys"][3]["profiles"] = json!(["careful", "db-read", "db-write"]);
    log.succeed(&activated, NOW + 3);
    assert_eq!(log.due(), [("vault".to_owned(), "hsm/2"), ("api".to_owned(), "hsm/2")]);
    let of_dead = log.state.canaries().filter(|canary| canary.kid == key("hsm/1").kid()).count();
    assert_eq!(of_dead, 1, "what shows that the verifier refuses the dead key is kept");

    // It goes with the verifier, with the key's record, and in time.
    let mut fewer = following(&log, NOW + 4);
    fewer["issuing_keys"].as_array_mut().unwrap().remove(0);
    log.succeed(&fewer, NOW + 4);
    assert_eq!(log.state.canaries().count(), 0);
    log.canary("vault", "hsm/2", NOW + 5).unwrap();
    let end = log.charter().document().expires_at;
    log.run(&Command::Tick, (end + 30 * 86_400) * 1000).unwrap();
    log.run(&Command::Start { version: "1".into() }, (end + 30 * 86_400) * 1000).unwrap();
    assert_eq!(log.state.canaries().count(), 0);
    refused(log.canary("api", "hsm/2", end + 30 * 86_400), "CHARTER_EXPIRED");
    log.audited();
}

/// The claims by a second hand, and nothing more in them.
#[test]
fn a_canary_says_nothing_but_that_it_is_one() {
    let mut log = furnished_log();
    let index = log.state.size();
    let events = log.canary("vault", "hsm/1", NOW).unwrap();
    let charter = log.charter();
    let kid = key("hsm/1").kid();
    let name = format!("canary of {kid} for vault under {} at {ORIGIN} {index}", charter.digest());
    let expected = json!({
        "iss": "https://breakglass.example.test", "sub": "breakglass-canary", "aud": AUD,
        "client_id": "breakglass-canary", "iat": NOW, "nbf": NOW, "exp": NOW + 110 * 86_400,
        "jti": Digest::of(name.as_bytes()), "scope": "",
        "breakglass": {"canary": "vault", "charter": charter.digest(), "log": {"origin": ORIGIN, "index": index}},
    });
    let bytes = crate::kit::bytes(&expected);
    let [Event::CanaryAuthorized { claims, iat, exp, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((*claims, *iat, *exp), (Digest::of(&bytes), NOW, NOW + 110 * 86_400));
    let document = charter.document();
    let position = LogPosition { origin: ORIGIN.parse().unwrap(), index };
    let again = CanaryClaims::new(&charter, &document.verifiers[0], &kid, NOW, position);
    assert_eq!(again.to_bytes().unwrap(), bytes);

    // Signed by the key that strict verifiers believe, at the right time, for the right audience: and refused.
    let view = View {
        charter: &charter,
        audience: &AUD.parse().unwrap(),
        now: NOW + 1,
        allow_development: true,
        killed: None,
    };
    let verdict = strict::verify(&key("hsm/1").jwt(&bytes), &view, &mut Seen::default());
    let rejection = verdict.map(|_| ()).unwrap_err();
    assert_eq!(rejection.reason(), "TOKEN_MALFORMED", "{rejection}");
}

#[test]
fn no_canary_is_signed_by_a_killed_key_or_in_a_lockdown() {
    let mut log = furnished_log();
    log.kill("key", Some(&key("hsm/1").kid().to_string()), "alice/1", "the key", NOW).unwrap();
    refused(log.canary("vault", "hsm/1", NOW + 1), "KEY_KILLED");
    let mut log = furnished_log();
    log.kill("all", None, "alice/1", "everything", NOW).unwrap();
    refused(log.canary("vault", "hsm/1", NOW + 1), "LOCKDOWN");
    log.audited();
}

#[test]
fn nobody_is_called_like_a_canary() {
    let mut document = furnished();
    document["persons"][7]["id"] = json!("breakglass-canary");
    document["clients"][0]["subjects"] = json!(["erin"]);
    let error = breakglass::domain::charter::Rules::parse(&crate::kit::payload(&document)).unwrap_err();
    assert!(error.to_string().contains("canaries are called so"), "{error}");
}

/// Whoever holds the database cannot have other claims signed as a canary, nor one that nobody wants.
#[test]
fn a_forged_canary_is_found_by_the_auditor() {
    let mut log = furnished_log();
    log.canary("vault", "hsm/1", NOW).unwrap();
    log.canary_issued("vault", "hsm/1", NOW + 1).unwrap();
    let honest = log.entries.clone();
    audit(&honest, log.pinned).unwrap();
    let at = honest.len() - 2;
    for changes in [
        json!({"claims": Digest::of(b"other claims")}),
        json!({"exp": NOW + 1000 * 86_400}),
        json!({"verifier": "api"}),
        json!({"kid": key("hsm/old").kid()}),
    ] {
        let mut entry: Value = serde_json::from_slice(&honest[at]).unwrap();
        entry["event"] = patch(entry["event"].clone(), changes.clone());
        let mut forged = honest.clone();
        forged[at] = crate::kit::bytes(&entry);
        let (found, _) = audit(&forged, log.pinned).unwrap_err();
        assert!(found == at || found == at + 1, "{changes}");
    }
}
