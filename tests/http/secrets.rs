//! What is logged, at the most talkative level, holds no token, no statement and no secret.

use std::{
    io,
    sync::{Arc, Mutex},
};

use breakglass::telemetry::{Format, subscriber};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::{client::get, world::World};

/// Collects what is logged.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_secret_is_logged_even_at_trace() {
    let heard = Heard::default();
    let writer = heard.clone();
    // nextest gives each test a process of its own, so the whole process can be listened to.
    subscriber(Format::Json, "trace", move || writer.clone()).unwrap().try_init().unwrap();
    let world = World::new();
    let jwt = world.token("secret");
    for path in ["/jwks.json", "/readyz", "/metrics", "/checkpoint", "/nothing?token=in-the-query"] {
        get(world.address, path);
    }
    world.hsm_broken.store(true, std::sync::atomic::Ordering::SeqCst);
    tracing::info!(target: "hyper", "a library tells what it carries");
    tracing::warn!(target: "hyper", "a library warns");
    let heard = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    assert!(heard.contains("serving HTTP"), "the test hears the program:\n{heard}");
    assert!(heard.contains("a library warns") && !heard.contains("tells what it carries"));
    for line in heard.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    // A JWT and a JWE have parts; no part may be there. eyJ is how any of them begins: {" in base64url.
    for part in jwt.split('.').chain(["eyJ", "in-the-query", "Orders are stuck"]) {
        assert!(!heard.contains(part), "{part} was logged:\n{heard}");
    }
}
