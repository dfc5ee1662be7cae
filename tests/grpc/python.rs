//! The same boundary seen by a foreign client: grpcio, which brings its own TLS, HTTP/2 and protobuf.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use breakglass::domain::strict::{Seen, View, verify};
use breakglass::grpc::server::Limits;
use breakglass::grpc::tls::Identity;
use breakglass::grpc::v1::{self, RequestState, watch_requests_response::Event};
use breakglass::jose::{GeneralJws, Typ};
use serde_json::{Value, json};

use crate::support::{TestServer, key, within};
use crate::world::{World, now, pems, with_world};

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
        let (certificate, pem) = pems(key, name);
        std::fs::write(folder.path().join(format!("{name}.pem")), certificate).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), pem).unwrap();
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
        "breakglass.v1.GateService",
        "breakglass.v1.GenesisService",
        "breakglass.v1.KillService",
        "breakglass.v1.VerifierService",
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

/// Starts `scripts/examples/issue.py` as `tool`, filing for eve.
fn issuing_tool(world: &World, arguments: &[&str]) -> Command {
    let (certificate, pem) = pems(&world.keys["tool.tls"], "tool");
    let file = |name: &str, text: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = Command::new(python());
    command
        .arg(repository().join("scripts/examples/issue.py"))
        .args(["--server", &world.address, "--profile", "db", "--sub", "eve", "--incident", "INC-7"])
        .args(["--reason", "Störung: failover stuck"])
        // One digest in 64 begins with a hyphen.
        .arg(format!("--charter-digest={}", world.charter.digest()))
        .arg("--server-cert")
        .arg(file("server.pem", &world.server_pem))
        .arg("--cert")
        .arg(file("tool.pem", &certificate))
        .arg("--key")
        .arg(file("tool.key", &pem))
        .arg("--cnf-out")
        .arg(world.folder.path().join("cnf.pem"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

const DETAIL: &str = r#"{"type":"database","actions":["read"],"locations":["pg/prod","pg/audit","pg/prod"]}"#;

/// The first request that shows up, with its signed bytes.
async fn first_request(world: &World) -> (String, Vec<u8>) {
    let message = v1::WatchRequestsRequest::default();
    let mut events =
        world.connect("alice").await.access().watch_requests(message).await.unwrap().into_inner();
    loop {
        if let Some(Event::Request(request)) = within(events.message()).await.unwrap().unwrap().event {
            assert_eq!(request.state(), RequestState::Pending);
            return (request.request_id, GeneralJws::parse(&request.jws, 32_000).unwrap().payload);
        }
    }
}

#[test]
fn the_issuing_tool_gets_a_token() {
    with_world("python::the_issuing_tool_gets_a_token", |world| async move {
        let tool = issuing_tool(&world, &["--detail", DETAIL]).spawn().unwrap();
        let tool = tokio::task::spawn_blocking(move || tool.wait_with_output());
        let (id, grant) = first_request(&world).await;
        for custodian in ["alice", "bob"] {
            world.submit(&id, world.verdicts(&grant, Typ::Approval, &[custodian])).await.unwrap();
        }
        let output = within(tool).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        let jwt = String::from_utf8(output.stdout).unwrap();
        let audience = "https://db.example".parse().unwrap();
        let view = View {
            charter: &world.charter,
            audience: &audience,
            now: now(),
            killed: None,
            allow_development: true,
        };
        let accepted = verify(jwt.trim(), &view, &mut Seen::default()).unwrap();
        assert_eq!((accepted.claims.sub.as_str(), accepted.claims.client_id.as_str()), ("eve", "tool"));
        let cnf = std::fs::metadata(world.folder.path().join("cnf.pem")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&cnf.permissions()) & 0o777, 0o600);
    });
}

#[test]
fn the_issuing_tool_says_why_there_is_no_token() {
    with_world("python::the_issuing_tool_says_why_there_is_no_token", |world| async move {
        let tool = issuing_tool(&world, &["--detail", DETAIL]).spawn().unwrap();
        let tool = tokio::task::spawn_blocking(move || tool.wait_with_output());
        let (id, grant) = first_request(&world).await;
        world.submit(&id, world.verdicts(&grant, Typ::Denial, &["alice"])).await.unwrap();
        let output = within(tool).await.unwrap().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b""[..]));

        std::fs::remove_file(world.folder.path().join("cnf.pem")).unwrap();
        let other = DETAIL.replace("read", "drop");
        let mut refused = issuing_tool(&world, &["--detail", &other]);
        let output = tokio::task::spawn_blocking(move || refused.stderr(Stdio::piped()).output());
        let output = within(output).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("PERMISSION_DENIED") && said.contains("DETAILS_NOT_ALLOWED"), "{said}");
    });
}
