//! Hostile and broken peers.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use breakglass::http::Settings;
use testkit::wait_for;

use crate::{
    client::{DEADLINE, ask, connect, get, raw},
    world::{World, settings},
};

const PATHS: [&str; 6] =
    ["/.well-known/openid-configuration", "/jwks.json", "/healthz", "/readyz", "/metrics", "/checkpoint"];

#[test]
fn head_is_get_without_a_body_and_other_methods_are_refused() {
    let world = World::new();
    for path in PATHS {
        let (got, head) = (get(world.address, path), ask(world.address, "HEAD", path, ""));
        if path != "/readyz" {
            assert_eq!(head.status, got.status, "{path}");
        }
        assert!(head.body.is_empty() && !got.body.is_empty(), "{path}");
        assert!(head.header("content-length").is_some(), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = ask(world.address, method, path, "Content-Length: 0\r\n");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    for path in ["/", "/jwks", "/jwks.json/", "//jwks.json", "/JWKS.JSON", "/tile", "/%6awks.json", "*"] {
        assert_eq!(get(world.address, path).status, 404, "{path}");
    }
    assert_eq!(ask(world.address, "POST", "/nothing", "Content-Length: 0\r\n").status, 404);
}

#[test]
fn every_answer_forbids_sniffing_and_tells_nothing_of_the_server() {
    let world = World::new();
    for path in PATHS.into_iter().chain(["/nothing"]) {
        let answer = get(world.address, path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!((answer.header("server"), answer.header("x-powered-by")), (None, None), "{path}");
        assert!(answer.header("cache-control").is_some(), "{path}");
        let kind = answer.header("content-type").unwrap();
        assert!(!kind.contains("html") && !kind.contains("script"), "{path}: {kind}");
    }
}

#[test]
fn malformed_and_oversized_requests_are_refused_and_harm_nobody_else() {
    let world = World::new();
    let long = "a".repeat(100_000);
    let many = "X: y\r\n".repeat(200);
    let cases: [(String, &[u16]); 6] = [
        ("nonsense\r\n\r\n".into(), &[400]),
        ("GET / HTTP/9.9\r\n\r\n".into(), &[400]),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), &[414, 431]),
        (format!("GET /jwks.json HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"), &[431]),
        (format!("GET /jwks.json HTTP/1.1\r\nHost: x\r\n{many}\r\n"), &[431]),
        (
            "GET /jwks.json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".into(),
            &[400],
        ),
    ];
    for (request, expected) in &cases {
        let answer = raw(world.address, request.as_bytes());
        let shown = &request[..request.len().min(60)];
        assert!(expected.contains(&answer.status), "{} for {shown:?}", answer.status);
    }
    assert_eq!(get(world.address, "/healthz").status, 200);
}

#[test]
fn a_body_is_not_read() {
    let world = World::new();
    let mut stream = connect(world.address);
    let head = "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let start = Instant::now();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // Nor is a peer kept that goes on sending it.
    let chunk = vec![0; 64 * 1024];
    wait_for("the end of the connection", DEADLINE, || stream.write_all(&chunk).is_err().then_some(()));
    assert!(start.elapsed() < DEADLINE);
}

/// Whether the server has closed.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_peer_that_sends_nothing_or_a_byte_at_a_time_is_cut() {
    let head = Duration::from_millis(300);
    let world = World::with("", Settings { head, ..settings() }, |document| document);
    let (mut silent, mut slow, mut idle) =
        (connect(world.address), connect(world.address), connect(world.address));
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let start = Instant::now();
    let mut drip = b"GET /healthz HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a'));
    wait_for("all three to be cut", DEADLINE, || {
        let _ = slow.write_all(&[*drip.next().unwrap()]);
        let cut = [&mut silent, &mut slow, &mut idle].map(is_closed);
        cut.iter().all(|cut| *cut).then_some(())
    });
    assert!(start.elapsed() >= head, "not before its time: {:?}", start.elapsed());
}

#[test]
fn a_peer_that_never_reads_is_cut() {
    let settings =
        Settings { life: Duration::from_millis(500), drain: Duration::from_millis(200), ..settings() };
    let world = World::with("", settings, |document| document);
    let mut stream = connect(world.address);
    stream.set_nonblocking(true).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    // It asks for ever, and never looks at an answer: at some point the server cannot send, and does not read either.
    wait_for("the connection to be cut", DEADLINE, || match stream.write(request.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Some(()),
        _ => None,
    });
    assert_eq!(get(world.address, "/healthz").status, 200);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let world = World::with("", Settings { connections: 2, ..settings() }, |document| document);
    let hold = || {
        let mut stream = connect(world.address);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        stream
    };
    let (first, second) = (hold(), hold());
    let mut third = connect(world.address);
    third.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = [0; 12];
    let early = third.read(&mut answer).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "there is no room yet");
    drop(first);
    third.set_read_timeout(Some(DEADLINE)).unwrap();
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(second);
}

#[test]
fn stopping_answers_what_is_asked_and_cuts_the_rest() {
    let settings = Settings { drain: Duration::from_millis(300), ..settings() };
    let mut world = World::with("", settings, |document| document);
    let mut idle = connect(world.address);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let mut half = connect(world.address);
    half.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    world.stop();
    wait_for("both to be closed", DEADLINE, || (is_closed(&mut idle) && is_closed(&mut half)).then_some(()));
    assert!(TcpStream::connect(world.address).is_err(), "nobody listens any more");
}
