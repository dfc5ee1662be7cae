//! What gets lost on the way: connections, answers, and the daemon itself for a while. Nobody notices but by the time it takes.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;
use testkit::{Process, wait_for};
use virtual_yubikey::{
    CardSpec, TouchMode,
    harness::{Remote, in_stack},
};

use super::world::{ALICE, BOB, CAROL, DEADLINE, DETAIL, ERIN, Issuer, World};

#[test]
fn what_is_lost_on_the_way_is_made_good() {
    let cards = [ALICE, BOB, CAROL, ERIN].map(CardSpec::new);
    in_stack("live::lost::what_is_lost_on_the_way_is_made_good", &cards, |stack| {
        let mut world = World::new(stack, &Issuer::SoftHsm);
        a_watch_outlives_the_daemon(&mut world);
        an_answer_that_is_lost_is_asked_for_again(&world, stack);
    });
}

fn a_watch_outlives_the_daemon(world: &mut World) {
    let id = world.request();
    let mut command = world.command();
    command.args(["--json", "watch", &id]);
    let mut watch = Process::spawn("watch", &world.path(""), &mut command);
    let states = |log: &str| {
        let said = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        said.filter_map(|line| Some(line["state"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    watch.wait_until("the first look", DEADLINE, |log| states(log).contains(&"pending".into()).then_some(()));
    world.stop();
    let unreachable = world.json(&["watch", &id]);
    unreachable.refused(3, "SERVER_UNREACHABLE");
    assert_eq!(watch.exited(), None, "it waits for the daemon: {}", watch.log());
    world.start();
    world.judge("approve", &id, ALICE).ok();
    world.judge("approve", &id, BOB).ok();
    assert!(watch.wait_exit(DEADLINE).success(), "{}", watch.log());
    assert_eq!(states(&watch.log()).last().unwrap(), "issued");
}

/// The request is filed, and the connection breaks before the client hears of it: it asks again, and is told that its request
/// is there, instead of throwing the keys away.
fn an_answer_that_is_lost_is_asked_for_again(world: &World, stack: &Remote) {
    let wire = Wire::to(world.grpc);
    let config = std::fs::read_to_string(world.path("erin.toml")).unwrap();
    let through = config.replace(&format!(":{}\"", world.grpc), &format!(":{}\"", wire.port));
    assert_ne!(through, config);
    std::fs::write(world.path("wire.toml"), through).unwrap();
    stack.touch(ERIN, TouchMode::Manual);
    let asked = stack.counts(ERIN).touches.asked;
    let mut command = world.command();
    command.args(["--json", "--config", &world.file("wire.toml"), "request", "--profile", "db-root"]);
    command.args(["--detail", DETAIL, "--reason", "The wire breaks", "--incident", "INC-10"]);
    command.args(["--serial", &ERIN.to_string(), "--yes", "--pin-file", &world.file("pin")]);
    let mut request = Process::spawn("request", &world.path(""), &mut command);
    stack.wait_until_asked(ERIN, asked + 1, DEADLINE);

    // The connection stands. From here on nothing comes back, and nobody is there to connect to again.
    wire.swallow();
    stack.press(ERIN);
    let filed = wait_for("the daemon to have the request", DEADLINE, || {
        let listed = world.json(&["list"]).json();
        let requests = listed["requests"].as_array()?;
        let wanted = requests.iter().find(|one| one["grant"]["incident"] == "INC-10")?;
        Some(wanted["request_id"].as_str()?.to_owned())
    });
    wire.cut();
    wait_for("attempts in vain", DEADLINE, || (wire.refused() >= 2).then_some(()));
    assert_eq!(request.exited(), None, "{}", request.log());
    wire.mend();
    assert!(request.wait_exit(DEADLINE).success(), "{}", request.log());
    let told: Value = serde_json::from_str(&request.log()[request.log().find("{\n").unwrap()..]).unwrap();
    assert_eq!(told["request_id"], filed.as_str(), "one request, and its keys are kept");
    world.judge("approve", &filed, ALICE).ok();
    world.judge("approve", &filed, BOB).ok();
    world.json(&["--config", &world.file("erin.toml"), "redeem", &filed]).ok();
}

/// A wire between client and daemon that a test can break.
struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What comes from the daemon goes nowhere.
    swallows: AtomicBool,
    /// Who connects is hung up on.
    broken: AtomicBool,
    refused: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

impl Wire {
    fn to(daemon: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if shared.broken.load(Ordering::SeqCst) {
                    shared.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let daemon = TcpStream::connect(("127.0.0.1", daemon)).unwrap();
                let both = [&client, &daemon].map(|stream| stream.try_clone().unwrap());
                shared.streams.lock().unwrap().extend(both);
                let (up, down) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
                thread::spawn(move || pass(up, daemon, None));
                let state = Arc::clone(&shared);
                thread::spawn(move || pass(down, client, Some(&state)));
            }
        });
        Self { port, state }
    }

    fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    fn cut(&self) {
        self.state.broken.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    fn mend(&self) {
        self.state.swallows.store(false, Ordering::SeqCst);
        self.state.broken.store(false, Ordering::SeqCst);
    }
}

/// Carries bytes until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, swallows: Option<&State>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if swallows.is_some_and(|state| state.swallows.load(Ordering::SeqCst)) {
            continue;
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
