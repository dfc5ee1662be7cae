//! The same boundary seen by a foreign client: grpcio, which brings its own TLS, HTTP/2 and protobuf.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use breakglass::grpc::cert::self_signed;
use breakglass::grpc::server::Limits;
use breakglass::grpc::tls::Identity;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

use crate::support::{TestServer, key, within};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter of target/venv, made ready if it is not.
fn python() -> PathBuf {
    let script = repository().join("scripts/lib/python-venv");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/lib/python-venv failed");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

async fn run(server: &TestServer, folder: &Path) -> Vec<Value> {
    let mut command = Command::new(tokio::task::spawn_blocking(python).await.unwrap());
    command
        .arg(repository().join("tests/grpc/client.py"))
        .arg(format!("localhost:{}", server.address.port()))
        .args(["server.pem", "client.pem", "client.key"].map(|name| folder.join(name)))
        .arg(repository().join("proto"))
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .stderr(Stdio::inherit());
    let output = within(tokio::task::spawn_blocking(move || command.output())).await.unwrap().unwrap();
    assert!(output.status.success());
    output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[tokio::test]
async fn grpcio_sees_what_this_crates_client_sees() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, key: &p256::SecretKey| {
        let certificate = self_signed(key, name, &[]).unwrap();
        let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), certificate).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), pem.as_bytes()).unwrap();
    };
    write("server", &key());
    write("client", &key());
    let files = ["server.pem", "server.key"].map(|name| folder.path().join(name));
    let own = Identity::from_files(&files[0], &files[1]).unwrap();
    let server = TestServer::start_as(&own, Limits::default(), |_| false).await;

    let failure = |check: &str, code: &str, reason: Option<&str>| {
        let reason = reason.map(|reason| format!("breakglass/{reason}"));
        json!({"check": check, "code": code, "reason": reason})
    };
    let services = [
        "breakglass.v1.AccessService",
        "breakglass.v1.AuditService",
        "breakglass.v1.CharterService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let expected = [
        json!({"check": "identity.enrolled", "same": true}),
        json!({"check": "identity.p256", "same": true}),
        json!({"check": "identity.ed25519", "same": true}),
        json!({"check": "tls1.2", "accepted": false}),
        json!({"check": "tls1.3", "accepted": true}),
        failure("typed", "NOT_FOUND", Some("STUB")),
        failure("oversized", "RESOURCE_EXHAUSTED", Some("MESSAGE_TOO_LARGE")),
        failure("malformed", "INVALID_ARGUMENT", Some("MESSAGE_MALFORMED")),
        failure("unknown", "UNIMPLEMENTED", Some("NOT_SUPPORTED")),
        failure("unknown", "UNIMPLEMENTED", Some("NOT_SUPPORTED")),
        failure("compressed", "UNIMPLEMENTED", Some("NOT_SUPPORTED")),
        json!({"check": "alive", "code": "OK"}),
        failure("stranger", "UNAUTHENTICATED", Some("CLIENT_UNKNOWN")),
        failure("wrong_pin", "UNAVAILABLE", None),
        json!({"check": "health", "service": "", "status": "SERVING"}),
        json!({"check": "health", "service": "breakglass.v1.AccessService", "status": "SERVING"}),
        json!({"check": "reflection", "services": services}),
        failure("reflected", "NOT_FOUND", Some("STUB")),
    ];
    let seen = run(&server, folder.path()).await;
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen, expected);
    }
    assert_eq!(seen.len(), expected.len());
    server.stop().await;
}

#[test]
fn the_api_passes_buf() {
    let buf = python().with_file_name("buf");
    for arguments in [&["lint"][..], &["format", "--diff", "--exit-code"]] {
        let output = Command::new(&buf).args(arguments).current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "buf {arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
