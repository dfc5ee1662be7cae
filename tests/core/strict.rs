//! A thief who has the issuing key, the database and the daemon's keys signs whatever he likes; a strict verifier
//! takes none of it. What follows from a grant is computed here a second time, from nothing but JSON.

use breakglass::{
    domain::{
        charter::Charter,
        id::{Audience, RequestId},
        strict::{self, Killed, Rejection, Seen, View},
        time::Timestamp,
    },
    jose::{CompactJwt, Digest, GeneralJws, ProtectedHeader, Signature, TokenAlg, Typ, b64},
};
use serde_json::{Value, json};

use crate::kit::{
    AUD, DEVICES, NOW, bytes, charter, charter_of, document, flow, grant, key, nonce, patch, payload, signed,
};

/// What the thief works with: a grant, the signatures he found or had made, and the time he would like it to be.
#[derive(Clone)]
struct Loot {
    grant: Vec<u8>,
    signatures: Vec<Signature>,
    iat: i64,
}

impl Loot {
    /// The grant of a good flow: approved by alice and bob at `NOW + 5` and `NOW + 10`, minted at once.
    fn good() -> Self {
        Self::of(&grant(&charter()), "erin/file", &["alice/1", "bob/1"])
    }

    /// Any grant that the requester and these devices have really signed.
    fn of(grant: &Value, requester: &str, devices: &[&str]) -> Self {
        let asked = grant["requested_at"].as_i64().unwrap();
        let grant = bytes(grant);
        let mut signatures = vec![key(requester).state(Typ::Request, &grant, asked)];
        signatures.extend(
            (1..).zip(devices).map(|(n, device)| key(device).state(Typ::Approval, &grant, asked + 5 * n)),
        );
        let iat = signatures.last().unwrap().header().iat.max(asked);
        Self { grant, signatures, iat }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The claims that follow, by a second hand.
    fn claims(&self) -> Value {
        let grant: Value = serde_json::from_slice(&self.grant).unwrap();
        let jti = Digest::of(&self.grant);
        let mut words: Vec<String> = Vec::new();
        for detail in grant["authorization_details"].as_array().unwrap() {
            for action in detail["actions"].as_array().unwrap() {
                words.push(format!("{}:{}", detail["type"].as_str().unwrap(), action.as_str().unwrap()));
            }
        }
        words.sort();
        words.dedup();
        let jws = GeneralJws { payload: self.grant.clone(), signatures: self.signatures.clone() };
        let approvals: Value = serde_json::from_slice(&jws.to_json()).unwrap();
        let mut claims = json!({
            "iss": grant["iss"], "sub": grant["sub"], "aud": grant["aud"], "client_id": grant["client_id"],
            "iat": self.iat, "nbf": self.iat, "exp": self.iat + grant["ttl"].as_i64().unwrap(), "jti": jti,
            "scope": words.join(" "), "authorization_details": grant["authorization_details"],
            "acr": "urn:breakglass:acr:quorum", "amr": ["swk"], "cnf": grant["cnf"], "sid": jti,
            "txn": grant["incident"],
            "breakglass": {"profile": grant["profile"], "incident": grant["incident"], "drill": grant["drill"],
                "charter": grant["charter"], "approvals": approvals,
                "log": {"origin": crate::kit::ORIGIN, "index": 4}},
        });
        if grant["sub"] != grant["client_id"] {
            claims["act"] = json!({"sub": grant["client_id"]});
        }
        claims
    }

    /// A token of these claims, under the real issuing key.
    fn mint(&self) -> String {
        key("hsm/1").jwt(&bytes(&self.claims()))
    }

    /// The same after changes to the claims; a dotted name is a path.
    fn mint_with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        let (parents, last) = name.rsplit_once('.').unwrap_or(("", name));
        let mut place = &mut claims;
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            place = &mut place[parent];
        }
        *place = patch(place.clone(), json!({last: value}));
        key("hsm/1").jwt(&bytes(&claims))
    }
}

fn judge_at(jwt: &str, charter: &Charter, audience: &str, now: i64) -> Result<strict::Accepted, Rejection> {
    let audience: Audience = audience.parse().unwrap();
    let view = View { charter, audience: &audience, now, allow_development: true, killed: None };
    strict::verify(jwt, &view, &mut Seen::default())
}

/// The verdict of the database's verifier, a second after the token's `iat`.
fn judge(jwt: &str) -> Result<strict::Accepted, Rejection> {
    judge_at(jwt, &charter(), AUD, NOW + 11)
}

/// Why a token is rejected, in full, so that a test can name the very rule.
fn why(verdict: Result<strict::Accepted, Rejection>) -> String {
    match verdict {
        Ok(_) => "ACCEPTED".to_owned(),
        Err(rejection) => format!("{}: {rejection}", rejection.reason()),
    }
}

#[track_caller]
fn rejected(case: &str, verdict: Result<strict::Accepted, Rejection>, expected: &str) {
    let found = why(verdict);
    assert!(found.contains(expected), "{case}: expected {expected}, found {found}");
}

#[test]
fn a_token_of_a_good_flow_is_accepted_and_is_what_follows() {
    let (log, id, jwt) = flow();
    let accepted = judge(&jwt).unwrap();
    assert_eq!(accepted.claims.jti, id);
    let names: Vec<_> = accepted.approvers.iter().map(breakglass::domain::id::PersonId::as_str).collect();
    assert_eq!(names, ["alice", "bob"]);
    let authorization = log.authorization(&id);
    assert_eq!((authorization.iat, authorization.exp, authorization.index), (NOW + 10, NOW + 70, 4));
    let mine = Loot::good().claims();
    let token = CompactJwt::parse(&jwt, 8000).unwrap();
    assert_eq!(std::str::from_utf8(token.payload()).unwrap(), std::str::from_utf8(&bytes(&mine)).unwrap());
    assert_eq!(Digest::of(token.payload()), authorization.claims);
    println!("a token with two approvals has {} bytes", jwt.len());
    assert!((3_300..4_200).contains(&jwt.len()), "{}", jwt.len());
}

#[test]
fn the_forger_of_these_tests_can_make_good_tokens() {
    assert!(judge(&Loot::good().mint()).is_ok());
    let charter = charter();
    // What the log's position says is not a power: the thief may lie about it, and the auditor sees it.
    assert!(judge(&Loot::good().mint_with("breakglass.log.index", json!(9))).is_ok());
    // A tool that files for a person.
    let change = json!({"client_id": "pager", "requester_key": key("pager/file").kid()});
    let tool = Loot::of(&patch(grant(&charter), change), "pager/file", &["alice/1", "dave/2"]);
    assert_eq!(judge(&tool.mint()).unwrap().claims.act.unwrap().sub.as_str(), "pager");
    // More approvals than needed do no harm.
    assert!(judge(&Loot::of(&grant(&charter), "erin/file", &["alice/1", "bob/1", "carol/2"]).mint()).is_ok());
    // A key that no longer signs is believed until its tokens expire.
    let old = Loot::good();
    assert!(judge(&key("hsm/old").jwt(&bytes(&old.claims()))).is_ok());
}

#[test]
fn no_claim_can_be_changed() {
    let good = Loot::good();
    for (name, value, expected) in [
        ("aud", json!("https://other.example.test"), "AUDIENCE_MISMATCH"),
        ("sub", json!("dave"), "CLAIMS_DIFFER"),
        ("client_id", json!("dave"), "CLAIMS_DIFFER"),
        ("iss", json!("https://other.example.test"), "CLAIMS_DIFFER"),
        ("exp", json!(NOW + 3_600), "CLAIMS_DIFFER"),
        ("nbf", json!(NOW - 3_600), "CLAIMS_DIFFER"),
        ("iat", json!(NOW + 12), "CLAIMS_DIFFER"),
        ("scope", json!("database:read database:write"), "CLAIMS_DIFFER"),
        ("jti", json!(Digest::of(b"another")), "CLAIMS_DIFFER"),
        ("sid", json!(Digest::of(b"another")), "CLAIMS_DIFFER"),
        ("txn", json!("INC-1"), "CLAIMS_DIFFER"),
        ("acr", json!("urn:other"), "CLAIMS_DIFFER"),
        ("amr", json!(["hwk", "pin", "user"]), "CLAIMS_DIFFER"),
        ("act", json!({"sub": "pager"}), "CLAIMS_DIFFER"),
        ("act", json!(null), "ACCEPTED"),
        ("cnf", json!({"jkt": key("thief").kid()}), "CLAIMS_DIFFER"),
        ("cnf", json!({"jkt": key("thief").kid(), "x5t#S256": key("thief").kid()}), "TOKEN_MALFORMED"),
        (
            "authorization_details",
            json!([{"type": "database", "actions": ["explain", "read"],
            "locations": ["pg/prod/orders"]}]),
            "CLAIMS_DIFFER",
        ),
        ("authorization_details", json!([]), "CLAIMS_DIFFER"),
        ("breakglass.profile", json!("db-write"), "CLAIMS_DIFFER"),
        ("breakglass.profile", json!("none"), "ISSUING_KEY_UNKNOWN"),
        ("breakglass.incident", json!("INC-1"), "CLAIMS_DIFFER"),
        ("breakglass.drill", json!(true), "CLAIMS_DIFFER"),
        ("breakglass.charter", json!(Digest::of(b"another")), "CHARTER_MISMATCH"),
        ("breakglass.log.origin", json!("elsewhere.example.test"), "CLAIMS_DIFFER"),
        ("admin", json!(true), "TOKEN_MALFORMED"),
        ("breakglass.admin", json!(true), "TOKEN_MALFORMED"),
        ("nbf", json!(null), "TOKEN_MALFORMED"),
        ("breakglass", json!(null), "TOKEN_MALFORMED"),
        ("exp", json!("never"), "TOKEN_MALFORMED"),
    ] {
        rejected(name, judge(&good.mint_with(name, value)), expected);
    }
    // To the verifier whose name he put in.
    let other = good.mint_with("aud", json!("https://write.example.test"));
    rejected("aud", judge_at(&other, &charter(), "https://write.example.test", NOW + 11), "CLAIMS_DIFFER");
}

#[test]
fn no_token_is_dated_to_another_time() {
    let at = |iat| Loot::good().with(|loot| loot.iat = iat).mint();
    for (iat, now, expected) in [
        (NOW + 10 - 60, NOW + 1, "ACCEPTED"),
        (NOW + 10 - 61, NOW - 1, "MINTED_LATE"),
        (NOW + 10 + 180, NOW + 10 + 180, "ACCEPTED"),
        (NOW + 10 + 181, NOW + 10 + 181, "MINTED_LATE"),
        (NOW + 3_600, NOW + 3_600, "MINTED_LATE"),
        (NOW + 72, NOW + 11, "TOKEN_TIME"),
        (NOW + 71, NOW + 11, "ACCEPTED"),
        (NOW + 10, NOW + 69, "ACCEPTED"),
        (NOW + 10, NOW + 70, "TOKEN_TIME"),
        ((1 << 53) - 100, NOW, "MINTED_LATE"),
        (-(1 << 53) + 100, NOW, "MINTED_LATE"),
    ] {
        rejected(&format!("iat {iat}"), judge_at(&at(iat), &charter(), AUD, now), expected);
    }
    // After the deadline for approvals, though right after an approval.
    let short = Loot::of(
        &patch(grant(&charter()), json!({"expires_at": NOW + 12})),
        "erin/file",
        &["alice/1", "bob/1"],
    );
    assert!(judge(&short.mint()).is_ok());
    rejected(
        "deadline",
        judge_at(&short.with(|loot| loot.iat = NOW + 12).mint(), &charter(), AUD, NOW + 13),
        "MINTED_LATE",
    );
}

#[test]
fn no_grant_can_be_changed_under_its_signatures() {
    let good = Loot::good();
    for (change, by_requester) in [
        (json!({"ttl": 900}), "an approval does not verify"),
        (json!({"sub": "dave", "client_id": "dave"}), "CLIENT_ID_MISMATCH"),
        (json!({"reason": "Orders are stuck!"}), "an approval does not verify"),
        (json!({"cnf": {"jkt": key("thief").kid()}}), "an approval does not verify"),
        (
            json!({"authorization_details": [{"type": "database", "actions": ["explain", "read"],
            "locations": ["pg/prod/orders"]}]}),
            "an approval does not verify",
        ),
        (json!({"expires_at": NOW + 3_600}), "an approval does not verify"),
    ] {
        let value = patch(serde_json::from_slice(&good.grant).unwrap(), change.clone());
        let kept = good.clone().with(|loot| loot.grant = bytes(&value));
        let expected = if by_requester == "CLIENT_ID_MISMATCH" {
            by_requester
        } else {
            "the requester's does not verify"
        };
        rejected(&change.to_string(), judge(&kept.mint()), expected);
        // And with the requester's help.
        let helped = kept.with(|loot| {
            loot.signatures[0] = key("erin/file").state(Typ::Request, &loot.grant, NOW);
        });
        rejected(&change.to_string(), judge(&helped.mint()), by_requester);
    }
}

#[test]
fn no_set_of_signatures_but_a_quorum_counts() {
    let rules = charter();
    let plain = grant(&rules);
    let other = bytes(&patch(plain.clone(), json!({"nonce": nonce("other")})));
    let good = Loot::good();
    let payload = good.grant.clone();
    let add = |signature: Signature| good.clone().with(|loot| loot.signatures.push(signature));
    let second = |signature: Signature| good.clone().with(|loot| loot.signatures[2] = signature);
    let first = |signature: Signature| good.clone().with(|loot| loot.signatures[0] = signature);
    let state = |name: &str, typ| key(name).state(typ, &payload, NOW + 6);
    let dave = patch(
        plain.clone(),
        json!({"sub": "dave", "client_id": "dave", "requester_key": key("dave/file").kid()}),
    );
    let tool = patch(plain.clone(), json!({"client_id": "pager", "requester_key": key("pager/file").kid()}));
    for (case, loot, expected) in [
        ("one approval", good.clone().with(|loot| drop(loot.signatures.pop())), "QUORUM_NOT_MET"),
        ("no approval", good.clone().with(|loot| loot.signatures.truncate(1)), "QUORUM_NOT_MET"),
        ("the same twice", second(good.signatures[1].clone()), "one person approves twice"),
        ("one more of the same", add(good.signatures[1].clone()), "one person approves twice"),
        ("two devices of one person", second(state("alice/2", Typ::Approval)), "one person approves twice"),
        ("the requester", Loot::of(&dave, "dave/file", &["dave/1", "bob/1"]), "somebody behind the request"),
        (
            "the tool's owner",
            Loot::of(&tool, "pager/file", &["carol/1", "bob/1"]),
            "somebody behind the request",
        ),
        ("a denial", second(state("bob/1", Typ::Denial)), "an approval does not verify"),
        ("a withdrawal", second(state("bob/1", Typ::Withdrawal)), "an approval does not verify"),
        ("a charter", second(state("bob/1", Typ::Charter)), "an approval does not verify"),
        ("a denial beside a quorum", add(state("carol/1", Typ::Denial)), "an approval does not verify"),
        (
            "of another grant",
            second(key("bob/1").state(Typ::Approval, &other, NOW + 6)),
            "an approval does not verify",
        ),
        ("a stranger", second(state("mallory", Typ::Approval)), "unknown key"),
        ("a stranger beside a quorum", add(state("mallory", Typ::Approval)), "unknown key"),
        ("a custodian's file key", second(state("dave/file", Typ::Approval)), "no custodian in term"),
        ("a requester's hardware key", second(state("hank/1", Typ::Approval)), "no custodian in term"),
        ("a tool's key", second(state("pager/file", Typ::Approval)), "no custodian in term"),
        ("the issuing key", second(state("hsm/1", Typ::Approval)), "unknown key"),
        (
            "before the request",
            second(key("bob/1").state(Typ::Approval, &payload, NOW - 61)),
            "older than the request",
        ),
        (
            "at a station",
            second(key("bob/1").state_at(Typ::Approval, &payload, NOW + 6, Some("s1"))),
            "at a station",
        ),
        (
            "no request",
            good.clone().with(|loot| drop(loot.signatures.remove(0))),
            "first is not the requester's",
        ),
        (
            "the request last",
            good.clone().with(|loot| loot.signatures.rotate_left(1)),
            "first is not the requester's",
        ),
        ("two requests", add(good.signatures[0].clone()), "an approval does not verify"),
        (
            "a request of another time",
            first(key("erin/file").state(Typ::Request, &payload, NOW + 1)),
            "first is not the requester's",
        ),
        ("a request by another", first(state("dave/file", Typ::Request)), "first is not the requester's"),
        (
            "an approval for a request",
            first(key("erin/file").state(Typ::Approval, &payload, NOW)),
            "the requester's does not verify",
        ),
    ] {
        rejected(case, judge(&loot.mint()), expected);
    }
    let none = good.mint_with("breakglass.approvals.signatures", json!([]));
    rejected("no signatures at all", judge(&none), "TOKEN_MALFORMED");
}

#[test]
fn a_signature_borrowed_for_another_key_id_does_not_count() {
    // bob's header over alice's signature bytes, and the other way round: what counts is the key, not the name.
    let loot = Loot::good().with(|loot| {
        let (alice, bob) = (loot.signatures[1].clone(), loot.signatures[2].clone());
        loot.signatures[2] = Signature::new(bob.protected(), *alice.signature_bytes()).unwrap();
    });
    rejected("swapped", judge(&loot.mint()), "an approval does not verify");
}

#[test]
fn a_person_whose_term_ended_does_not_count() {
    let late = patch(grant(&charter()), json!({"requested_at": NOW + 985, "expires_at": NOW + 2_000}));
    let loot = Loot::of(&late, "erin/file", &["alice/1", "gus/1"]);
    assert!(judge_at(&loot.mint(), &charter(), AUD, NOW + 995).is_ok());
    let after = loot.with(|loot| loot.iat = NOW + 1_000);
    rejected("gus", judge_at(&after.mint(), &charter(), AUD, NOW + 1_000), "no custodian in term");
}

#[test]
fn a_requester_whose_term_ended_gets_nothing() {
    let change = json!({"sub": "ivan", "client_id": "ivan", "requester_key": key("ivan/file").kid(),
        "requested_at": NOW + 985, "expires_at": NOW + 2_000});
    let loot = Loot::of(&patch(grant(&charter()), change), "ivan/file", &["alice/1", "bob/1"]);
    assert!(judge_at(&loot.mint(), &charter(), AUD, NOW + 995).is_ok());
    let after = loot.with(|loot| loot.iat = NOW + 1_000);
    rejected("ivan", judge_at(&after.mint(), &charter(), AUD, NOW + 1_000), "REQUESTER_UNKNOWN");
}

#[test]
fn a_person_for_whom_a_tool_asks_does_not_count() {
    let mut document = document();
    document["clients"][0]["subjects"] = json!(["dave"]);
    document["profiles"].as_array_mut().unwrap().remove(1);
    document["persons"][5] = patch(document["persons"][5].clone(), json!({"term": null}));
    document["issuing_keys"][0]["profiles"] = json!(["careful", "db-read"]);
    let charter = charter_of(&document);
    let change = json!({"sub": "dave", "client_id": "pager", "requester_key": key("pager/file").kid()});
    let asked = patch(grant(&charter), change);
    let loot = Loot::of(&asked, "pager/file", &["alice/1", "bob/1"]);
    assert!(judge_at(&loot.mint(), &charter, AUD, NOW + 11).is_ok());
    let own = Loot::of(&asked, "pager/file", &["alice/1", "dave/1"]);
    rejected("dave", judge_at(&own.mint(), &charter, AUD, NOW + 11), "somebody behind the request");
}

#[test]
fn even_a_quorum_cannot_approve_what_the_charter_does_not_permit() {
    let detail = |change| {
        json!([patch(
            json!({"type": "database", "actions": ["read"], "locations": ["pg/prod/orders"]}),
            change
        )])
    };
    for (change, expected) in [
        (json!({"ttl": 901}), "TTL_TOO_LONG"),
        (json!({"ttl": 0}), "GRANT_MALFORMED"),
        (json!({"expires_at": NOW + 3_601}), "WINDOW_TOO_LONG"),
        (json!({"expires_at": NOW}), "GRANT_MALFORMED"),
        (json!({"authorization_details": detail(json!({"actions": ["drop"]}))}), "DETAILS_NOT_ALLOWED"),
        (json!({"authorization_details": detail(json!({"locations": ["pg/prod"]}))}), "DETAILS_NOT_ALLOWED"),
        (json!({"authorization_details": detail(json!({"type": "host"}))}), "DETAILS_NOT_ALLOWED"),
        (json!({"authorization_details": detail(json!({"identifier": "x"}))}), "DETAILS_NOT_ALLOWED"),
        (json!({"authorization_details": []}), "DETAILS_NOT_ALLOWED"),
        (json!({"profile": "db-write"}), "AUDIENCE_NOT_ALLOWED"),
        (json!({"profile": "careful"}), "REQUESTER_KEY_KIND"),
        (json!({"profile": "unknown"}), "ISSUING_KEY_UNKNOWN"),
        (json!({"charter": Digest::of(b"another")}), "CHARTER_MISMATCH"),
        (json!({"iss": "https://other.example.test"}), "ISSUER_MISMATCH"),
        (json!({"client_id": "dave", "sub": "dave"}), "CLIENT_ID_MISMATCH"),
        (json!({"sub": "dave"}), "SUBJECT_NOT_ALLOWED"),
        (json!({"sub": "nobody"}), "SUBJECT_NOT_ALLOWED"),
        (json!({"requester_key": key("mallory").kid()}), "REQUESTER_UNKNOWN"),
        (
            json!({"requester_key": key("alice/1").kid(), "client_id": "alice", "sub": "alice"}),
            "REQUESTER_UNKNOWN",
        ),
        (json!({"cnf": {"jkt": key("erin/file").kid()}}), "CNF_NOT_ALLOWED"),
        (json!({"cnf": {"jkt": key("alice/1").kid()}}), "CNF_NOT_ALLOWED"),
        (json!({"cnf": {"jkt": key("hsm/1").kid()}}), "CNF_NOT_ALLOWED"),
        (json!({"cnf": {"x5t#S256": Digest::of(b"mallory's certificate")}}), "CNF_NOT_ALLOWED"),
        (json!({"cnf": {"x5t#S256": Digest::of(b"erin's certificate")}}), "ACCEPTED"),
        (json!({"redeem_key": key("erin/file").jwk()}), "REDEEM_KEY_NOT_FRESH"),
        (json!({"redeem_key": key("a grant/cnf").jwk()}), "REDEEM_KEY_NOT_FRESH"),
    ] {
        let asked = patch(grant(&charter()), change.clone());
        let requester =
            if change["requester_key"] == json!(key("alice/1").kid()) { "alice/1" } else { "erin/file" };
        let loot = Loot::of(&asked, requester, &["alice/1", "bob/1"]);
        rejected(&change.to_string(), judge(&loot.mint()), expected);
    }
}

#[test]
fn only_keys_of_the_charter_sign_for_a_profile() {
    let good = bytes(&Loot::good().claims());
    for (name, expected) in [
        ("hsm/bad", "ISSUING_KEY_UNKNOWN"),
        ("alice/1", "ISSUING_KEY_UNKNOWN"),
        ("erin/file", "ISSUING_KEY_UNKNOWN"),
        ("only in JWKS", "ISSUING_KEY_UNKNOWN"),
    ] {
        rejected(name, judge(&key(name).jwt(&good)), expected);
    }
    // A key of the charter, but not for this profile.
    let change = json!({"profile": "careful", "sub": "hank", "client_id": "hank", "requester_key": key("hank/1").kid()});
    let careful = Loot::of(&patch(grant(&charter()), change), "hank/1", &["alice/1", "bob/1"]);
    let mut claims = careful.claims();
    claims["amr"] = json!(["hwk", "pin", "user"]);
    assert!(judge(&key("hsm/1").jwt(&bytes(&claims))).is_ok());
    rejected("hsm/old", judge(&key("hsm/old").jwt(&bytes(&claims))), "ISSUING_KEY_UNKNOWN");
    // Another key's name over the right bytes.
    let input = CompactJwt::signing_input(TokenAlg::Es256, &key("hsm/1").kid(), &good);
    let forged = CompactJwt::assemble(&input, &key("hsm/old").sign(input.as_bytes()));
    rejected("kid", judge(&forged), "SIGNATURE_INVALID");
}

#[test]
fn no_other_header_is_read() {
    let kid = key("hsm/1").kid();
    let claims = b64::encode(&bytes(&Loot::good().claims()));
    for header in [
        json!({"alg": "none", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "HS256", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES384", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "JWT"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "application/at+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid}).to_string(),
        json!({"alg": "ES256", "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "crit": ["exp"], "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "b64": false, "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "jwk": key("hsm/1").jwk(), "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "jku": "https://x.test", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "at+jwt", "x5c": []}).to_string(),
        format!(r#"{{"typ":"at+jwt","kid":"{kid}","alg":"ES256"}}"#),
        format!(r#"{{"alg":"ES256", "kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"none","alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
    ] {
        let input = format!("{}.{claims}", b64::encode(header.as_bytes()));
        let jwt = CompactJwt::assemble(&input, &key("hsm/1").sign(input.as_bytes()));
        rejected(&header, judge(&jwt), "TOKEN_MALFORMED");
    }
    let jwt = Loot::good().mint();
    for wrong in [
        String::new(),
        "..".to_owned(),
        jwt.replacen('.', "", 1),
        format!("{jwt}."),
        format!("{jwt}="),
        format!(" {jwt}"),
        format!("{}.", jwt.rsplit_once('.').unwrap().0),
        "A".repeat(8_001),
    ] {
        rejected(&wrong, judge(&wrong), "TOKEN_MALFORMED");
    }
    // A statement is no token, and its signature no signature of one.
    let statement = key("hsm/1").jws(Typ::Approval, &bytes(&Loot::good().claims()), NOW);
    let compact = CompactJwt::assemble(
        &format!("{}.{claims}", statement.signatures[0].protected()),
        statement.signatures[0].signature_bytes(),
    );
    rejected("a statement", judge(&compact), "TOKEN_MALFORMED");
}

#[test]
fn payloads_have_one_text() {
    let good = bytes(&Loot::good().claims());
    let text = String::from_utf8(good).unwrap();
    for (case, changed) in [
        ("white space", text.replacen(':', ": ", 1)),
        ("an escape", text.replacen("INC-42", "INC\\u002d42", 1)),
        ("a member twice", text.replacen("{\"acr\"", "{\"acr\":\"x\",\"acr\"", 1)),
        ("a float", text.replacen("\"drill\":false", "\"drill\":0.0", 1)),
        ("a null", text.replacen("\"amr\"", "\"act\":null,\"amr\"", 1)),
        ("more behind", format!("{text} ")),
        ("an action twice", text.replacen("[\"read\"]", "[\"read\",\"read\"]", 1)),
    ] {
        assert_ne!(changed, text, "{case}");
        let verdict = judge(&key("hsm/1").jwt(changed.as_bytes()));
        assert!(verdict.is_err(), "{case}");
    }
}

#[test]
fn a_grant_in_another_text_is_not_a_grant() {
    // All of these mean the same to a lax reader; all but the first are signed by everybody here, and still refused.
    let text = String::from_utf8(bytes(&grant(&charter()))).unwrap();
    let detail = r#""actions":["read"],"locations":["pg/prod/orders"]"#;
    for (case, changed, expected) in [
        ("itself", text.clone(), "ACCEPTED"),
        ("an action twice", text.replacen("[\"read\"]", "[\"read\",\"read\"]", 1), "GRANT_MALFORMED"),
        ("actions out of order", text.replacen("[\"read\"]", "[\"read\",\"explain\"]", 1), "GRANT_MALFORMED"),
        (
            "a null",
            text.replacen(detail, &detail.replacen(",\"loc", ",\"identifier\":null,\"loc", 1), 1),
            "GRANT_MALFORMED",
        ),
        ("white space", text.replacen(':', ": ", 1), "GRANT_MALFORMED"),
    ] {
        let payload = changed.clone().into_bytes();
        let loot = Loot {
            signatures: vec![
                key("erin/file").state(Typ::Request, &payload, NOW),
                key("alice/1").state(Typ::Approval, &payload, NOW + 5),
                key("bob/1").state(Typ::Approval, &payload, NOW + 10),
            ],
            grant: payload,
            iat: NOW + 10,
        };
        let mut claims = loot.claims();
        let lax: Value = serde_json::from_str(&changed).unwrap();
        claims["authorization_details"] = lax["authorization_details"].clone();
        rejected(case, judge(&key("hsm/1").jwt(&bytes(&claims))), expected);
    }
}

#[test]
fn one_jti_has_one_iat() {
    let (charter, audience): (_, Audience) = (charter(), AUD.parse().unwrap());
    let mut seen = Seen::default();
    let mut judge = |jwt: &str, now| {
        let view =
            View { charter: &charter, audience: &audience, now, allow_development: true, killed: None };
        strict::verify(jwt, &view, &mut seen)
    };
    let good = Loot::good();
    let again = good.clone().with(|loot| loot.iat += 30);
    assert!(judge(&good.mint(), NOW + 11).is_ok());
    assert!(judge(&good.mint(), NOW + 12).is_ok(), "the same token is used many times");
    assert_eq!(judge(&again.mint(), NOW + 41).unwrap_err(), Rejection::MintedTwice);
    // Even when the first has expired meanwhile.
    let late = good.clone().with(|loot| loot.iat += 170);
    assert_eq!(judge(&late.mint(), NOW + 181).unwrap_err().reason(), "MINTED_TWICE");
}

#[test]
fn charters_bound_what_they_can_carry() {
    let jwt = Loot::good().mint();
    let charter = charter();
    let audience: Audience = AUD.parse().unwrap();
    let view = View {
        charter: &charter,
        audience: &audience,
        now: NOW + 11,
        allow_development: false,
        killed: None,
    };
    rejected("development", strict::verify(&jwt, &view, &mut Seen::default()), "DEVELOPMENT_CHARTER");
    rejected("expired", judge_at(&jwt, &charter, AUD, NOW + 80 * 86_400), "CHARTER_NOT_IN_FORCE");
    rejected("not yet", judge_at(&jwt, &charter, AUD, NOW - 3_661), "CHARTER_NOT_IN_FORCE");
    // Another charter, be it as good as the one in force: its quorum is not this one's.
    let mut document = document();
    document["nonce"] = json!(nonce("another"));
    document["profiles"][0]["max_ttl"] = json!(86_400);
    let other = charter_of(&document);
    let loot = Loot::of(&grant(&other), "erin/file", &["alice/1", "bob/1"]);
    assert!(judge_at(&loot.mint(), &other, AUD, NOW + 11).is_ok());
    rejected("another charter", judge(&loot.mint()), "CHARTER_MISMATCH");
    rejected("another verifier", judge_at(&jwt, &other, AUD, NOW + 11), "CHARTER_MISMATCH");
    rejected(
        "another audience",
        judge_at(&jwt, &charter, "https://write.example.test", NOW + 11),
        "AUDIENCE_MISMATCH",
    );
}

#[test]
fn killed_tokens_and_stale_views_are_refused() {
    let good = Loot::good();
    let (charter, audience): (_, Audience) = (charter(), AUD.parse().unwrap());
    let judge = |killed: &Killed| {
        let view = View {
            charter: &charter,
            audience: &audience,
            now: NOW + 11,
            allow_development: true,
            killed: Some(killed),
        };
        why(strict::verify(&good.mint(), &view, &mut Seen::default()))
    };
    let mut killed = Killed { as_of: NOW + 1, max_stale: 10, kills: std::sync::Arc::default() };
    let kill = |killed: &mut Killed, id: RequestId, tag: &str| {
        let payload = crate::kill::kill(&charter, "jti", Some(&id.to_string()), tag);
        let statement = key("carol/1").jws(Typ::Kill, &bytes(&payload), NOW);
        std::sync::Arc::make_mut(&mut killed.kills)
            .learn(statement, &charter, 1, Timestamp::from_seconds(NOW))
            .unwrap();
    };
    kill(&mut killed, RequestId(Digest::of(b"another")), "another");
    assert_eq!(judge(&killed), "ACCEPTED");
    kill(&mut killed, RequestId(Digest::of(&good.grant)), "this");
    assert!(judge(&killed).starts_with("TOKEN_KILLED"));
    killed.as_of = NOW;
    assert!(judge(&killed).starts_with("KILL_VIEW_STALE"));
    // A view from the future is no fresh view.
    killed = Killed { as_of: i64::MAX, max_stale: 10, kills: std::sync::Arc::default() };
    assert!(judge(&killed).starts_with("KILL_VIEW_STALE"));
}

/// Without the issuing key: whatever byte of a token is changed, it is no token any more.
#[test]
fn no_byte_of_a_token_can_be_changed() {
    let jwt = Loot::good().mint();
    let charter = charter();
    for at in 0..jwt.len() {
        let mut bytes = jwt.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(bytes).unwrap();
        assert!(judge_at(&text, &charter, AUD, NOW + 11).is_err(), "byte {at}");
    }
}

/// With the issuing key: whatever byte of the claims is changed and signed again, only the log's index may differ.
#[test]
fn no_byte_of_the_claims_can_be_changed_and_signed_again() {
    let good = bytes(&Loot::good().claims());
    let charter = charter();
    let index = String::from_utf8(good.clone()).unwrap().find("\"index\":4").unwrap() + 8;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= [1, 2, 4, 0x20, 0x80][at % 5];
        let verdict = judge_at(&key("hsm/1").jwt(&bytes), &charter, AUD, NOW + 11);
        assert!(verdict.is_err() || at == index, "byte {at}");
    }
}

/// (r, -s) is as good a signature as (r, s): the same statement, so nothing is keyed by signature bytes.
#[test]
fn the_other_form_of_a_signature_is_the_same_statement() {
    let order = p256::elliptic_curve::bigint::U256::from_be_hex(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    );
    let mut loot = Loot::good();
    let original = loot.signatures[2].clone();
    let mut bytes = *original.signature_bytes();
    let s = p256::elliptic_curve::bigint::U256::from_be_slice(&bytes[32..]);
    let negated = order.wrapping_sub(&s);
    bytes[32..].copy_from_slice(&p256::elliptic_curve::bigint::ArrayEncoding::to_be_byte_array(&negated));
    let twin = Signature::new(original.protected(), bytes).unwrap();
    assert_ne!(twin.signature_bytes(), original.signature_bytes());
    loot.signatures[2] = twin.clone();
    assert_eq!(judge(&loot.mint()).unwrap().approvers.len(), 2);
    loot.signatures = vec![loot.signatures[0].clone(), original, twin];
    rejected("both forms", judge(&loot.mint()), "one person approves twice");
}

#[test]
fn headers_of_approvals_are_as_strict() {
    let good = Loot::good();
    let header = |members: Value| b64::encode(&bytes(&members));
    let kid = key("bob/1").kid();
    let typ = "breakglass-approval+jws";
    for members in [
        json!({"alg": "ES256", "iat": NOW, "kid": kid, "typ": typ, "b64": false}),
        json!({"alg": "ES256", "iat": NOW, "kid": kid, "typ": typ, "crit": []}),
        json!({"alg": "ES256", "iat": NOW, "kid": kid, "typ": typ, "jwk": key("bob/1").jwk()}),
        json!({"alg": "none", "iat": NOW, "kid": kid, "typ": typ}),
        json!({"alg": "ES256", "kid": kid, "typ": typ}),
        json!({"alg": "ES256", "iat": NOW, "kid": kid, "typ": "breakglass-unknown+jws"}),
        json!({"alg": "ES256", "iat": NOW, "kid": kid, "typ": typ, "station": ""}),
    ] {
        let protected = header(members.clone());
        let signature = key("bob/1").sign(&Signature::signing_input(&protected, &good.grant));
        let forged = json!({"protected": protected, "signature": b64::encode(&signature)});
        let mut claims = good.claims();
        claims["breakglass"]["approvals"]["signatures"][2] = forged;
        rejected(&members.to_string(), judge(&key("hsm/1").jwt(&bytes(&claims))), "TOKEN_MALFORMED");
    }
    let mut claims = good.claims();
    claims["breakglass"]["approvals"]["signatures"][2]["header"] = json!({"kid": kid});
    rejected("an unprotected header", judge(&key("hsm/1").jwt(&bytes(&claims))), "TOKEN_MALFORMED");
    let encoded = ProtectedHeader { kid, typ: Typ::Approval, iat: NOW, station: None }.encode().unwrap();
    assert!(Signature::new(encoded, [1; 64]).is_ok());
}

#[test]
fn a_charter_of_the_thiefs_own_is_not_the_pinned_one() {
    let mut document = document();
    document["nonce"] = json!(nonce("thief"));
    let payload = payload(&document);
    let pinned = charter().digest();
    let error = Charter::genesis(signed(&payload, &DEVICES), pinned).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_NOT_PINNED");
}
