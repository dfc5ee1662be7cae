//! The client's configuration, as people get it wrong.

use crate::run::Place;

#[test]
fn without_a_configuration() {
    insta::assert_snapshot!(Place::new().shown(&["list"]));
}

#[test]
fn an_unknown_key() {
    let place = Place::new();
    place.write("c.toml", "genesis = \"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"\ncharter = \"c.json\"\ndeamon = \"https://x:1\"\n");
    insta::assert_snapshot!(place.shown(&["--config", "c.toml", "list"]));
}

#[test]
fn a_charter_that_is_not_there() {
    let place = Place::new();
    place
        .write("c.toml", "genesis = \"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"\ncharter = \"c.json\"\n");
    insta::assert_snapshot!(place.shown(&["--config", "c.toml", "list"]));
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let place = Place::new();
    let ran = place.run(&["list", "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "CONFIG_MISSING");
    assert_eq!(error["error"]["exit_code"], 2);
}

#[test]
fn doctor_says_what_is_wrong_and_goes_on() {
    let place = Place::new();
    let ran = place.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 1);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["healthy"], false);
    let health: Vec<_> = found["checks"].as_array().unwrap().iter().map(|check| &check["health"]).collect();
    assert_eq!(health, ["fail", "warn"], "no configuration, and no smart card service");
}
