//! What a stranger can send through a proxy, and a proxy that is misconfigured: refused, counted, bounded.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use breakglass::jose::b64;
use serde_json::json;

use crate::{
    dpop, kit,
    place::{Gate, Place, escaped, get},
    world::{DEADLINE, now},
};

/// Kilobytes of memory that the process holds.
fn resident(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A connection that is kept, as a proxy keeps it.
struct Kept {
    stream: BufReader<TcpStream>,
}

impl Kept {
    fn new(gate: &Gate) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", gate.auth)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// The status of the answer.
    fn ask(&mut self, authorization: &str) -> u16 {
        let request = format!(
            "GET /auth HTTP/1.1\r\nHost: gate\r\nX-Original-Method: GET\r\nX-Original-URI: /orders/orders\r\nAuthorization: {authorization}\r\n\r\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        status
    }
}

#[test]
fn a_flood_of_garbage_is_refused_counted_and_takes_no_memory() {
    const FLOOD: usize = 3_000;
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let gate = place.gate(|config| config);
    gate.ready();
    let mut kept = Kept::new(&gate);
    let parts: Vec<&str> = token.split('.').collect();
    let garbage = |number: usize| match number % 4 {
        // Never the same one twice: a memory of them would grow.
        0 => format!(
            "Bearer {}.{}.{}",
            parts[0],
            parts[1],
            b64::encode(&[u8::try_from(number % 251).unwrap(); 64])
        ),
        1 => format!(
            "Bearer {}.{}.{}",
            parts[0],
            b64::encode(json!({"jti": number}).to_string().as_bytes()),
            parts[2]
        ),
        2 => format!("Bearer {}", "a".repeat(5_000 + number)),
        _ => format!("DPoP {number}.{number}.{number}"),
    };
    for number in 0..FLOOD / 10 {
        assert_eq!(kept.ask(&garbage(number)), 401);
    }
    let before = resident(&gate);
    for number in 0..FLOOD {
        assert_eq!(kept.ask(&garbage(number)), 401);
    }
    let grown = resident(&gate).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} kB for {FLOOD} tokens that were refused");
    assert_eq!(gate.metric("breakglass_gate_tokens_remembered"), 0);
    let malformed = gate.metric("breakglass_gate_refused_total{reason=\"TOKEN_MALFORMED\"}");
    let signature = gate.metric("breakglass_gate_refused_total{reason=\"SIGNATURE_INVALID\"}");
    let all = i64::try_from(FLOOD + FLOOD / 10).unwrap();
    assert_eq!((malformed + signature, signature), (all, all / 4), "each was counted, under its reason");
    assert_eq!(gate.ask_bearer(&token, &place.text("erin.cert.pem")).status, 200);
    assert!(daemon.stop().success());
}

#[test]
fn heads_are_bounded_and_connections_are_too() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let erin = place.text("erin.cert.pem");
    let gate = place.gate(|config| config);
    gate.ready();
    // Longer than all headers of an honest request together.
    let long = "a".repeat(60 * 1024);
    let refused = get(gate.auth, "/auth", &[("X-Long", long.as_str())]);
    assert!(
        refused.as_ref().is_err() || refused.as_ref().is_ok_and(|answer| answer.status == 431),
        "{refused:?}"
    );
    let many: Vec<(&str, &str)> = (0..200).map(|_| ("X-Many", "1")).collect();
    let refused = get(gate.auth, "/auth", &many);
    assert!(
        refused.as_ref().is_err() || refused.as_ref().is_ok_and(|answer| answer.status == 431),
        "{refused:?}"
    );
    // A token of another length than any has.
    let answer = gate.ask_bearer(&"a".repeat(9_000), &erin);
    assert_eq!((answer.status, answer.reason()), (401, "TOKEN_MALFORMED"));
    let certificate = "a".repeat(13_000);
    let headers =
        [("X-Original-Method", "GET"), ("X-Original-URI", "/"), ("X-Client-Cert", certificate.as_str())];
    assert_eq!(gate.ask(&headers).reason(), "CERTIFICATE_HEADER_INVALID");
    let uri = format!("/orders/{}", "a".repeat(5_000));
    assert_eq!(gate.ask(&[("X-Original-Method", "GET"), ("X-Original-URI", &uri)]).reason(), "PATH_INVALID");
    // Hundreds that say nothing leave room for one that asks.
    let idle: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(("127.0.0.1", gate.auth)).unwrap()).collect();
    let begun = Instant::now();
    assert_eq!(gate.ask_bearer(&token, &erin).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(idle);
    assert!(daemon.stop().success());
}

#[test]
fn what_a_proxy_does_not_say_or_says_twice_is_refused() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.bearer(&client);
    let gate = place.gate(|config| config);
    gate.ready();
    let bearer = format!("Bearer {token}");
    let certificate = escaped(&place.text("erin.cert.pem"));
    let good = [
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/orders/orders"),
        ("Authorization", bearer.as_str()),
        ("X-Client-Cert", certificate.as_str()),
    ];
    assert_eq!(gate.ask(&good).status, 200);
    for (at, reason) in [
        (0, "PROXY_HEADER_MISSING"),
        (1, "PROXY_HEADER_MISSING"),
        (2, "TOKEN_MISSING"),
        (3, "CERTIFICATE_MISSING"),
    ] {
        let (mut without, mut twice) = (good.to_vec(), good.to_vec());
        let header = without.remove(at);
        twice.push(header);
        assert_eq!(gate.ask(&without).reason(), reason, "without {}", header.0);
        let answer = gate.ask(&twice);
        assert_eq!((answer.status, answer.reason()), (403, "HEADER_REPEATED"), "{} twice", header.0);
    }
    // The headers of another kind of proxy say nothing here.
    let other = [good[2], good[3], ("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/orders/orders")];
    assert_eq!(gate.ask(&other).reason(), "PROXY_HEADER_MISSING");
    assert_eq!(get(gate.auth, "/elsewhere", &good).unwrap().status, 404);
    assert_eq!(get(gate.control, "/auth", &good).unwrap().status, 404);
    assert!(daemon.stop().success());
}

/// Traefik's headers and its certificate, and a proof through it, over a socket in the file system.
#[test]
fn traefiks_headers_are_understood_on_a_unix_socket_too() {
    let place = Place::new();
    let daemon = place.world.start();
    let client = place.world.client("erin/file");
    let token = place.dpop(&client, "a fresh key");
    let socket = place.path("gate.sock");
    let gate = place.gate(|config| {
        let listen = config.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
        config
            .replace(&listen, "listen = \"unix:gate.sock\"")
            .replace("kind = \"nginx\"", "kind = \"traefik\"")
    });
    gate.ready();
    let claims = dpop::claims("GET", "https://orders.example/orders/orders", &token, now(), "first");
    let proof = dpop::proof(&kit::key("a fresh key"), &claims);
    let ask = |host: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let text = format!(
            "GET /auth HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: {host}\r\nX-Forwarded-Uri: /orders/orders?x\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        crate::place::answer(&answer)
    };
    assert_eq!(ask("evil.example").reason(), "DPOP_URL_MISMATCH");
    assert_eq!(ask("orders.example").status, 200);
    assert_eq!(ask("orders.example").reason(), "DPOP_REPLAYED");
    assert!(daemon.stop().success());
}
