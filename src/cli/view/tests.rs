//! The texts that people decide by, pinned.

use serde_json::json;

use super::*;
use crate::{
    cli::{
        fixture::{self, ALICE, BOB, BOT, CAROL, NOW},
        kill::known::Known,
        review::Reviewed,
    },
    domain::{
        grant::Reason,
        id::{KillId, Nonce},
        kill::{Kill, Target},
    },
    grpc::v1,
    jose::Typ,
};

#[test]
fn a_request_before_anybody_has_spoken() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let reviewed = Reviewed::new(&rules, &jws.to_json(), &id).unwrap();
    insta::assert_snapshot!(grant::describe(&reviewed, &rules, NOW));
}

#[test]
fn a_request_with_everything_unusual() {
    let mut document = fixture::document();
    document["development"] = json!(true);
    document["expires_at"] = json!(NOW + 3 * 86_400);
    document["persons"][0]["certificates"] = json!([crate::jose::Digest::of(b"certificate")]);
    document["profiles"][0]["stations"] = json!(true);
    let rules = fixture::rules_of(&document);
    let mut asked = fixture::grant(&rules);
    asked["client_id"] = json!("incident-bot");
    asked["requester_key"] = json!(fixture::key(BOT).public.thumbprint());
    asked["cnf"] = json!({"x5t#S256": crate::jose::Digest::of(b"certificate")});
    asked["ttl"] = json!(900);
    asked["drill"] = json!(true);
    asked["requested_at"] = json!(NOW + 30);
    asked["expires_at"] = json!(NOW + 200);
    let (id, jws) = fixture::request(&asked, BOT);
    let jws = fixture::said(&jws, BOB, Typ::Approval, Some("war-room-1"));
    let jws = fixture::said(&jws, CAROL, Typ::Denial, None);
    let reviewed = Reviewed::new(&rules, &jws.to_json(), &id).unwrap();
    insta::assert_snapshot!(grant::describe(&reviewed, &rules, NOW));
}

#[test]
fn a_charter() {
    let mut document = fixture::document();
    document["profiles"][0]["cooldown"] = json!(600);
    document["persons"][4]["term"] = json!({"from": NOW - 10, "until": NOW + 40 * 86_400});
    let rules = fixture::rules_of(&document);
    let states = charter::signatures(&rules, None);
    insta::assert_snapshot!(format!(
        "{}\n{}",
        charter::describe(&rules, NOW),
        charter::signatures_text(&states)
    ));
}

#[test]
fn a_signature_of_a_charter_counts_only_where_it_verifies() {
    let rules = fixture::rules();
    let payload = crate::jose::json::canonical(&fixture::document()).unwrap();
    let good = fixture::signature(BOB, Typ::Charter, &payload, NOW, None);
    let of_another = fixture::signature(CAROL, Typ::Charter, b"{}", NOW, None);
    let jws = crate::jose::GeneralJws { payload, signatures: vec![good, of_another] };
    let states = charter::signatures(&rules, Some(&jws));
    let signed: Vec<&str> =
        states.iter().filter(|state| state.signed_at.is_some()).map(|state| state.person.as_str()).collect();
    assert_eq!(signed, ["bob"]);
    assert_eq!(states.len(), 5);
}

#[test]
fn a_request_and_what_the_daemon_says() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let jws = fixture::said(&jws, BOB, Typ::Approval, None);
    let jws = fixture::said(&jws, CAROL, Typ::Approval, None);
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = v1::Request {
        request_id: id.to_string(),
        state: v1::RequestState::Failed.into(),
        jws: jws.to_json(),
        ended_at: time(NOW - 10),
        failure: Some(v1::Failure { reason: "HSM\u{1b}[2J".into(), message: "the HSM\ndid not sign".into() }),
        ..Default::default()
    };
    let reviewed = Reviewed::new(&rules, &request.jws, &id).unwrap();
    let shown = request::describe(&request, &reviewed, &rules, NOW);
    assert!(!shown.contains('\u{1b}'), "foreign text is escaped");
    insta::assert_snapshot!(shown);
    let mut document = request::json(&request, Some(&reviewed));
    assert_eq!(document["jws"], crate::jose::b64::encode(&jws.to_json()));
    document["jws"] = json!("the bytes");
    insta::assert_json_snapshot!(document);
}

#[test]
fn a_list_says_which_requests_do_not_verify() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let request = v1::Request {
        request_id: id.to_string(),
        state: v1::RequestState::Pending.into(),
        jws: jws.to_json(),
        ..Default::default()
    };
    let reviewed = Reviewed::new(&rules, &request.jws, &id).unwrap();
    let ended = v1::Request {
        request_id: id.to_string(),
        state: v1::RequestState::Lapsed.into(),
        subject: "alice".into(),
        profile: "db-read".into(),
        ..Default::default()
    };
    let rows = vec![
        request::row(&request, Some(&reviewed), NOW),
        request::row(&request, None, NOW),
        request::row(&ended, None, NOW),
    ];
    insta::assert_snapshot!(crate::cli::text::table(&request::HEAD, &rows));
}

#[test]
fn what_each_kill_stops() {
    let id = fixture::request(&fixture::grant(&fixture::rules()), ALICE).0;
    let kid = fixture::key(30).public.thumbprint();
    let targets = [
        Target::Jti(id),
        Target::Requester("alice".parse().unwrap()),
        Target::Profile("db-read".parse().unwrap()),
        Target::Key(kid),
        Target::All,
    ];
    let texts: Vec<String> = targets.iter().map(kill::effect).collect();
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn what_is_killed_and_what_does_not_verify() {
    let rules = fixture::rules();
    let killed = |seed: u8, target: Target, reason: &str, recorded: bool| {
        let (iss, charter) = (rules.document().iss.clone(), rules.digest());
        let id = KillId(Nonce::from_random([seed + u8::from(recorded); 16]));
        let reason = Reason::new(reason.to_owned()).unwrap();
        let payload = Kill { iss, charter, id, target, reason }.to_bytes().unwrap();
        let signatures = vec![fixture::signature(seed, Typ::Kill, &payload, NOW - 60, None)];
        let at = prost_types::Timestamp { seconds: NOW - 60, nanos: 0 };
        let jws = crate::jose::GeneralJws { payload, signatures }.to_json();
        v1::Kill { jws, epoch: seed.into(), recorded_at: recorded.then_some(at), head: None }
    };
    let answer = v1::GetKillsResponse {
        epoch: 14,
        at: Some(prost_types::Timestamp { seconds: NOW, nanos: 0 }),
        kills: vec![
            killed(BOB, Target::Requester("alice".parse().unwrap()), "laptop stolen", true),
            killed(CAROL, Target::All, "we do not know what they have", true),
            // A requester's key has no right to it.
            killed(BOT, Target::All, "out of mischief", true),
            killed(BOB, Target::Profile("db-read".parse().unwrap()), "the disk is full, too", false),
        ],
        single_kills: 3,
        ..Default::default()
    };
    let known = Known::of(&answer, &rules);
    insta::assert_snapshot!(format!(
        "{}\n\n{}\n\n{}",
        kill::banner(&known, &rules, NOW),
        kill::describe(&known, &rules, NOW),
        serde_json::to_string_pretty(&kill::json(&known, &rules)).unwrap()
    ));
}
