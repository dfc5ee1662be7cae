//! The whole of it: `breakglass request`, `breakglass connect`, real psql, real PostgreSQL, and a kill.

use std::{fs, process::Command, time::Instant};

use breakglass::jose::{GeneralJws, Typ};
use serde_json::{Value, json};
use testkit::{Postgres, Process, wait_for};

use super::{RESOURCE, TunnelGate};
use crate::{
    client::Client,
    kit,
    place::{Place, certificate},
    world::{DEADLINE, canonical, now},
};

/// Erin at her own machine.
pub struct Erin<'a> {
    place: &'a Place,
    /// Whoever hands in the custodians' verdicts.
    client: Client,
}

impl<'a> Erin<'a> {
    pub fn new(place: &'a Place) -> Self {
        let (pem, _) = certificate("erin/file", "erin");
        place.write_pair("erin-file", &pem, "erin/file");
        let (grpc, genesis) = (place.world.ports().grpc, place.world.charter.digest());
        let config = format!(
            "daemon = \"https://127.0.0.1:{grpc}\"\ngenesis = \"{genesis}\"\ncharter = \"charter.json\"\n\
             key = \"erin-file.key.pem\"\ncertificate = \"erin-file.cert.pem\"\nstate_dir = \"requests\"\n"
        );
        fs::write(place.path("erin.toml"), config).unwrap();
        Self { place, client: place.world.client("erin/file") }
    }

    pub fn breakglass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass"));
        command.arg("--json").args(arguments).env("BREAKGLASS_CONFIG", self.place.path("erin.toml"));
        command.current_dir(self.place.world.dir.path());
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Value {
        let output = self.breakglass(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The error of a command that fails with this code.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.breakglass(arguments).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        serde_json::from_str::<Value>(err.lines().last().unwrap()).unwrap()["error"].take()
    }

    /// Asks, as a person does.
    pub fn request(&self, ttl: &str) -> String {
        let detail = json!({"type": "database", "actions": ["read"], "locations": [RESOURCE]}).to_string();
        let what = ["request", "--profile", "db-read", "--detail", &detail, "--ttl", ttl];
        let why = ["--reason", "Orders are stuck", "--incident", "INC-7"];
        let filed = self.run(&[what.as_slice(), &why].concat());
        filed["request_id"].as_str().unwrap().to_owned()
    }

    /// Alice and Bob agree.
    pub fn approved(&self, id: &str) {
        let request = fs::read(self.place.path(&format!("requests/{id}/request.json"))).unwrap();
        let payload = GeneralJws::parse(&request, 60_000).unwrap().payload;
        for device in ["alice/1", "bob/1"] {
            self.client.submit(id, &kit::key(device).jws(Typ::Approval, &payload, now())).unwrap();
        }
    }

    /// `breakglass connect`, once it listens: the process, and its port.
    pub fn connect(&self, gate: &TunnelGate, name: &str) -> (Process, u16) {
        let address = format!("127.0.0.1:{}", gate.port);
        let mut command = self.breakglass(&["connect", RESOURCE, "--gate", &address]);
        let mut connect = Process::spawn(name, self.place.world.dir.path(), &mut command);
        let port = connect.wait_until("it listens", DEADLINE, |log| {
            let told = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())?;
            (told["event"] == "listening").then(|| told["port"].as_u64().unwrap())
        });
        (connect, u16::try_from(port).unwrap())
    }

    /// Carol's kill, handed in with `breakglass kill send`.
    pub fn kill(&self, level: &str, target: &str) {
        let charter = &self.place.world.charter;
        let payload = json!({"iss": charter.document().iss, "charter": charter.digest(),
            "id": kit::nonce(&format!("kill of {target}")), "level": level, "target": target,
            "reason": "Seen where it should not be"});
        let signed = kit::key("carol/1").jws(Typ::Kill, &canonical(&payload), now());
        fs::write(self.place.path("kill.json"), signed.to_json()).unwrap();
        let killed = self.run(&["kill", "send", "kill.json"]);
        assert_eq!(killed["recorded"], true, "{killed}");
    }
}

/// psql that works until it is cut.
fn work(postgres: &Postgres, place: &Place, name: &str, port: u16, sql: &str) -> Process {
    let mut psql = postgres.psql(port);
    psql.args(["--output", "/dev/null", "--command", sql]).env("PGAPPNAME", name);
    Process::spawn(name, place.world.dir.path(), &mut psql)
}

/// What the server is doing for these programs.
fn at_work(postgres: &Postgres) -> String {
    postgres.query(
        "select count(*) from pg_stat_activity where application_name like 'victim%' and state = 'active'",
    )
}

#[test]
fn psql_works_through_connect_and_a_kill_cuts_it() {
    let place = Place::new();
    let postgres = Postgres::start();
    postgres.execute("create table orders (id int); insert into orders select generate_series(1, 1234)");
    postgres.execute("create table sink (line text)");
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &format!("127.0.0.1:{}", postgres.port), "");
    let erin = Erin::new(&place);
    let id = erin.request("10m");
    erin.approved(&id);
    let (mut connect, port) = erin.connect(&gate, "connect");

    let counted = postgres.psql(port).args(["--command", "select count(*) from orders"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), "1234", "{}", connect.log());

    // One that waits, one that reads without end, one that writes without end.
    let endless = "copy (select repeat('x', 1000), generate_series(1, 2000000000)) to stdout";
    let mut victims = vec![
        work(&postgres, &place, "victim-sleep", port, "select pg_sleep(600)"),
        work(&postgres, &place, "victim-read", port, endless),
        work(&postgres, &place, "victim-write", port, "\\copy sink from program 'yes' where false"),
    ];
    wait_for("three statements at work", DEADLINE, || (at_work(&postgres) == "3").then_some(()));
    gate.has_open(3);
    let bytes = |direction| {
        gate.gate.metric(&format!("breakglass_gate_tunnel_bytes_total{{direction=\"{direction}\"}}"))
    };
    wait_for("bytes both ways", DEADLINE, || {
        (bytes("to_client") > 1_000_000 && bytes("to_target") > 1_000_000).then_some(())
    });

    let killed = Instant::now();
    erin.kill("jti", &id);
    for victim in &mut victims {
        let status = victim.wait_exit(DEADLINE);
        assert_eq!(status.code(), Some(2), "psql lost its connection: {}", victim.log());
    }
    let took = killed.elapsed();
    // Long before the view could have grown stale, so it was the kill.
    assert!(took.as_secs() < 8, "psql was cut {took:?} after the kill was handed in");
    let cut = gate.ended("TOKEN_KILLED");
    assert_eq!((&cut["jti"], &cut["sub"], &cut["resource"]), (&json!(id), &json!("erin"), &json!(RESOURCE)));
    gate.has_open(0);
    assert_eq!(gate.gate.metric("breakglass_gate_tunnels_ended_total{reason=\"TOKEN_KILLED\"}"), 3);
    let carried = (bytes("to_client"), bytes("to_target"));
    // So does the audit log, and whoever reads it.
    wait_for("the audit log to say so", DEADLINE, || {
        let shown = erin.run(&["show", &format!("id:{id}")]);
        let what = shown["daemon"]["uses"][0]["what"].as_array()?.clone();
        let told = what.iter().any(|what| what == &format!("read {RESOURCE} cut: TOKEN_KILLED"));
        told.then_some(())
    });
    // The server saw it, too, and does not go on with what nobody waits for.
    wait_for("the statements to end", DEADLINE, || (at_work(&postgres) == "0").then_some(()));
    assert_eq!((bytes("to_client"), bytes("to_target")), carried, "nothing was carried after that");

    assert_eq!(connect.wait_exit(DEADLINE).code(), Some(1), "{}", connect.log());
    let told: Value = serde_json::from_str(connect.log().lines().last().unwrap()).unwrap();
    assert_eq!(told["error"]["reason"], "TOKEN_KILLED", "{told}");
    let address = format!("127.0.0.1:{}", gate.port);
    let again = erin.fails(&["connect", RESOURCE, "--gate", &address], 1);
    assert_eq!(again["reason"], "NO_ISSUED_REQUEST", "{again}");
    assert!(daemon.stop().success());
}

#[test]
fn a_program_of_another_user_does_not_get_through() {
    let place = Place::new();
    let daemon = place.world.start();
    let gate = TunnelGate::start(&place, &super::echo(), "");
    let erin = Erin::new(&place);
    let id = erin.request("10m");
    erin.approved(&id);
    let (mut connect, port) = erin.connect(&gate, "connect");
    let talk = |before: &[&str]| {
        let script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20); \
                      s.sendall(b'ping'); print(s.recv(4).decode())";
        let python = ["/usr/bin/python3", "-c", script, &port.to_string()];
        let words = [before, &python].concat();
        Command::new(words[0]).args(&words[1..]).output().unwrap()
    };
    assert_eq!(String::from_utf8_lossy(&talk(&[]).stdout).trim(), "ping");
    // Only root can become somebody else.
    if rustix::process::geteuid().is_root() {
        let other = talk(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        assert_eq!(String::from_utf8_lossy(&other.stdout).trim(), "", "nobody got through");
        connect.wait_until("it says so", DEADLINE, |log| log.contains("another user").then_some(()));
    }
    assert_eq!(connect.terminate(DEADLINE).code(), Some(0), "ended by its owner: {}", connect.log());
    assert!(daemon.stop().success());
}
