//! What the daemon finds out about verifiers: which of them accept a canary, and which refuse it after its key was killed.

use std::time::Duration;

use breakglass::domain::{
    event::{Entry, Event},
    id::PrincipalId,
    probe::{Answer, Cause},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::{DEADLINE, get},
    kit,
    verifier::{Kind, Verifier},
    world::{World, kid},
};

const BODY: &str = "{\"role\":\"canary\",\"jwt\":\"{jwt}\"}";

/// A world whose charter names these verifiers; all but the first are shown their canary as a bearer token.
fn world(verifiers: &[(&str, &Verifier)]) -> World {
    World::asking(|document| {
        let named = verifiers.iter().enumerate().map(|(at, (id, verifier))| {
            let probe = json!({"url": verifier.url});
            let probe = if at == 0 { kit::patch(probe, json!({"body": BODY})) } else { probe };
            json!({"id": id, "aud": kit::AUD, "probe": probe})
        });
        kit::patch(document, json!({"verifiers": named.collect::<Vec<_>>()}))
    })
}

/// What the log says of a verifier: the answers, and after a kill how long it took.
fn answers(world: &World, verifier: &str) -> Vec<(Answer, Option<u64>)> {
    let entries = world.entries();
    let of = |entry: Entry| match entry.event {
        Event::VerifierProbed { verifier: of, answer, after_ms, .. } if of.as_str() == verifier => {
            Some((answer, after_ms))
        }
        _ => None,
    };
    entries.iter().filter_map(|bytes| of(Entry::parse(bytes).unwrap())).collect()
}

fn last(world: &World, verifier: &str) -> Option<(Answer, Option<u64>)> {
    answers(world, verifier).pop()
}

fn name(name: &str) -> PrincipalId {
    name.parse().unwrap()
}

#[test]
fn promise_6_a_verifier_with_a_warm_cache_refuses_a_killed_key_because_it_was_poked() {
    let vault = Verifier::new(Kind::Fixed(503));
    let world = world(&[("vault", &vault)]);
    vault.become_kind(Kind::Caching(world.address));
    let accepted = (Answer::Accepted { status: 200 }, None);
    wait_for("the canary to be accepted", DEADLINE, || {
        (last(&world, "vault") == Some(accepted)).then_some(())
    });
    let proven = world.engine.read(|state| state.probes(&name("vault"), &kid("hsm/1")).unwrap().is_proven());
    assert!(proven);
    let before = vault.seen().len();
    let jwt = world.token("before the kill");

    world.kill("key", Some(&kid("hsm/1").to_string()));
    let refused = wait_for("the canary to be refused", DEADLINE, || {
        last(&world, "vault").filter(|(answer, _)| answer.refuses())
    });
    assert!(matches!(refused, (Answer::Refused { status: 401 }, Some(ms)) if ms < 10_000), "{refused:?}");
    let seen = vault.seen();
    let after = &seen[before..];
    let poke = after.iter().position(|(shown, _)| *shown != kid("hsm/1")).unwrap();
    let canary = after.iter().position(|(shown, _)| *shown == kid("hsm/1")).unwrap();
    assert!(poke < canary, "first what nobody signed");
    assert!(
        seen.iter().all(|(shown, status)| *shown == kid("hsm/1") || *status != 200),
        "which never passes"
    );
    let metrics = get(world.address, "/metrics").text().to_owned();
    assert!(metrics.contains("breakglass_verifiers_accepting_killed_keys 0"));
    let log =
        world.entries().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
    assert!(!log.contains(&jwt));
    world.audited();
}

/// The finding that all this is for: keys that have left JWKS are accepted for ever by who does not fetch them anew.
#[test]
fn a_verifier_that_accepts_a_killed_key_is_an_alarm_until_it_refuses() {
    let stubborn = Verifier::new(Kind::Fixed(503));
    let world = world(&[("stubborn", &stubborn)]);
    stubborn.become_kind(Kind::Stubborn(world.address));
    let accepts = |found: Option<(Answer, Option<u64>)>, after: bool| {
        found.filter(|(answer, ms)| answer.accepts() && ms.is_some() == after)
    };
    wait_for("the canary to be accepted", DEADLINE, || accepts(last(&world, "stubborn"), false));
    world.kill("key", Some(&kid("hsm/1").to_string()));
    let (_, after) = wait_for("it to be found out", DEADLINE, || accepts(last(&world, "stubborn"), true));
    assert!(after.unwrap() >= 1_000, "it is given its time: {after:?}");
    assert!(
        !get(world.address, "/jwks.json").text().contains(&kid("hsm/1").to_string()),
        "though it is published no more"
    );
    let metrics = get(world.address, "/metrics").text().to_owned();
    assert!(metrics.contains("breakglass_verifiers_accepting_killed_keys 1"), "{metrics}");

    // Somebody restarts it, and asks for another look.
    stubborn.become_kind(Kind::Caching(world.address));
    let answers = world.runtime.block_on(world.engine.probe(&name("stubborn"))).unwrap();
    assert_eq!(answers, [(kid("hsm/1"), Answer::Refused { status: 401 })]);
    assert!(matches!(last(&world, "stubborn"), Some((Answer::Refused { .. }, Some(_)))));
    assert!(get(world.address, "/metrics").text().contains("breakglass_verifiers_accepting_killed_keys 0"));
    world.audited();
}

#[test]
fn verifiers_that_answer_nothing_or_anything_are_told_apart_and_delay_nobody() {
    let kinds = [Kind::Fixed(302), Kind::Silent, Kind::Fixed(204), Kind::Fixed(404), Kind::Fixed(401)];
    let [moved, silent, lax, missing, strict] = kinds.map(Verifier::new);
    let mut nowhere = Verifier::new(Kind::Silent);
    nowhere.url = format!("http://127.0.0.1:{}/", testkit::free_port());
    let world = world(&[
        ("moved", &moved),
        ("silent", &silent),
        ("lax", &lax),
        ("missing", &missing),
        ("strict", &strict),
        ("nowhere", &nowhere),
    ]);
    let unclear = |status| Answer::Unreachable { status: Some(status), cause: Cause::Status };
    let without = |cause| Answer::Unreachable { status: None, cause };
    let expected = [
        ("moved", unclear(302)),
        ("lax", Answer::Indiscriminate { status: 204 }),
        ("missing", unclear(404)),
        ("strict", Answer::Refused { status: 401 }),
        ("nowhere", without(Cause::Connection)),
    ];
    wait_for("all others to be known", DEADLINE, || {
        expected.iter().all(|(id, answer)| last(&world, id) == Some((*answer, None))).then_some(())
    });
    assert_eq!(last(&world, "silent"), None, "nobody waited for it");
    let silence = Some((without(Cause::Late), None));
    wait_for("the silent one to be known", DEADLINE, || (last(&world, "silent") == silence).then_some(()));
    for (id, _) in expected {
        let proven = world.engine.read(|state| state.probes(&name(id), &kid("hsm/1")).unwrap().is_proven());
        assert!(!proven, "{id}: what it refuses later proves nothing");
        assert_eq!(answers(&world, id).len(), 1, "{id}: the same answer is recorded once");
    }

    world.kill("all", None);
    let after = |id: &str| last(&world, id).filter(|(_, after)| after.is_some()).map(|(answer, _)| answer);
    wait_for("the strict one to be known", Duration::from_millis(900), || after("strict"));
    wait_for("the lax one to be found out", DEADLINE, || after("lax"));
    assert_eq!(world.engine.read(|state| state.still_accepting().count()), 1);
    wait_for("those that do not answer", DEADLINE, || after("silent").and_then(|_| after("nowhere")));
    assert_eq!(
        world.engine.read(|state| state.still_accepting().count()),
        1,
        "what is unknown is no acceptance"
    );
    world.audited();
}

/// A daemon that was asking when it went down goes on asking: what is to be asked follows from the log.
#[test]
fn after_a_restart_the_questions_go_on() {
    let vault = Verifier::new(Kind::Fixed(503));
    let first = World::asking(|document| {
        let probe = json!({"url": vault.url});
        kit::patch(document, json!({"verifiers": [{"id": "vault", "aud": kit::AUD, "probe": probe}]}))
    });
    let canary = || first.engine.read(|state| state.canaries().find(|canary| canary.jwe.is_some()).cloned());
    wait_for("the canary", DEADLINE, canary);
    first.kill("key", Some(&kid("hsm/1").to_string()));
    let asked = || first.engine.asked(&name("vault"), &kid("hsm/1")).filter(|asked| asked.times > 0);
    wait_for("it to be asked", DEADLINE, asked);
    let again = first.restarted();
    vault.become_kind(Kind::Fixed(403));
    let refused = || {
        again.engine.read(|state| {
            let aftermath = state.probes(&name("vault"), &kid("hsm/1"))?.aftermath?;
            aftermath.probed.answer.refuses().then_some(aftermath)
        })
    };
    let aftermath = wait_for("the refusal", DEADLINE, refused);
    assert_eq!(aftermath.probed.answer, Answer::Refused { status: 403 });
    again.audited();
}

/// A lift ends the questions; what was answered before it says nothing of the time after.
#[test]
fn after_a_lift_verifiers_are_asked_no_more_whether_they_refuse() {
    let vault = Verifier::new(Kind::Fixed(503));
    let world = world(&[("vault", &vault)]);
    vault.become_kind(Kind::Caching(world.address));
    wait_for("the canary to be accepted", DEADLINE, || last(&world, "vault").filter(|(it, _)| it.accepts()));
    let lockdown = world.kill("all", None);
    wait_for("the canary to be refused", DEADLINE, || last(&world, "vault").filter(|(it, _)| it.refuses()));
    world.lift(&lockdown);
    let recorded = answers(&world, "vault").len();
    let found = world.runtime.block_on(world.engine.probe(&name("vault"))).unwrap();
    assert_eq!(found[0].1, Answer::Accepted { status: 200 }, "its key is published again");
    let now = answers(&world, "vault");
    assert!(now[recorded..].iter().all(|(answer, after)| answer.accepts() && after.is_none()), "{now:?}");
    assert_eq!(world.engine.read(|state| state.still_accepting().count()), 0);
    world.audited();
}

/// The same rules again, by the auditor; and that nobody can write another answer or another time.
#[test]
fn a_changed_answer_is_found_by_the_auditor() {
    let vault = Verifier::new(Kind::Fixed(503));
    let world = world(&[("vault", &vault)]);
    vault.become_kind(Kind::Caching(world.address));
    wait_for("the canary to be accepted", DEADLINE, || last(&world, "vault").filter(|(it, _)| it.accepts()));
    world.kill("key", Some(&kid("hsm/1").to_string()));
    wait_for("the canary to be refused", DEADLINE, || last(&world, "vault").filter(|(it, _)| it.refuses()));
    let entries = world.audited();
    let at = entries.iter().rposition(|bytes| {
        let event = Entry::parse(bytes).unwrap().event;
        matches!(event, Event::VerifierProbed { after_ms: Some(_), .. })
    });
    let at = at.unwrap();
    for changes in
        [json!({"after_ms": 1}), json!({"kill": kit::nonce("other")}), json!({"verifier": "nobody"})]
    {
        let mut entry: Value = serde_json::from_slice(&entries[at]).unwrap();
        entry["event"] = kit::patch(entry["event"].clone(), changes.clone());
        let mut forged = entries.clone();
        forged[at] = kit::bytes(&entry);
        assert_eq!(world.replay(&forged).unwrap_err(), at, "{changes}");
    }
}
