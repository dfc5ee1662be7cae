//! Envoy's question over gRPC, by a foreign client with the stubs of Envoy's own API.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use testkit::free_port;

use crate::place::{Place, escaped};

/// The interpreter of target/venv, made ready if it is not.
fn python() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/python-venv");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/lib/python-venv failed");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

#[test]
fn envoy_is_understood_and_told_what_it_understands() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let (port, python) = (free_port(), python());
    let gate =
        place.gate(|config| config.replace("control =", &format!("envoy = \"127.0.0.1:{port}\"\ncontrol =")));
    gate.ready();
    let ask = |path: &str, certificate: &str, authorization: &str| -> Value {
        let question = json!({"method": "GET", "path": path, "host": "orders.example", "scheme": "https",
            "headers": {"authorization": authorization, "x-breakglass-subject": "root"},
            "certificate": escaped(certificate)});
        let file = place.path("question.json");
        fs::write(&file, question.to_string()).unwrap();
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gate/ask_envoy.py"));
        command.arg(format!("127.0.0.1:{port}")).arg(file).env_remove("http_proxy").env_remove("https_proxy");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (erin, mallory) = (place.text("erin.cert.pem"), place.text("mallory.cert.pem"));
    let bearer = format!("Bearer {token}");
    let passed = ask("/orders/orders?x=1", &erin, &bearer);
    assert_eq!((&passed["code"], &passed["kind"]), (&json!(0), &json!("ok_response")), "{passed}");
    assert_eq!(passed["headers"]["X-Breakglass-Subject"], "erin");
    assert_eq!(passed["headers"]["X-Breakglass-Incident"], "INC-42");
    assert_eq!(passed["appended"], false, "what the client sent is replaced");

    let denied = |path: &str, certificate: &str, authorization: &str| {
        let answer = ask(path, certificate, authorization);
        assert_eq!(answer["kind"], "denied_response", "{answer}");
        let reason = answer["headers"]["X-Breakglass-Reason"].as_str().unwrap().to_owned();
        assert!(answer["body"].as_str().unwrap().starts_with(&reason));
        (answer["code"].as_i64().unwrap(), answer["status"].as_i64().unwrap(), reason)
    };
    let refused = |code, status, reason: &str| (code, status, reason.to_owned());
    assert_eq!(denied("/orders/orders", &mallory, &bearer), refused(16, 401, "CERTIFICATE_MISMATCH"));
    assert_eq!(denied("/orders/orders", "", &bearer), refused(16, 401, "CERTIFICATE_MISSING"));
    assert_eq!(denied("/orders/orders", "(null)", &bearer), refused(7, 403, "CERTIFICATE_HEADER_INVALID"));
    assert_eq!(denied("/orders/other", &erin, &bearer), refused(7, 403, "DETAILS_NOT_COVERED"));
    assert_eq!(denied("/orders/a/../orders", &erin, &bearer), refused(7, 403, "PATH_AMBIGUOUS"));
    let twice = format!("{bearer},{bearer}");
    assert_eq!(denied("/orders/orders", &erin, &twice), refused(16, 401, "AUTHORIZATION_INVALID"));
    assert_eq!(denied("/orders/orders", &erin, ""), refused(16, 401, "TOKEN_MISSING"));
    assert_eq!(gate.metric("breakglass_gate_accepted_total"), 1);
    assert!(daemon.stop().success());
}
