//! The numbers: true, complete, and of bounded cardinality.

use std::{sync::atomic::Ordering, time::Duration};

use breakglass::{domain::event::Actor, jose::Typ};
use serde_json::json;
use testkit::wait_for;

use crate::{
    client::{DEADLINE, get},
    kit,
    world::{World, settings},
};

/// The value of one series.
fn value(world: &World, series: &str) -> Option<f64> {
    let answer = get(world.address, "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let line = answer.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts are whole and small")]
fn a_token_moves_the_numbers() {
    let world = World::new();
    assert_eq!(value(&world, "breakglass_issuances_total"), Some(0.0));
    world.token("first");
    world.token("second");
    wait_for("the count", DEADLINE, || {
        (value(&world, "breakglass_issuances_total") == Some(2.0)).then_some(())
    });
    assert_eq!(value(&world, "breakglass_issuance_seconds_count"), Some(2.0));
    let sum = value(&world, "breakglass_issuance_seconds_sum").unwrap();
    assert!((0.0..DEADLINE.as_secs_f64()).contains(&sum), "{sum}");
    let entries = world.engine.store().size();
    assert_eq!(value(&world, "breakglass_log_size"), Some(entries as f64));
    assert_eq!(value(&world, "breakglass_requests{state=\"issued\"}"), Some(2.0));
    assert_eq!(value(&world, "breakglass_requests{state=\"pending\"}"), Some(0.0));
    let checkpoint = value(&world, "breakglass_checkpoint_size").unwrap();
    assert!(checkpoint > 0.0 && checkpoint <= entries as f64, "{checkpoint} of {entries}");
    assert_eq!(value(&world, "breakglass_latched"), Some(0.0));
    assert_eq!(value(&world, "breakglass_charter_version"), Some(1.0));
    wait_for("a canary", DEADLINE, || {
        (value(&world, "breakglass_device_healthy{device=\"issuing\"}") == Some(1.0)).then_some(())
    });
    assert_eq!(value(&world, "breakglass_device_canary_seconds{device=\"issuing\"}"), Some(0.003));
    world.hsm_broken.store(true, Ordering::SeqCst);
    wait_for("the fault", DEADLINE, || {
        (value(&world, "breakglass_device_healthy{device=\"issuing\"}") == Some(0.0)).then_some(())
    });
}

#[test]
fn a_request_waiting_for_the_device_shows_as_authorized() {
    let world = World::new();
    world.hsm_broken.store(true, Ordering::SeqCst);
    let id = world.authorize("waiting");
    assert_eq!(world.engine.state_of(&id), "authorized");
    assert_eq!(value(&world, "breakglass_requests{state=\"authorized\"}"), Some(1.0));
    assert_eq!(value(&world, "breakglass_issuances_total"), Some(0.0));
    world.hsm_broken.store(false, Ordering::SeqCst);
    wait_for("the token", DEADLINE, || {
        (value(&world, "breakglass_issuances_total") == Some(1.0)).then_some(())
    });
    assert!(value(&world, "breakglass_issuance_seconds_sum").unwrap() > 0.0, "the wait is part of it");
}

#[test]
fn keys_that_were_not_seen_for_a_month_are_counted() {
    let month = -31 * 86_400;
    let world = World::with("", settings(), |document| kit::patch(document, json!({"issued_at": month})));
    assert_eq!(value(&world, "breakglass_custodian_keys_due"), Some(8.0));
    let charter = world.engine.charter().unwrap();
    let about =
        json!({"iss": charter.document().iss, "charter": charter.digest(), "nonce": kit::nonce("here")});
    let jws = kit::key("alice/1").jws(Typ::CheckIn, &kit::bytes(&about), world.engine.now().seconds());
    let jws = jws.to_json();
    world.runtime.block_on(world.engine.check_in(Actor::Peer { key: None }, &jws)).unwrap();
    assert_eq!(value(&world, "breakglass_custodian_keys_due"), Some(7.0));
    assert_eq!(value(&World::new(), "breakglass_custodian_keys_due"), Some(0.0));
}

#[test]
fn what_clients_send_makes_no_series() {
    let world = World::new();
    let series = || {
        let answer = get(world.address, "/metrics");
        answer.text().lines().filter(|line| line.starts_with("breakglass_http_requests")).count()
    };
    get(world.address, "/zzyzx/0");
    get(world.address, "/metrics");
    let before = series();
    for i in 0..50 {
        assert_eq!(get(world.address, &format!("/zzyzx/{i}?x={i}")).status, 404);
    }
    assert_eq!(series(), before);
    let text = get(world.address, "/metrics").text().to_owned();
    assert!(text.contains("breakglass_http_requests_total{route=\"unknown\",status=\"404\"} 51\n"), "{text}");
    assert!(!text.contains("zzyzx"));
}

#[test]
fn calls_are_counted_by_method_and_reason() {
    let world = World::new();
    world.metrics.call("SubmitRequest", "OK");
    world.metrics.call("SubmitRequest", "OK");
    world.metrics.call("SubmitRequest", "SELF_APPROVAL");
    world.metrics.issued(Duration::from_millis(3));
    let calls = |reason: &str| {
        value(&world, &format!("breakglass_calls_total{{method=\"SubmitRequest\",reason=\"{reason}\"}}"))
    };
    assert_eq!((calls("OK"), calls("SELF_APPROVAL"), calls("OTHER")), (Some(2.0), Some(1.0), None));
    let bucket = |le: &str| value(&world, &format!("breakglass_issuance_seconds_bucket{{le=\"{le}\"}}"));
    assert_eq!((bucket("0.0025"), bucket("0.005"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
}
