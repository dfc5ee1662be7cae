//! Real nginx with `auth_request`, configured as `breakglass-gate --help` says.

use std::{fs, net::TcpStream, path::Path, process::Command};

use testkit::{Process, free_port, temp_dir, wait_for};

use crate::{
    dpop, kit,
    place::{Answer, Gate, Place, answer},
    world::{DEADLINE, now},
};

/// nginx in front of an application that says what it was told.
pub struct Nginx {
    _process: Process,
    pub port: u16,
    dir: tempfile::TempDir,
}

/// The part of the help that configures nginx.
fn documented() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_breakglass-gate")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, from) = help.split_once("nginx, for the configuration above:\n").unwrap();
    let (part, _) = from.split_once("Whatever identity headers").unwrap();
    part.to_owned()
}

impl Nginx {
    pub fn start(place: &Place, gate: &Gate) -> Self {
        for _ in 0..5 {
            let (dir, port, application) = (temp_dir(), free_port(), free_port());
            let config = configuration(dir.path(), place, &documented(), [port, application, gate.auth]);
            let path = dir.path().join("nginx.conf");
            fs::write(&path, config).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-p").arg(dir.path()).arg("-c").arg(&path);
            let mut process = Process::spawn("nginx", dir.path(), &mut command);
            let up = wait_for("nginx to answer or to end", DEADLINE, || {
                if process.exited().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if up {
                return Self { _process: process, port, dir };
            }
            let log = process.log();
            assert!(log.contains("Address already in use"), "nginx did not start:\n{log}");
        }
        panic!("no port stayed free five times");
    }

    /// Asks with curl.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        let url = format!("https://127.0.0.1:{}{path}", self.port);
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--path-as-is",
            "--include",
            "--max-time",
            "20",
        ]);
        let output = command.args(arguments).arg(url).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        answer(&String::from_utf8_lossy(&output.stdout))
    }
}

fn configuration(dir: &Path, place: &Place, documented: &str, ports: [u16; 3]) -> String {
    let [port, application, auth] = ports;
    let dir = dir.display();
    let (certificate, key) = (place.path("tls.cert.pem"), place.path("tls.key.pem"));
    let documented = documented
        .replace("127.0.0.1:9400", &format!("127.0.0.1:{auth}"))
        .replace("http://application", &format!("http://127.0.0.1:{application}"));
    format!(
        r#"
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_verify_client optional_no_ca;
        {documented}
    }}
    server {{
        listen 127.0.0.1:{application};
        location / {{ return 200 "subject=$http_x_breakglass_subject uri=$request_uri\n"; }}
    }}
}}
"#,
        cert = certificate.display(),
        key = key.display(),
    )
}

#[test]
fn nginx_lets_pass_what_the_gate_accepts_and_a_kill_ends_it() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let gate = place.gate(|config| config);
    gate.ready();
    let nginx = Nginx::start(&place, &gate);
    let token = place.bearer(&client);
    let bearer = format!("Authorization: Bearer {token}");
    let pair = |name: &str| [place.path(&format!("{name}.cert.pem")), place.path(&format!("{name}.key.pem"))];
    let ask = |path: &str, who: Option<&str>, more: &[&str]| {
        let mut arguments: Vec<String> = vec!["-H".into(), bearer.clone()];
        if let Some(who) = who {
            let [certificate, key] = pair(who).map(|path| path.display().to_string());
            arguments.extend(["--cert".into(), certificate, "--key".into(), key]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        nginx.curl(path, &arguments)
    };
    let passed = ask("/orders/orders?x=1", Some("erin"), &["-H", "X-Breakglass-Subject: root"]);
    assert_eq!((passed.status, passed.body.as_str()), (200, "subject=erin uri=/orders/orders?x=1\n"));
    for (what, answer, status, reason) in [
        ("no certificate", ask("/orders/orders", None, &[]), 401, "CERTIFICATE_MISSING"),
        ("a thief", ask("/orders/orders", Some("mallory"), &[]), 401, "CERTIFICATE_MISMATCH"),
        ("another table", ask("/orders/customers", Some("erin"), &[]), 403, "DETAILS_NOT_COVERED"),
        ("a way up", ask("/orders/x/..%2forders", Some("erin"), &[]), 403, "PATH_AMBIGUOUS"),
        ("two slashes", ask("/orders//orders", Some("erin"), &[]), 403, "PATH_AMBIGUOUS"),
        ("no rule", ask("/orders/a/b", Some("erin"), &[]), 403, "REQUEST_UNMAPPED"),
        ("writing", ask("/orders/orders", Some("erin"), &["-X", "POST"]), 403, "REQUEST_UNMAPPED"),
        (
            "a spoofed certificate",
            ask(
                "/orders/orders",
                None,
                &["-H", &format!("X-Client-Cert: {}", crate::place::escaped(&place.text("erin.cert.pem")))],
            ),
            401,
            "CERTIFICATE_MISSING",
        ),
        (
            "a spoofed request",
            ask("/orders/customers", Some("erin"), &["-H", "X-Original-URI: /orders/orders"]),
            403,
            "DETAILS_NOT_COVERED",
        ),
    ] {
        assert_eq!((answer.status, answer.reason()), (status, reason), "{what}: {answer:?}");
    }
    let challenged = ask("/orders/orders", None, &[]);
    assert!(challenged.header("www-authenticate").contains("error=\"invalid_token\""), "{challenged:?}");

    place.kill(&client, "requester", Some("erin")).unwrap();
    let killed = wait_for("the gate to refuse what was killed", DEADLINE, || {
        let answer = ask("/orders/orders", Some("erin"), &[]);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((killed.status, killed.reason()), (401, "REQUESTER_KILLED"));
    assert!(gate.metric("breakglass_gate_refused_total{reason=\"REQUESTER_KILLED\"}") >= 1);
    assert!(daemon.stop().success());
}

#[test]
fn nginx_lets_pass_a_token_with_a_proof_once() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let gate = place.gate(|config| config);
    gate.ready();
    let nginx = Nginx::start(&place, &gate);
    let token = place.dpop(&client, "a fresh key");
    let url = format!("https://127.0.0.1:{}/orders/orders", nginx.port);
    let proof = |jti: &str, url: &str| {
        dpop::proof(&kit::key("a fresh key"), &dpop::claims("GET", url, &token, now(), jti))
    };
    let ask = |proof: &str| {
        let (authorization, proof) = (format!("Authorization: DPoP {token}"), format!("DPoP: {proof}"));
        nginx.curl("/orders/orders?page=1", &["-H", &authorization, "-H", &proof])
    };
    let first = proof("first", &url);
    assert_eq!(ask(&first).status, 200);
    let again = ask(&first);
    assert_eq!((again.status, again.reason()), (401, "DPOP_REPLAYED"));
    let told = again.header("www-authenticate");
    assert!(told.contains("DPoP algs=\"ES256") && told.contains("invalid_dpop_proof"), "{told}");
    assert_eq!(ask(&proof("second", "https://evil.example/orders/orders")).reason(), "DPOP_URL_MISMATCH");
    assert_eq!(ask(&proof("third", &url)).status, 200);
    let bare = nginx.curl("/orders/orders", &["-H", &format!("Authorization: Bearer {token}")]);
    assert_eq!((bare.status, bare.reason()), (401, "SCHEME_MISMATCH"));
    let nobody = nginx.curl("/orders/orders", &[]);
    assert_eq!((nobody.status, nobody.reason()), (401, "TOKEN_MISSING"));
    assert!(daemon.stop().success());
}
