//! An issuing tool in another language, and verifiers that know nothing of Breakglass.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use breakglass::{
    grpc::{cert::self_signed, v1::RequestState},
    jose::Typ,
};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

use crate::{
    client::secret,
    kit,
    world::{World, now},
};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter of target/venv, made ready if it is not.
pub fn python() -> PathBuf {
    let script = repository().join("scripts/lib/python-venv");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/lib/python-venv failed");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// The tool `pager`, filing for erin.
fn issue_py(world: &World) -> Child {
    let (name, key) = ("pager", secret("pager/file"));
    fs::write(world.path("pager.pem"), self_signed(&key, name, &[]).unwrap()).unwrap();
    fs::write(world.path("pager.key"), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
    let detail = r#"{"type":"database","actions":["read"],"locations":["pg/prod/orders"]}"#;
    let mut command = Command::new(python());
    command
        .arg(repository().join("scripts/examples/issue.py"))
        .args(["--server", &format!("localhost:{}", world.ports().grpc), "--server-cert"])
        .args([
            world.path("tls.cert.pem").as_os_str(),
            "--cert".as_ref(),
            world.path("pager.pem").as_os_str(),
        ])
        .args(["--key".as_ref(), world.path("pager.key").as_os_str()])
        .args(["--cnf-out".as_ref(), world.path("cnf.pem").as_os_str()])
        // One digest in 64 begins with a hyphen.
        .arg(format!("--charter-digest={}", world.charter.digest()))
        .args(["--profile", "db-read", "--detail", detail, "--sub", "erin", "--ttl", "60", "--wait", "600"])
        .args(["--reason", "Bestellungen hängen", "--incident", "INC-7"])
        .env_remove("http_proxy")
        .env_remove("https_proxy");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The id that the tool says, on the first line that it writes, and what it says after that.
fn said_id(child: &mut Child) -> (String, Lines<BufReader<ChildStderr>>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().expect("the tool said nothing").unwrap();
    (first.strip_prefix("request ").unwrap_or_else(|| panic!("{first}")).to_owned(), lines)
}

#[test]
fn a_tool_in_python_files_waits_and_redeems() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    let mut tool = issue_py(&world);
    let (id, rest) = said_id(&mut tool);
    let request = client.get(&id).unwrap();
    let grant = breakglass::jose::GeneralJws::parse(&request.jws, 32_000).unwrap().payload;
    for device in ["alice/1", "bob/1"] {
        client.submit(&id, &kit::key(device).jws(Typ::Approval, &grant, now())).unwrap();
    }
    let mut jwt = String::new();
    tool.stdout.take().unwrap().read_to_string(&mut jwt).unwrap();
    let told: Vec<String> = rest.map(Result::unwrap).collect();
    assert!(tool.wait().unwrap().success(), "{told:?}");
    assert!(told.contains(&"issued".to_owned()), "{told:?}");
    let accepted = world.verify(jwt.trim()).unwrap();
    assert_eq!(accepted.claims.sub.as_str(), "erin");
    assert_eq!(accepted.grant.reason.as_str(), "Bestellungen hängen");
}

#[test]
fn a_tool_in_python_is_told_that_its_request_was_denied() {
    let world = World::new();
    let _daemon = world.start();
    let client = world.client("erin/file");
    let mut tool = issue_py(&world);
    let (id, rest) = said_id(&mut tool);
    let request = client.get(&id).unwrap();
    let grant = breakglass::jose::GeneralJws::parse(&request.jws, 32_000).unwrap().payload;
    let denied = client.submit(&id, &kit::key("alice/1").jws(Typ::Denial, &grant, now())).unwrap();
    assert_eq!(denied.state(), RequestState::Denied);
    let told: Vec<String> = rest.map(Result::unwrap).collect();
    assert_eq!(tool.wait().unwrap().code(), Some(3), "{told:?}");
}
