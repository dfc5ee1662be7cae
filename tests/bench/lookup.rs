//! What others charge for the question whether a token counts: `OpenBao`'s `auth/token/lookup-self`, over HTTP on one machine,
//! in processor time of its process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::OpenBao;

use crate::stats::{process_cpu, round};

/// Connections that ask at the same time, each again and again.
const CONNECTIONS: usize = 4;
const DURATION: Duration = Duration::from_secs(3);

/// What a server did under load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Answers per second.
    pub per_second: f64,
    /// Answers per second of the server's processor time: what one core of it gives.
    pub per_core: f64,
}

impl Load {
    pub fn to_json(self) -> Value {
        json!({"per_second": self.per_second.round(), "per_core_second": self.per_core.round(),
            "server_cpu_us": round(1e6 / self.per_core)})
    }
}

/// Measures `OpenBao`.
pub fn openbao() -> Load {
    let server = OpenBao::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let made =
        server.call("POST", "/v1/auth/token/create", Some(server.root()), r#"{"policies":["default"]}"#);
    assert_eq!(made.status, 200, "{}", made.body);
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let question =
        format!("GET /v1/auth/token/lookup-self HTTP/1.1\r\nHost: bao\r\nX-Vault-Token: {token}\r\n\r\n");
    load(server.url().trim_start_matches("http://"), &question, server.id())
}

/// Asks a server the same question again and again; each answer is a 200 with a `Content-Length`.
pub fn load(address: &str, question: &str, pid: u32) -> Load {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut answers = BufReader::new(stream.try_clone().unwrap());
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(question.as_bytes()).unwrap();
                    answer(&mut answers);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Connections, caches and the like are made in the first second.
        std::thread::sleep(Duration::from_secs(1));
        let (cpu, before) = (process_cpu(pid), count.load(Ordering::Relaxed));
        std::thread::sleep(DURATION);
        let (cpu, answers) = (process_cpu(pid) - cpu, count.load(Ordering::Relaxed) - before);
        stop.store(true, Ordering::Relaxed);
        let answers = answers as f64;
        Load { per_second: answers / DURATION.as_secs_f64(), per_core: answers / cpu.as_secs_f64() }
    })
}

fn answer(from: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    from.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    loop {
        line.clear();
        from.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut from.take(length), &mut std::io::sink()).unwrap();
}
