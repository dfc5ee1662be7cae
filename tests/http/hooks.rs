//! Verifiers that keep sessions of their own: their hooks are told of kills until they answer, and the log has it.

use breakglass::{
    domain::{
        event::{Entry, Event},
        kill::SignedKill,
        probe::Answer,
    },
    jose::{GeneralJws, Typ},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::DEADLINE,
    kit,
    verifier::{Kind, Verifier},
    world::{World, settings},
};

/// A world with two verifiers that keep sessions: one of the profiles' audience, with this hook.
fn world(hook: &Verifier) -> World {
    World::with("", settings(), |document| {
        let vault =
            json!({"id": "vault", "aud": kit::AUD, "longest_session": 3600, "revocation_hook": hook.url});
        let looking = json!({"id": "looking", "aud": kit::AUD});
        kit::patch(document, json!({"verifiers": [vault, looking]}))
    })
}

fn answers(world: &World) -> Vec<Answer> {
    let answer = |bytes: &Vec<u8>| match Entry::parse(bytes).unwrap().event {
        Event::HookAnswered { verifier, answer, .. } => {
            assert_eq!(verifier.as_str(), "vault", "the other one has no sessions");
            Some(answer)
        }
        _ => None,
    };
    world.entries().iter().filter_map(answer).collect()
}

#[test]
fn a_revocation_hook_is_told_of_a_kill_until_it_answers() {
    let hook = Verifier::new(Kind::Fixed(500));
    let world = world(&hook);
    let id = world.authorize("issued");
    wait_for("the token", DEADLINE, || (world.engine.state_of(&id) == "issued").then_some(()));
    let before = world.engine.now().seconds();
    world.kill("requester", Some("erin"));
    wait_for("the failure to be recorded", DEADLINE, || answers(&world).pop());
    hook.become_kind(Kind::Fixed(204));
    let taken = Answer::Accepted { status: 204 };
    wait_for("the answer to be recorded", DEADLINE, || (answers(&world).pop() == Some(taken)).then_some(()));

    // It can verify the kill itself, and knows which tokens it is about.
    let told: Value = hook.told().pop().unwrap();
    assert_eq!(
        (&told["verifier"], &told["epoch"], &told["requests"]),
        (&json!("vault"), &json!(1), &json!([id]))
    );
    let jws = GeneralJws::parse(&kit::bytes(&told["kill"]), 32_000).unwrap();
    let charter = world.engine.charter().unwrap();
    assert_eq!(
        SignedKill::verify(jws, &charter, Typ::Kill).unwrap().about().target.to_string(),
        "the requester erin"
    );
    let sessions = world.engine.read(|state| state.sessions().cloned().collect::<Vec<_>>());
    let ttl = charter.document().profiles.iter().map(|profile| i64::from(profile.max_ttl)).max().unwrap();
    assert!(sessions.len() == 1 && sessions[0].is_told());
    assert!((before..=before + 20).contains(&(sessions[0].until - ttl - 3600)), "{sessions:?}");

    // Once it has answered it is told no more; another kill is another thing.
    let count = hook.told().len();
    world.kill("all", None);
    wait_for("the second answer", DEADLINE, || (answers(&world).len() == 3).then_some(()));
    assert_eq!(hook.told().len(), count + 1);
    world.audited();
}

#[test]
fn a_hook_is_not_told_of_what_does_not_concern_it() {
    let hook = Verifier::new(Kind::Fixed(204));
    let world = world(&hook);
    let pending = world.file("pending");
    world.kill("request", Some(&pending.to_string()));
    assert_eq!(
        world.engine.read(|state| state.sessions().count()),
        0,
        "there is no token, and so no session"
    );
    world.kill("profile", Some("db-read"));
    wait_for("the answer", DEADLINE, || answers(&world).pop());
    assert_eq!(hook.told().len(), 1);
    world.audited();
}
