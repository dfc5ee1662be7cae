//! Verifiers that were not written here, in front of the real daemon: what a kill means for one that asks, and what none of
//! them takes.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use breakglass::jose::{Digest, b64};
use serde_json::{Value, json};
use testkit::{OpenBao, Process, free_port, temp_dir, wait_for};

use crate::{
    kill::{kill, signed_kill},
    kit,
    tool::{python, repository},
    world::{DEADLINE, World},
};

const SECRET: &str = "vault-secret_of-256-random-bits";

fn world() -> World {
    World::with_operational(|document| {
        let verifiers = json!([{"id": "vault", "aud": kit::AUD, "secret": Digest::of(SECRET.as_bytes())}]);
        kit::patch(document, json!({"verifiers": verifiers}))
    })
}

impl World {
    /// These claims as an access token under the operational key: what the daemon's host can have signed at any time.
    fn by_operational_key(&self, jwt: &str) -> String {
        let claims = b64::decode(jwt.split('.').nth(1).unwrap()).unwrap();
        let kid = self.charter.document().operational_keys[0].key.thumbprint();
        self.mint_on("operational", &kid, &claims)
    }
}

/// Apache with `mod_oauth2`, which lets through whom a token lets through.
struct Apache {
    _process: Process,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Apache {
    /// `verify` is what `OAuth2TokenVerify` says.
    fn start(verify: &str) -> Self {
        for _ in 0..5 {
            let (dir, port) = (temp_dir(), free_port());
            let root = dir.path().display();
            // Its workers are other users than the test, where that one is root.
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(dir.path().join("root")).unwrap();
            fs::write(dir.path().join("root/index.html"), "inside\n").unwrap();
            let modules = ["mpm_event", "authn_core", "authz_core", "authz_user", "dir", "oauth2"];
            let modules = modules
                .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
            let config = format!(
                "ServerRoot {root}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {root}/pid\nMutex pthread\n\
                 User www-data\nGroup www-data\n{}ErrorLog {root}/error\nDocumentRoot {root}/root\n\
                 DirectoryIndex index.html\n<Location />\nAuthType oauth2\nOAuth2TokenVerify {verify}\nRequire valid-user\n\
                 </Location>\n",
                modules.concat()
            );
            let path = dir.path().join("apache.conf");
            fs::write(&path, config).unwrap();
            let mut command = Command::new("/usr/sbin/apache2");
            command.arg("-f").arg(&path).arg("-DFOREGROUND");
            let mut process = Process::spawn("apache", dir.path(), &mut command).with_children();
            let up = wait_for("Apache to answer or to end", DEADLINE, || {
                if process.exited().is_some() {
                    return Some(false);
                }
                TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
            });
            if up {
                return Self { _process: process, port, _dir: dir };
            }
            let log = process.log();
            assert!(log.contains("Address already in use"), "Apache did not start:\n{log}");
        }
        panic!("no port stayed free five times");
    }

    /// The status of a request with this token.
    fn ask(&self, jwt: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let output = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "20"])
            .args(["--header", &format!("Authorization: Bearer {jwt}"), &url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }
}

#[test]
fn apache_that_asks_refuses_a_killed_token_within_its_caches_time() {
    let world = world();
    let daemon = world.start();
    let client = world.client("erin/file");
    let (one, other) = (
        world.wish(json!({"ttl": 60})).grant_all(&client).unwrap(),
        world.wish(json!({"ttl": 60})).grant_all(&client).unwrap(),
    );
    let url = format!("http://127.0.0.1:{}/introspect", world.ports().http);
    let auth = format!("introspect.auth=client_secret_basic&client_id=vault&client_secret={SECRET}");
    let apache = Apache::start(&format!("introspect {url} {auth}&expiry=1"));
    assert_eq!((apache.ask(&one), apache.ask(&other), apache.ask("garbage")), (200, 200, 401));
    assert_eq!(apache.ask(&world.by_operational_key(&one)), 401, "signed by an operational key");
    let claims: Value =
        serde_json::from_slice(&b64::decode(one.split('.').nth(1).unwrap()).unwrap()).unwrap();
    client.kill(&signed_kill(&kill(&world, "jti", claims["jti"].as_str()), "alice/1")).unwrap();
    let killed = Instant::now();
    wait_for("Apache to refuse", DEADLINE, || (apache.ask(&one) == 401).then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(5), "it took {:?}", killed.elapsed());
    assert_eq!(apache.ask(&other), 200);
    // With nobody to ask it lets nobody in.
    assert!(daemon.stop().success());
    wait_for("Apache to refuse", DEADLINE, || (apache.ask(&other) == 401).then_some(()));
}

/// Verifiers that look at JWKS alone: they take what the issuing key signs, and nothing that the operational key signs.
#[test]
fn neither_apache_nor_openbao_takes_an_access_token_by_an_operational_key() {
    let world = world();
    let daemon = world.start();
    let client = world.client("erin/file");
    let good = world.wish(json!({"ttl": 300})).grant_all(&client).unwrap();
    let forged = world.by_operational_key(&good);
    assert_eq!(world.verify(&good).map(|_| ()), Ok(()));
    assert_eq!(world.verify(&forged).unwrap_err().reason(), "ISSUING_KEY_UNKNOWN");
    let jwks = format!("http://127.0.0.1:{}/jwks.json", world.ports().http);

    let apache = Apache::start(&format!("jwks_uri {jwks}"));
    assert_eq!((apache.ask(&good), apache.ask(&forged)), (200, 401));

    python();
    let bao = OpenBao::start(repository());
    let set = |path: &str, body: Value| {
        let answer = bao.call("POST", path, Some(bao.root()), &body.to_string());
        assert!(matches!(answer.status, 200 | 204), "{path}: {}", answer.body);
    };
    set("/v1/sys/auth/jwt", json!({"type": "jwt"}));
    set("/v1/auth/jwt/config", json!({"jwks_url": jwks, "bound_issuer": world.charter.document().iss}));
    set(
        "/v1/auth/jwt/role/emergency",
        json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": [kit::AUD]}),
    );
    let login = |jwt: &str| {
        let body = json!({"role": "emergency", "jwt": jwt}).to_string();
        bao.call("POST", "/v1/auth/jwt/login", None, &body).status
    };
    assert_eq!((login(&good), login(&forged)), (200, 400));
    assert!(daemon.stop().success());
}
