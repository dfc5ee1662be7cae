//! What a verifier that asks is told, and the end of a token that somebody hands in: by state, charter and time alone.

use breakglass::domain::{
    Command,
    event::Event,
    id::RequestId,
    introspection::{Presented, examine, examine_own},
    replay::Replay,
    request::Outcome,
    state::State,
};
use breakglass::jose::{Digest, GeneralJws, Typ};
use serde_json::{Value, json};

use crate::{
    chain::next,
    kit::{
        AUD, DEVICES, Log, NOW, bytes, charter_of, document, grant, key, nonce, patch, payload, signed_at,
    },
};

fn furnished() -> Value {
    patch(
        document(),
        json!({"verifiers": [
            {"id": "vault", "aud": AUD, "secret": Digest::of(b"vault's")},
            {"id": "writer", "aud": "https://write.example.test", "secret": Digest::of(b"writer's")},
        ]}),
    )
}

/// A log with an issued token.
fn issued() -> (Log, RequestId, String) {
    let mut log = Log::new(&charter_of(&furnished()));
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    let jwt = log.issue(&id, NOW + 11).unwrap();
    (log, id, jwt)
}

/// What vault is told at this second: why it does not count, or that it does.
fn asked(log: &Log, jwt: &str, at: i64, unrecorded: &[GeneralJws]) -> Result<(), &'static str> {
    let charter = log.charter();
    let presented = examine(&charter, &charter.document().verifiers[0], jwt, at)?;
    presented.stands(&log.state, unrecorded, at)
}

fn revoke(log: &mut Log, request: RequestId, by: Option<&str>) -> Result<Vec<Event>, &'static str> {
    let by = by.map(|by| by.parse().unwrap());
    log.run(&Command::Revoke { request, by }, (NOW + 20) * 1000).map_err(|refusal| refusal.reason())
}

fn replayed(log: &Log) -> Result<(), String> {
    let mut replay = Replay::new(log.pinned);
    log.entries.iter().try_for_each(|bytes| replay.next(bytes).map(|_| ())).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_token_counts_from_its_issuance_to_its_end() {
    let mut log = Log::new(&charter_of(&furnished()));
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    log.approve(&id, "alice/1", NOW + 5).unwrap();
    log.approve(&id, "bob/1", NOW + 10).unwrap();
    // The device has signed, and the log does not have it: nobody can have got this one.
    let early = key("hsm/1").jwt(&log.claims(&id).to_bytes().unwrap());
    assert_eq!(asked(&log, &early, NOW + 11, &[]), Err("NOT_ISSUED"));
    let jwt = log.issue(&id, NOW + 11).unwrap();
    assert_eq!(asked(&log, &jwt, NOW + 11, &[]), Ok(()));
    // Another signature over the same claims is the same token: nothing is keyed by signature bytes.
    assert_eq!(asked(&log, &early, NOW + 69, &[]), Ok(()));
    assert_eq!(asked(&log, &jwt, NOW + 70, &[]), Err("TOKEN_TIME"));
    log.run(&Command::Tick, (NOW + 70) * 1000).unwrap();
    assert_eq!(asked(&log, &jwt, NOW + 69, &[]), Err("ENDED"));
}

#[test]
fn a_kill_that_the_log_has_not_taken_counts_like_any_other() {
    let (log, id, jwt) = issued();
    let kill = |level: &str, target: Option<String>| {
        let mut members = json!({"iss": log.charter().document().iss, "charter": log.charter().digest(),
            "id": nonce(level), "level": level, "reason": "seen where it should not be"});
        if let Some(target) = target {
            members["target"] = json!(target);
        }
        key("alice/1").jws(Typ::Kill, &bytes(&members), NOW + 12)
    };
    for hit in [
        kill("all", None),
        kill("jti", Some(id.to_string())),
        kill("key", Some(key("hsm/1").kid().to_string())),
        kill("key", Some(key("bob/1").kid().to_string())),
        kill("requester", Some("erin".into())),
        kill("profile", Some("db-read".into())),
    ] {
        assert_eq!(asked(&log, &jwt, NOW + 12, &[hit]), Err("KILL_UNRECORDED"));
    }
    let others = [kill("jti", Some(Digest::of(b"x").to_string())), kill("requester", Some("dave".into()))];
    assert_eq!(asked(&log, &jwt, NOW + 12, &others), Ok(()));
}

/// What a later charter takes away is gone for whoever asks, as it is for strict verifiers.
#[test]
fn what_a_later_charter_takes_away_is_inactive() {
    let (mut log, _, jwt) = issued();
    let mut document = next(&log.charter());
    document["issuing_keys"][0]["state"] = json!("suspended");
    document["issuing_keys"].as_array_mut().unwrap().push(
        json!({"key": key("hsm/2").jwk(), "profiles": ["db-read", "db-write", "careful"], "state": "active"}),
    );
    let statement = signed_at(&payload(&document), &DEVICES, NOW + 12);
    let signed =
        breakglass::domain::proposal::SignedProposal::verify(statement, &log.charter(), NOW + 12).unwrap();
    let command = Command::Propose { proposal: Box::new(signed), evidence: Vec::new() };
    log.run(&command, (NOW + 12) * 1000).unwrap();
    assert_eq!(log.charter().document().version, 2);
    assert_eq!(asked(&log, &jwt, NOW + 13, &[]), Err("TAKEN_AWAY"));
}

#[test]
fn a_revocation_ends_one_issued_token_and_is_decided_again_by_an_auditor() {
    let (mut log, id, jwt) = issued();
    let pending = log
        .file(&crate::kit::grant_named(&log.charter(), "pending"), "erin/file")
        .map_err(|why| why.reason());
    assert_eq!(pending, Err("CLOCK_REFUSED"), "the kit's requests are filed at NOW");
    assert_eq!(revoke(&mut log, id, Some("writer")), Err("KEY_UNKNOWN"), "not its audience");
    assert_eq!(revoke(&mut log, id, Some("nobody")), Err("KEY_UNKNOWN"));
    assert_eq!(revoke(&mut log, RequestId(Digest::of(b"x")), None), Err("REQUEST_UNKNOWN"));
    let events = revoke(&mut log, id, Some("vault")).unwrap();
    assert!(matches!(&events[..], [Event::TokenRevoked { by: Some(by), .. }] if by.as_str() == "vault"));
    assert_eq!(log.state.closed(&id).unwrap().outcome, Outcome::Revoked);
    assert_eq!(asked(&log, &jwt, NOW + 21, &[]), Err("ENDED"));
    assert_eq!(revoke(&mut log, id, None), Err("WRONG_STATE"));
    assert_eq!(replayed(&log), Ok(()));
    let snapshot = log.state.to_snapshot().unwrap();
    assert_eq!(State::from_snapshot(&snapshot).unwrap(), log.state);
}

#[test]
fn an_authorized_request_cannot_be_handed_in() {
    let mut log = Log::new(&charter_of(&furnished()));
    let id = log.file(&grant(&log.charter()), "erin/file").unwrap();
    assert_eq!(revoke(&mut log, id, None), Err("WRONG_STATE"));
    log.approve(&id, "alice/1", NOW + 25).unwrap();
    log.approve(&id, "bob/1", NOW + 26).unwrap();
    let command = Command::Revoke { request: id, by: None };
    assert_eq!(log.run(&command, (NOW + 27) * 1000).map_err(|why| why.reason()), Err("WRONG_STATE"));
    assert!(log.state.request(&id).is_some());
}

/// Whoever writes the database can end a token, as he can refuse to issue it; not in a verifier's name for another's.
#[test]
fn a_forged_revocation_in_anothers_name_is_found_by_the_auditor() {
    let (mut log, id, _) = issued();
    revoke(&mut log, id, Some("vault")).unwrap();
    let last = log.entries.last_mut().unwrap();
    let forged = String::from_utf8(last.clone()).unwrap().replace("\"by\":\"vault\"", "\"by\":\"writer\"");
    assert_ne!(forged.as_bytes(), &last[..]);
    *last = forged.into_bytes();
    let refused = replayed(&log).unwrap_err();
    assert!(refused.contains("KEY_UNKNOWN"), "{refused}");
}

#[test]
fn whoever_hands_a_token_in_needs_no_audience_but_the_whole_token() {
    let (log, id, jwt) = issued();
    let charter = log.charter();
    let own = |jwt: &str| examine_own(&charter, jwt, NOW + 12);
    assert_eq!(own(&jwt).map(|presented| presented.request()), Ok(Some(id)));
    let (input, _) = jwt.rsplit_once('.').unwrap();
    assert_eq!(own(input).map(|_| ()), Err("COMPACT_MALFORMED"));
    let unsigned = format!("{input}.{}", breakglass::jose::b64::encode(&[7; 64]));
    assert_eq!(own(&unsigned).map(|_| ()), Err("SIGNATURE_INVALID"));
    assert!(matches!(own(&jwt), Ok(Presented::Token { .. })));
}
