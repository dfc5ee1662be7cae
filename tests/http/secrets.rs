//! What is logged, at the most talkative level, holds no token, no statement and no secret, and is one line a record.

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

#[test]
fn a_record_is_one_line_whatever_it_holds() {
    for format in [Format::Plain, Format::Json] {
        let heard = Heard::default();
        let writer = heard.clone();
        let forged = "x\n2026-01-01T00:00:00Z  INFO breakglass: all is well\r\u{1b}[2K\u{9b}2K";
        let subscriber = subscriber(format, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "breakglass", reason = forged, error = %forged, "message: {forged}");
        });
        let heard = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        let (record, rest) = heard.split_once('\n').unwrap();
        assert!(rest.is_empty() && record.contains("all is well"), "{heard:?}");
        assert!(!record.contains(char::is_control), "{record:?}");
    }
}

#[test]
fn a_filter_that_does_not_parse_is_named() {
    let error = subscriber(Format::Plain, "breakglass=loudly", io::stderr).err().unwrap().to_string();
    assert!(error.contains("\"breakglass=loudly\""), "{error}");
}
