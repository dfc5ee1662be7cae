//! Licences, bans and sources of everything that is built here, by the lists of deny.toml. Advisories need the network
//! and `cargo deny`.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

/// What cargo knows of the packages of this platform, without the network: all of them are here, or nothing was built.
fn packages() -> Vec<Value> {
    let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", &platform];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(crate::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn rules() -> toml::Table {
    fs::read_to_string(crate::root().join("deny.toml")).unwrap().parse().unwrap()
}

/// The strings of a list, or the names of its tables.
fn list(of: &toml::Value) -> BTreeSet<String> {
    let name = |item: &toml::Value| item.get("name").unwrap_or(item).as_str().unwrap().to_owned();
    of.as_array().unwrap().iter().map(name).collect()
}

/// Whether an SPDX expression can be met with these licences; a slash is the old way to write OR.
fn is_accepted(expression: &str, accepted: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = alternatives(&mut words, accepted);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> bool {
    let mut met = all(words, accepted);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, accepted);
    }
    met
}

fn all(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> bool {
    let mut met = one(words, accepted);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, accepted);
    }
    met
}

fn one(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = alternatives(words, accepted);
        return words.next() == Some(")") && met;
    }
    let licence = words.next().unwrap_or_default();
    // An exception gives more rights, but what it gives is not what was accepted.
    let plain = words.next_if_eq(&"WITH").and_then(|_| words.next()).is_none();
    plain && accepted.contains(licence)
}

#[test]
fn an_expression_is_met_or_not() {
    let accepted = BTreeSet::from(["MIT".to_owned(), "ISC".to_owned()]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR ISC) AND MIT", true),
        ("GPL-3.0 OR ISC AND BSD", false),
        ("MIT WITH some-exception", false),
        ("MIT )", false),
        ("", false),
    ] {
        assert_eq!(is_accepted(expression, &accepted), met, "{expression}");
    }
}

#[test]
fn dependencies_are_of_accepted_licences_sources_and_names() {
    let (rules, packages) = (rules(), packages());
    assert!(packages.len() > 100, "cargo knows of few packages: {}", packages.len());
    let licences = list(&rules["licenses"]["allow"]);
    let banned = list(&rules["bans"]["deny"]);
    let registries = list(&rules["sources"]["allow-registry"]);
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_accepted(licence, &licences), "{name} has the licence {licence}");
        assert!(!banned.contains(name), "{name} is banned: see deny.toml");
        let source = package["source"].as_str();
        let known = |source: &str| registries.iter().any(|known| source == format!("registry+{known}"));
        // Without a source it is one of our own, whose path cargo has checked.
        assert!(source.is_none_or(known), "{name} comes from {source:?}");
    }
}
