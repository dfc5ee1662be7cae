//! Discovery and JWKS: what is in them, what is not, and how they are cached.

use serde_json::{Value, json};

use crate::{
    client::{ask, get},
    kit::key,
    world::{World, kid, settings},
};

const WELL_KNOWN: [&str; 2] =
    ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

#[test]
fn discovery_names_the_issuer_and_nothing_that_does_not_exist() {
    let world = World::new();
    for path in WELL_KNOWN {
        let answer = get(world.address, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(
            answer.json(),
            json!({
                "issuer": world.issuer,
                "jwks_uri": format!("{}/jwks.json", world.issuer),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "introspection_endpoint": format!("{}/introspect", world.issuer),
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "revocation_endpoint": format!("{}/revoke", world.issuer),
                "revocation_endpoint_auth_methods_supported":
                    ["none", "client_secret_basic", "client_secret_post"],
            })
        );
        let charter = world.engine.charter().unwrap();
        assert_eq!(answer.json()["issuer"], charter.document().iss.as_str(), "byte for byte");
    }
}

#[test]
fn an_issuer_with_a_path_is_found_by_either_rule_and_behind_either_proxy() {
    let world = World::with("/emergency/eu", settings(), |document| document);
    let expected = get(world.address, WELL_KNOWN[0]).json();
    assert_eq!(expected["issuer"], world.issuer);
    for well_known in WELL_KNOWN {
        for path in [format!("/emergency/eu{well_known}"), format!("{well_known}/emergency/eu")] {
            let answer = get(world.address, &path);
            assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{path}");
        }
        for path in
            [format!("{well_known}/emergency"), format!("{well_known}/other"), format!("/x{well_known}")]
        {
            assert_eq!(get(world.address, &path).status, 404, "{path}");
        }
    }
    let jwks = get(world.address, "/emergency/eu/jwks.json");
    assert_eq!((jwks.status, jwks.json()), (200, get(world.address, "/jwks.json").json()));
}

#[test]
fn the_keys_are_those_that_may_have_signed_active_ones_first() {
    let all = ["db-read", "db-write", "careful"];
    let keys = [
        ("hsm/next", "pre-active"),
        ("hsm/old", "deactivated"),
        ("hsm/bad", "compromised"),
        ("hsm/1", "active"),
        ("hsm/held", "suspended"),
        ("hsm/gone", "destroyed"),
    ];
    let world = World::with("", settings(), |document| {
        let keys = keys.map(|(name, state)| json!({"key": key(name).jwk(), "profiles": all, "state": state}));
        crate::kit::patch(document, json!({"issuing_keys": keys}))
    });
    let jwks = get(world.address, "/jwks.json").json();
    let jwk = |name: &str| {
        let members = json!({"kid": kid(name), "use": "sig", "alg": "ES256"});
        crate::kit::patch(key(name).jwk(), members)
    };
    assert_eq!(jwks, json!({"keys": [jwk("hsm/1"), jwk("hsm/old"), jwk("hsm/next")]}));
    let text = jwks.to_string();
    assert!(!text.contains("\"d\""), "no private half");
}

/// Whoever fetches the keys anew gets none that is killed, and in a lockdown none at all; the tags follow.
#[test]
fn killed_keys_are_published_no_more() {
    let world = World::with("", settings(), |document| {
        let keys = ["hsm/1", "hsm/old"].map(|name| {
            json!({"key": key(name).jwk(), "profiles": ["db-read", "db-write", "careful"], "state": "active"})
        });
        crate::kit::patch(document, json!({"issuing_keys": keys}))
    });
    let published = || {
        let answer = get(world.address, "/jwks.json");
        let kids = answer.json()["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
        (answer.header("etag").unwrap().to_owned(), kids)
    };
    let (both, kids): (String, Vec<Value>) = published();
    assert_eq!(kids, [json!(kid("hsm/1")), json!(kid("hsm/old"))]);
    let discovery = get(world.address, WELL_KNOWN[0]).body;

    let lockdown = world.kill("all", None);
    let (tag, kids) = published();
    assert_eq!((kids.len(), tag == both), (0, false), "everything is stopped");
    assert_eq!(get(world.address, WELL_KNOWN[0]).body, discovery, "with its algorithms");
    world.lift(&lockdown);
    assert_eq!(published().0, both);

    world.kill("key", Some(&kid("hsm/1").to_string()));
    assert_eq!(published().1, [json!(kid("hsm/old"))]);
    let gone = || world.engine.read(|state| state.is_destroyed(&kid("hsm/1"))).then_some(());
    testkit::wait_for("the device to have destroyed it", crate::client::DEADLINE, gone);
    assert_eq!(published().1, [json!(kid("hsm/old"))]);
}

#[test]
fn what_was_fetched_need_not_be_fetched_again() {
    let world = World::new();
    for path in ["/jwks.json", WELL_KNOWN[0], WELL_KNOWN[1]] {
        let first = get(world.address, path);
        assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
        let tag = first.header("etag").unwrap();
        for condition in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(world.address, "GET", path, &format!("If-None-Match: {condition}\r\n"));
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {condition}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let other = ask(world.address, "GET", path, "If-None-Match: \"other\"\r\n");
        assert_eq!((other.status, other.body), (200, first.body.clone()));
    }
}

#[test]
fn tags_of_different_documents_differ() {
    let world = World::new();
    let tag = |path: &str| get(world.address, path).header("etag").unwrap().to_owned();
    assert_ne!(tag("/jwks.json"), tag(WELL_KNOWN[0]));
    let other = World::with("", settings(), |document| {
        let key = json!([{"key": key("hsm/1").jwk(), "profiles": ["db-read", "db-write", "careful"],
            "state": "active"}]);
        crate::kit::patch(document, json!({"issuing_keys": key}))
    });
    assert_ne!(tag("/jwks.json"), get(other.address, "/jwks.json").header("etag").unwrap());
}
