//! Real Caddy with `forward_auth`.

use std::{fs, net::TcpStream, process::Command};

use testkit::{Process, free_port, wait_for};

use crate::{
    place::{Answer, Gate, Place, answer},
    world::DEADLINE,
};

/// Caddy in front of an application that says what it was told.
struct Caddy {
    _process: Process,
    port: u16,
}

impl Caddy {
    fn start(place: &Place, gate: &Gate) -> Self {
        for _ in 0..5 {
            let (port, application) = (free_port(), free_port());
            let text = format!(
                r#"
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    storage file_system {storage}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls {cert} {key} {{
        client_auth {{
            mode request
        }}
    }}
    forward_auth 127.0.0.1:{auth} {{
        uri /auth
        header_up X-Client-Cert {{http.request.tls.client.certificate_der_base64}}
        copy_headers X-Breakglass-Subject X-Breakglass-Incident
    }}
    reverse_proxy 127.0.0.1:{application}
}}
http://:{application} {{
    bind 127.0.0.1
    respond "subject={{header.X-Breakglass-Subject}} incident={{header.X-Breakglass-Incident}} uri={{uri}}"
}}
"#,
                storage = place.path("caddy").display(),
                cert = place.path("tls.cert.pem").display(),
                key = place.path("tls.key.pem").display(),
                auth = gate.auth,
            );
            let path = place.path("Caddyfile");
            fs::write(&path, text).unwrap();
            let mut command = Command::new("/usr/bin/caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
            command.env("HOME", place.world.dir.path()).env("XDG_DATA_HOME", place.world.dir.path());
            command.env("XDG_CONFIG_HOME", place.world.dir.path());
            let mut process = Process::spawn("caddy", place.world.dir.path(), &mut command);
            let up = wait_for("Caddy to answer or to end", DEADLINE, || {
                if process.exited().is_some() {
                    return Some(false);
                }
                let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
                (open(port) && open(application)).then_some(true)
            });
            if up {
                return Self { _process: process, port };
            }
            let log = process.log();
            assert!(log.contains("address already in use"), "Caddy did not start:\n{log}");
        }
        panic!("no port stayed free five times");
    }
}

#[test]
fn caddy_lets_pass_what_the_gate_accepts_and_a_kill_ends_it() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let gate = place.gate(|config| {
        config.replace("kind = \"nginx\"", "kind = \"caddy\"").replace("format = \"pem\"", "format = \"der\"")
    });
    gate.ready();
    let caddy = Caddy::start(&place, &gate);
    let token = place.bearer(&client);
    let ask = |path: &str, who: Option<&str>, more: &[&str]| -> Answer {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--insecure", "--path-as-is", "--include", "--http1.1"]);
        command.args(["--max-time", "20", "-H", &format!("Authorization: Bearer {token}")]).args(more);
        if let Some(who) = who {
            command.arg("--cert").arg(place.path(&format!("{who}.cert.pem")));
            command.arg("--key").arg(place.path(&format!("{who}.key.pem")));
        }
        let output = command.arg(format!("https://localhost:{}{path}", caddy.port)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        answer(&String::from_utf8_lossy(&output.stdout))
    };
    let passed = ask("/orders/orders?x=1", Some("erin"), &["-H", "X-Breakglass-Subject: root"]);
    assert_eq!(
        (passed.status, passed.body.as_str()),
        (200, "subject=erin incident=INC-42 uri=/orders/orders?x=1")
    );
    for (what, answer, status, reason) in [
        ("no certificate", ask("/orders/orders", None, &[]), 401, "CERTIFICATE_MISSING"),
        ("a thief", ask("/orders/orders", Some("mallory"), &[]), 401, "CERTIFICATE_MISMATCH"),
        ("another table", ask("/orders/other", Some("erin"), &[]), 403, "DETAILS_NOT_COVERED"),
        ("writing", ask("/orders/orders", Some("erin"), &["-X", "POST"]), 403, "REQUEST_UNMAPPED"),
        ("two slashes", ask("/orders//orders", Some("erin"), &[]), 403, "PATH_AMBIGUOUS"),
        (
            "a spoofed request",
            ask("/orders/other", Some("erin"), &["-H", "X-Forwarded-Uri: /orders/orders"]),
            403,
            "DETAILS_NOT_COVERED",
        ),
    ] {
        // Caddy hands on the gate's own answer.
        assert_eq!((answer.status, answer.reason()), (status, reason), "{what}: {answer:?}");
    }
    place.kill(&client, "profile", Some("db-read")).unwrap();
    let killed = wait_for("the gate to refuse what was killed", DEADLINE, || {
        let answer = ask("/orders/orders", Some("erin"), &[]);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((killed.status, killed.reason()), (401, "PROFILE_KILLED"));
    assert!(daemon.stop().success());
}
