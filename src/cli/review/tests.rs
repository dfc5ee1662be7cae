//! What a custodian's tool believes of a request, and what it refuses to show as one.

use serde_json::json;

use super::*;
use crate::{
    cli::{
        exit::{self, Exit},
        fixture::{self, ALICE, BOB, BOT, CAROL, ERIN, NOW},
    },
    jose::Typ,
};

fn refused(rules: &Rules, jws: &GeneralJws, id: &RequestId) {
    let error = Reviewed::new(rules, &jws.to_json(), id).unwrap_err();
    assert_eq!(exit::classify(&error), (Exit::Unverified, "REQUEST_UNVERIFIED".to_owned()));
    assert!(error.chain().count() > 1, "the cause is kept");
}

#[test]
fn what_verifies_is_counted_once_for_each_person() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let jws = fixture::said(&jws, BOB, Typ::Approval, None);
    let jws = fixture::said(&jws, BOB, Typ::Approval, None);
    let reviewed = Reviewed::new(&rules, &jws.to_json(), &id).unwrap();
    assert_eq!(reviewed.approvers().into_iter().map(String::from).collect::<Vec<_>>(), ["bob"]);
}

#[test]
fn a_daemon_cannot_show_what_was_not_signed() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let mut other = fixture::grant(&rules);
    other["ttl"] = json!(601);
    let (other_id, other_jws) = fixture::request(&other, ALICE);
    // Another request under this id, this request under changed bytes, a foreign signature.
    refused(&rules, &other_jws, &id);
    let swapped = GeneralJws { payload: other_jws.payload.clone(), signatures: jws.signatures.clone() };
    refused(&rules, &swapped, &other_id);
    let (_, by_bot) = fixture::request(&fixture::grant(&rules), BOT);
    refused(&rules, &by_bot, &id);
}

#[test]
fn a_foreign_or_false_approval_spoils_the_request() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    refused(&rules, &fixture::said(&jws, 99, Typ::Approval, None), &id);
    refused(&rules, &fixture::said(&jws, ALICE, Typ::Approval, None), &id);
    refused(&rules, &fixture::said(&jws, BOB, Typ::Kill, None), &id);
    let mut other = fixture::grant(&rules);
    other["ttl"] = json!(601);
    let (_, other) = fixture::request(&other, ALICE);
    let mut moved = jws.clone();
    moved.signatures.extend(fixture::said(&other, BOB, Typ::Approval, None).signatures.pop());
    refused(&rules, &moved, &id);
}

#[test]
fn what_the_charter_does_not_permit_is_not_shown_as_a_request() {
    let rules = fixture::rules();
    for (member, value) in [
        ("ttl", json!(901)),
        ("aud", json!("https://other.example")),
        ("sub", json!("bob")),
        ("charter", json!("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")),
    ] {
        let mut grant = fixture::grant(&rules);
        grant[member] = value;
        let (id, jws) = fixture::request(&grant, ALICE);
        refused(&rules, &jws, &id);
    }
}

#[test]
fn who_cannot_approve_is_told_before_the_pin() {
    let rules = fixture::rules();
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let jws = fixture::said(&jws, CAROL, Typ::Denial, None);
    let reviewed = Reviewed::new(&rules, &jws.to_json(), &id).unwrap();
    let reason = |who: &str, verdict, station, now| {
        let person = who.parse().unwrap();
        reviewed.eligible(&rules, &person, verdict, station, now).map_err(|problem| problem.reason).err()
    };
    assert_eq!(reason("bob", Verdict::Approve, false, NOW), None);
    assert_eq!(reason("bob", Verdict::Approve, true, NOW), Some("STATION_FORBIDDEN"));
    assert_eq!(reason("bob", Verdict::Deny, true, NOW), None);
    assert_eq!(reason("erin", Verdict::Approve, false, NOW), Some("NO_SEAT"));
    assert_eq!(reason("carol", Verdict::Approve, false, NOW), Some("ALREADY_SIGNED"));
    assert_eq!(reason("bob", Verdict::Approve, false, NOW + 3300), Some("DEADLINE_PASSED"));
    let approved = fixture::said(&jws, BOB, Typ::Approval, None);
    let again = Reviewed::new(&rules, &approved.to_json(), &id).unwrap();
    let twice = again.eligible(&rules, &"bob".parse().unwrap(), Verdict::Approve, false, NOW + 600);
    assert_eq!(twice.unwrap_err().reason, "ALREADY_SIGNED");
    // The bot's owner stands behind what the bot asks for.
    let mut grant = fixture::grant(&rules);
    grant["client_id"] = json!("incident-bot");
    grant["requester_key"] = json!(fixture::key(BOT).public.thumbprint());
    let (id, jws) = fixture::request(&grant, BOT);
    let reviewed = Reviewed::new(&rules, &jws.to_json(), &id).unwrap();
    let dave = reviewed.eligible(&rules, &"dave".parse().unwrap(), Verdict::Approve, false, NOW);
    assert_eq!(dave.unwrap_err().reason, "SELF_APPROVAL");
    // Only a complete quorum that grew too old to mint on is renewed.
    let (id, jws) = fixture::request(&fixture::grant(&rules), ALICE);
    let complete = fixture::said(&fixture::said(&jws, BOB, Typ::Approval, None), CAROL, Typ::Approval, None);
    let reviewed = Reviewed::new(&rules, &complete.to_json(), &id).unwrap();
    let again =
        |now| reviewed.eligible(&rules, &"bob".parse().unwrap(), Verdict::Approve, false, now).is_ok();
    assert!(!again(NOW) && again(NOW + 61));
    let counted = fixture::said(&jws, ERIN, Typ::Approval, None);
    assert!(Reviewed::new(&rules, &counted.to_json(), &id).is_ok(), "superfluous, not false");
}
