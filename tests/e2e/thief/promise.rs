//! Tokens that the thief has the real issuing key sign.
//!
//! Strict verification refuses each, for the reason named here. A lax verifier accepts most: SECURITY.md says so, and
//! it is asserted here as well, so that it stays true or gets better knowingly.

use breakglass::{
    domain::strict::{Rejection, Seen},
    jose::{GeneralJws, Signature, Typ, b64, jwe},
};
use serde_json::{Value, json};

use crate::{
    client::secret,
    kit,
    wish::Wish,
    world::{World, canonical, now},
};

fn signatures(wish: &Wish, devices: &[&str]) -> Vec<Signature> {
    devices.iter().flat_map(|device| wish.verdict(device, Typ::Approval).signatures).collect()
}

/// A world with a running daemon, the requester's and the custodians' genuine statements, and a thief in it.
struct Scene {
    world: World,
    tokens: Vec<(String, String)>,
}

impl Scene {
    fn new() -> Self {
        Self { world: World::new(), tokens: Vec::new() }
    }

    /// Mints these claims; strict verification has to refuse the token for this reason.
    #[track_caller]
    fn refused(&mut self, what: &str, reason: &str, claims: &Value) {
        let jwt = self.world.mint(&canonical(claims));
        let rejection = self.world.verify(&jwt).expect_err(what);
        assert_eq!(rejection.reason(), reason, "{what}: {rejection}");
        self.tokens.push((what.to_owned(), jwt));
    }

    /// What verifiers accept that look at signature, audience and times alone.
    fn lax_accepts_all_but(&self, exceptions: &[(&str, &str)]) {
        let tokens: Vec<&str> = self.tokens.iter().map(|(_, jwt)| jwt.as_str()).collect();
        for ((what, _), verdict) in self.tokens.iter().zip(self.world.lax(&tokens)) {
            let exception = exceptions.iter().find(|(name, _)| name == what);
            assert_eq!(verdict, exception.map_or("accepted", |(_, error)| error), "{what}");
        }
    }
}

#[test]
fn promise_1_without_a_quorum_the_issuing_key_signs_nothing_that_a_strict_verifier_accepts() {
    let mut scene = Scene::new();
    let (mine, other) = (scene.world.wish(json!({})), scene.world.wish(json!({})));
    let now = now();
    let claims = |scene: &Scene, approvals| scene.world.claims(&mine, approvals, now);

    let jwt = scene.world.mint(&canonical(&claims(&scene, signatures(&mine, &["alice/1", "bob/1"]))));
    scene.world.verify(&jwt).expect("with a quorum the same tool makes what the daemon would make");

    let none = claims(&scene, vec![]);
    scene.refused("no approval", "QUORUM_NOT_MET", &none);
    let one = claims(&scene, signatures(&mine, &["alice/1"]));
    scene.refused("one approval of two", "QUORUM_NOT_MET", &one);
    let copied = claims(&scene, signatures(&other, &["alice/1", "bob/1"]));
    scene.refused("approvals of another grant", "STATEMENTS_INVALID", &copied);
    let strangers = claims(&scene, signatures(&mine, &["mallory/1", "mallory/2"]));
    scene.refused("approvals by the thief's own keys", "STATEMENTS_INVALID", &strangers);
    let mixed = claims(&scene, signatures(&mine, &["alice/1", "mallory/1"]));
    scene.refused("one approval, and one by the thief", "STATEMENTS_INVALID", &mixed);
    let denial = [signatures(&mine, &["alice/1"]), mine.verdict("bob/1", Typ::Denial).signatures].concat();
    let denial = claims(&scene, denial);
    scene.refused("a denial in an approval's place", "STATEMENTS_INVALID", &denial);
    let files = claims(&scene, signatures(&mine, &["erin/file", "dave/file"]));
    scene.refused("approvals by file keys", "STATEMENTS_INVALID", &files);
    let mut unsigned = claims(&scene, signatures(&mine, &["alice/1", "bob/1"]));
    unsigned["breakglass"]["approvals"]["signatures"].as_array_mut().unwrap().remove(0);
    scene.refused("approvals that nobody asked for", "STATEMENTS_INVALID", &unsigned);
    let mut bare = claims(&scene, vec![]);
    bare.as_object_mut().unwrap().remove("breakglass");
    scene.refused("an ordinary access token", "TOKEN_MALFORMED", &bare);
    scene.lax_accepts_all_but(&[]);
}

#[test]
fn promise_1_a_genuine_token_cannot_be_widened_redirected_or_made_somebody_elses() {
    let mut scene = Scene::new();
    let daemon = scene.world.start();
    let client = scene.world.client("erin/file");
    let wish = scene.world.wish(json!({"ttl": 60}));
    let jwt = wish.grant_all(&client).unwrap();
    let genuine: Value =
        serde_json::from_slice(&b64::decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let exp = genuine["exp"].as_i64().unwrap();
    let changed = |changes| kit::patch(genuine.clone(), changes);

    let wide = json!([{"type": "database", "actions": ["drop"], "locations": ["pg/prod/users"]}]);
    scene.refused("wider details", "CLAIMS_DIFFER", &changed(json!({"authorization_details": wide})));
    scene.refused("a wider scope", "CLAIMS_DIFFER", &changed(json!({"scope": "database:drop"})));
    scene.refused("another subject", "CLAIMS_DIFFER", &changed(json!({"sub": "mallory"})));
    scene.refused("a longer life", "CLAIMS_DIFFER", &changed(json!({"exp": exp + 3600})));
    scene.refused("an earlier beginning", "CLAIMS_DIFFER", &changed(json!({"nbf": 0})));
    let jkt = json!({"cnf": {"jkt": kit::key("mallory").kid()}});
    scene.refused("bound to the thief's key", "CLAIMS_DIFFER", &changed(jkt));
    scene.refused("another jti", "CLAIMS_DIFFER", &changed(json!({"jti": scene.world.wish(json!({})).id()})));
    scene.refused(
        "for another verifier",
        "AUDIENCE_MISMATCH",
        &changed(json!({"aud": "https://other.example.test"})),
    );
    scene.refused("an administrator", "TOKEN_MALFORMED", &changed(json!({"admin": true})));
    let mut private = genuine.clone();
    private["breakglass"]["profile"] = json!("db-write");
    scene.refused("another profile", "CLAIMS_DIFFER", &private);
    private["breakglass"] = genuine["breakglass"].clone();
    private["breakglass"]["log"]["origin"] = json!("log.example.test/other");
    scene.refused("another log", "CLAIMS_DIFFER", &private);
    // The grant inside, changed together with all claims that follow from it.
    for changes in [json!({"ttl": 900}), json!({"reason": "None of your business"})] {
        let mut forged = wish.clone();
        forged.grant = kit::patch(wish.grant.clone(), changes);
        forged.payload = canonical(&forged.grant);
        let approvals: GeneralJws =
            serde_json::from_value(genuine["breakglass"]["approvals"].clone()).unwrap();
        let statement = GeneralJws { payload: forged.payload.clone(), ..approvals };
        let claims = scene.world.claims_with(&forged, statement, genuine["iat"].as_i64().unwrap());
        scene.refused("another grant", "STATEMENTS_INVALID", &claims);
    }
    scene.lax_accepts_all_but(&[("for another verifier", "InvalidAudienceError")]);

    // The same by keys that are not, or not any more, the charter's.
    let payload = canonical(&genuine);
    let reason = |jwt: String| scene.world.verify(&jwt).unwrap_err().reason();
    assert_eq!(reason(kit::key("mallory").jwt(&payload)), "ISSUING_KEY_UNKNOWN");
    assert_eq!(
        reason(kit::key("hsm/bad").jwt(&payload)),
        "ISSUING_KEY_UNKNOWN",
        "a compromised key is no key"
    );
    let (head, _) = jwt.rsplit_once('.').unwrap();
    let other = scene.world.mint(b"{}");
    assert_eq!(reason(format!("{head}.{}", other.rsplit('.').next().unwrap())), "SIGNATURE_INVALID");
    assert!(daemon.stop().success());
}

#[test]
fn promise_1_a_spent_quorum_mints_no_second_token_and_none_of_another_time() {
    let mut scene = Scene::new();
    let _daemon = scene.world.start();
    let client = scene.world.client("erin/file");
    let wish = scene.world.wish(json!({"ttl": 900}));
    let jwt = wish.grant_all(&client).unwrap();
    let genuine: Value =
        serde_json::from_slice(&b64::decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let approvals: GeneralJws = serde_json::from_value(genuine["breakglass"]["approvals"].clone()).unwrap();
    let iat = genuine["iat"].as_i64().unwrap();
    let again = |at: i64| canonical(&scene.world.claims_with(&wish, approvals.clone(), at));

    // Within the time in which the daemon itself might have minted, the second token is refused by whoever saw the first:
    // that both are around proves the abuse of the key.
    let second = scene.world.mint(&again(iat + 1));
    let mut seen = Seen::default();
    scene.world.verify_at(&jwt, iat + 2, &mut seen).unwrap();
    let rejection = scene.world.verify_at(&second, iat + 2, &mut seen).unwrap_err();
    assert_eq!(rejection, Rejection::MintedTwice);
    scene.world.verify_at(&jwt, iat + 2, &mut seen).expect("the first is still good");

    // Later, nobody accepts one, whatever he has seen.
    for late in [200, 590, 3600] {
        let minted = scene.world.mint(&again(iat + late));
        let rejection = scene.world.verify_at(&minted, iat + late + 1, &mut Seen::default()).unwrap_err();
        assert_eq!(rejection, Rejection::MintedLate, "{late} seconds later");
    }
    let early = scene.world.mint(&again(iat - 300));
    let rejection = scene.world.verify_at(&early, iat, &mut Seen::default()).unwrap_err();
    assert_eq!(rejection, Rejection::MintedLate, "dated before its approvals");
    let future = scene.world.mint(&again(iat + 100));
    assert_eq!(scene.world.verify_at(&future, iat + 1, &mut Seen::default()).unwrap_err(), Rejection::Time);
    scene.tokens.push(("a second token".into(), second));
    scene.lax_accepts_all_but(&[]);
}

/// The same signature with the other of the two `s` that verify.
fn malleated(signature: &Signature) -> Signature {
    let parsed = p256::ecdsa::Signature::from_slice(signature.signature_bytes()).unwrap();
    let (r, s) = parsed.split_scalars();
    let other = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    Signature::new(signature.protected().to_owned(), other.to_bytes().into()).unwrap()
}

#[test]
fn promise_2_nobody_approves_for_himself_and_nobody_counts_twice() {
    let mut scene = Scene::new();
    let world = &scene.world;
    let now = now();
    let mine = world.wish(json!({}));
    let of_dave = world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"}));
    let of_pager = world.wish_by("pager/file", json!({"client_id": "pager"}));
    let alice = signatures(&mine, &["alice/1"]);
    let twice = [alice.clone(), vec![malleated(&alice[0])]].concat();
    let cases = [
        ("one person with two devices", world.claims(&mine, signatures(&mine, &["alice/1", "alice/2"]), now)),
        ("one key that signs twice", world.claims(&mine, signatures(&mine, &["alice/1", "alice/1"]), now)),
        ("one signature in two forms", world.claims(&mine, twice, now)),
        ("the requester himself", world.claims(&of_dave, signatures(&of_dave, &["dave/1", "alice/1"]), now)),
        (
            "the owner of the tool that asks",
            world.claims(&of_pager, signatures(&of_pager, &["carol/1", "bob/1"]), now),
        ),
    ];
    for (what, claims) in &cases {
        scene.refused(what, "STATEMENTS_INVALID", claims);
    }
    scene.lax_accepts_all_but(&[]);
}

#[test]
fn promise_5_a_token_is_short_scoped_bound_and_opens_for_its_requester_alone() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 30}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let waited = now() + 2;
    testkit::wait_for("time to pass", crate::world::DEADLINE, || (now() > waited).then_some(()));
    wish.approve(&client, "bob/1").unwrap();
    let (jwe, _) = client.redeem(&wish.statement("erin/file", Typ::Redeem), 30_000).unwrap();
    let jwt = wish.open(&jwe);
    let claims = world.verify(&jwt).unwrap().claims;
    assert!(claims.iat >= waited, "its life begins at minting, not when it was asked for");
    assert_eq!(claims.exp - claims.iat, 30);
    assert_eq!(
        serde_json::to_value(claims.cnf).unwrap(),
        wish.grant["cnf"],
        "bound to the requester's fresh key"
    );
    assert_eq!(
        serde_json::to_value(&claims.authorization_details).unwrap(),
        wish.grant["authorization_details"]
    );
    assert_eq!(claims.aud.as_str(), kit::AUD);
    let at = |now| world.verify_at(&jwt, now, &mut Seen::default()).map(drop);
    assert_eq!(at(claims.exp - 1), Ok(()));
    assert_eq!(at(claims.exp), Err(Rejection::Time), "no grace after exp");
    for key in ["erin/file", "dave/file", "hsm/1", "mallory"] {
        assert!(jwe::decrypt(&jwe, &secret(key)).is_err(), "{key} opens it");
    }
}
