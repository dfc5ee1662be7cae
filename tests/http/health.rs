//! Alive and ready are different things.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use testkit::wait_for;

use crate::{
    client::{DEADLINE, get},
    kit::key,
    world::{World, settings},
};

fn ready(world: &World) -> (u16, Value) {
    let answer = get(world.address, "/readyz");
    (answer.status, answer.json())
}

fn wait_ready(world: &World) {
    wait_for("readiness", DEADLINE, || (ready(world).0 == 200).then_some(()));
}

#[test]
fn a_device_that_fails_and_comes_back_is_noticed_both_times() {
    let world = World::new();
    wait_ready(&world);
    assert_eq!(ready(&world).1, json!({"ready": true, "obstacles": []}));
    world.hsm_broken.store(true, Ordering::SeqCst);
    let obstacle = json!([{"reason": "ISSUING_DEVICE", "cause": "HSM_KEY_NOT_FOUND"}]);
    wait_for("the fault to be seen", DEADLINE, || {
        (ready(&world) == (503, json!({"ready": false, "obstacles": obstacle}))).then_some(())
    });
    assert_eq!(get(world.address, "/healthz").status, 200, "the process is alive all the same");
    assert_eq!(get(world.address, "/jwks.json").status, 200, "and verifiers are served");
    world.hsm_broken.store(false, Ordering::SeqCst);
    wait_ready(&world);
}

#[test]
fn a_latched_daemon_is_alive_but_not_ready_and_does_not_say_more() {
    let world = World::new();
    wait_ready(&world);
    world.engine.latch().close("something only operators should read");
    let answer = get(world.address, "/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"ready": false, "obstacles": [{"reason": "LATCHED"}]}));
    assert_eq!(get(world.address, "/healthz").status, 200);
    assert!(get(world.address, "/metrics").text().contains("\nbreakglass_latched 1\n"));
}

#[test]
fn every_key_that_would_sign_is_examined() {
    let world = World::with("", settings(), |mut document| {
        document["issuing_keys"][0]["profiles"] = json!(["db-read", "careful"]);
        let lost = json!({"key": key("hsm/lost").jwk(), "profiles": ["db-write"], "state": "active"});
        document["issuing_keys"].as_array_mut().unwrap().push(lost);
        document
    });
    let expected = json!([{"reason": "ISSUING_DEVICE", "cause": "HSM_KEY_NOT_FOUND"}]);
    wait_for("the reason", DEADLINE, || (ready(&world).1["obstacles"] == expected).then_some(()));
}

#[test]
fn a_log_that_takes_nothing_more_is_not_ready() {
    let world = World::new();
    wait_ready(&world);
    world.runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(world.log_path());
        let mut intruder = options.connect().await.unwrap();
        let refuse =
            "CREATE TRIGGER refuse BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk failed'); END";
        sqlx::query(refuse).execute(&mut intruder).await.unwrap();
    });
    let refused = world.try_grow().unwrap_err();
    assert_eq!(refused.reason(), "LOG_BROKEN", "{refused}");
    wait_for("the fault to be seen", DEADLINE, || {
        let (status, body) = ready(&world);
        let obstacle = json!({"reason": "LOG_NOT_WRITABLE", "cause": "LOG_BROKEN"});
        (status == 503 && body["obstacles"].as_array().unwrap().contains(&obstacle)).then_some(())
    });
}
