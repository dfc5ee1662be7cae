//! Verifiers written by others, which are given the issuer's URL and nothing else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use breakglass::{
    jose::b64,
    telemetry::{Canary, Device},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::DEADLINE,
    device::secret,
    world::{World, settings},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program, shows everything it said if it fails, and returns its last line.
pub fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
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
    let cnf = b64::encode(&secret("foreign/cnf").to_bytes());
    let cnf = crate::kit::patch(crate::kit::key("foreign/cnf").jwk(), json!({"d": cnf}));
    let task = json!({"issuer": world.issuer, "audience": crate::kit::AUD, "good": tokens.good,
        "bad": tokens.bad, "cnf": cnf});
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
fn oauth4webapi_demands_the_proof_of_the_tokens_key() {
    let modules = run(root().join("scripts/lib/node-modules"), &[]);
    judge(&World::new(), "node", &[&script("resource.mjs"), &modules]);
}

#[test]
fn an_issuer_with_a_path_is_verified_as_well() {
    let modules = run(root().join("scripts/lib/node-modules"), &[]);
    for name in ["verify.mjs", "resource.mjs"] {
        let world = World::with("/emergency/eu", settings(), |document| document);
        judge(&world, "node", &[&script(name), &modules]);
    }
}

#[test]
fn the_prometheus_client_reads_the_metrics() {
    let python = run(root().join("scripts/lib/python-venv"), &[]);
    let world = World::new();
    world.token("counted");
    world.metrics.call("SubmitRequest", "SELF_APPROVAL");
    for device in [Device::Issuing, Device::Log] {
        let healthy = || matches!(world.metrics.last_canary(device), Canary::Healthy { .. }).then_some(());
        wait_for("a canary", DEADLINE, healthy);
    }
    let url = format!("http://{}/metrics", world.address);
    let families: Value = serde_json::from_str(&run(&python, &[&script("exposition.py"), &url])).unwrap();
    // The first scrape does not count itself yet: http_requests has no series, and so no family.
    let expected = [
        "build",
        "calls",
        "chain_ended",
        "charter_by_recovery",
        "charter_expires_timestamp_seconds",
        "charter_version",
        "checkpoint_size",
        "custodian_keys_due",
        "device_canary_seconds",
        "device_healthy",
        "genesis_announced",
        "issuance_failures",
        "issuance_seconds",
        "issuances",
        "issuing_keys_to_destroy",
        "latched",
        "log_size",
        "recovery_proposals",
        "requests",
        "reviews_overdue",
        "security_events_waiting",
        "verifiers_accepting_killed_keys",
    ];
    assert_eq!(families, json!(expected.map(|name| format!("breakglass_{name}"))));
}
