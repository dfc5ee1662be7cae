//! Verifiers written by others, which are given the issuer's URL and nothing else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use breakglass::jose::b64;
use serde_json::{Value, json};

use crate::world::{World, settings};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program, shows everything it said if it fails, and returns its last line.
fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program.as_ref()).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", program.as_ref().display());
    out.trim().lines().last().unwrap_or_default().to_owned()
}

fn script(name: &str) -> String {
    Path::new("tests/http").join(name).display().to_string()
}

/// A token, and ones that must be refused: changed, by another key, by a key that the charter calls compromised.
struct Tokens {
    good: String,
    bad: Vec<String>,
}

fn tokens(world: &World) -> Tokens {
    let good = world.token("foreign");
    let parts: Vec<&str> = good.split('.').collect();
    let claims = b64::decode(parts[1]).unwrap();
    let mut widened: Value = serde_json::from_slice(&claims).unwrap();
    widened["sub"] = json!("mallory");
    let changed = format!("{}.{}.{}", parts[0], b64::encode(widened.to_string().as_bytes()), parts[2]);
    let by = |name: &str| crate::kit::key(name).jwt(&claims);
    Tokens { bad: vec![changed, by("mallory"), by("hsm/bad")], good }
}

fn judge(world: &World, program: &str, arguments: &[&str]) {
    let tokens = tokens(world);
    let task = json!({"issuer": world.issuer, "audience": crate::kit::AUD, "good": tokens.good,
        "bad": tokens.bad});
    let directory = testkit::temp_dir();
    let path = directory.path().join("task.json");
    std::fs::write(&path, task.to_string()).unwrap();
    let arguments: Vec<&str> = arguments.iter().copied().chain([path.to_str().unwrap()]).collect();
    let claims: Value = serde_json::from_str(&run(program, &arguments)).unwrap();
    assert_eq!((&claims["sub"], &claims["iss"]), (&json!("erin"), &json!(world.issuer)));
}

#[test]
fn pyjwt_verifies_with_nothing_but_the_issuers_url() {
    let python = run(root().join("scripts/lib/python-venv"), &[]);
    judge(&World::new(), &python, &[&script("verify.py")]);
}

#[test]
fn npm_jose_verifies_with_nothing_but_the_issuers_url() {
    let modules = run(root().join("scripts/lib/node-modules"), &[]);
    judge(&World::new(), "node", &[&script("verify.mjs"), &modules]);
}

#[test]
fn an_issuer_with_a_path_is_verified_as_well() {
    let modules = run(root().join("scripts/lib/node-modules"), &[]);
    let world = World::with("/emergency/eu", settings(), |document| document);
    judge(&world, "node", &[&script("verify.mjs"), &modules]);
}
