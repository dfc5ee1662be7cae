//! Questions on a real terminal: what is not answered with yes is not signed.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use testkit::wait_for;
use virtual_yubikey::{CardSpec, harness::in_stack};

use super::world::{ALICE, BOB, CAROL, DEADLINE, ERIN, Issuer, PIN, World};

/// A program on a pseudoterminal, which `script` of util-linux provides.
struct Terminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn run(world: &World, arguments: &str) -> Self {
        let program = world.command();
        let mut command = Command::new("script");
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--quiet", "--return", "--command"]);
        command.arg(format!("'{}' {arguments}", program.get_program().display())).arg("/dev/null");
        let mut child = command
            .current_dir(world.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut stdout, shown) = (child.stdout.take().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, screen }
    }

    /// Waits for a question, and types an answer.
    fn answer(&mut self, question: &str, answer: &str) {
        wait_for(question, DEADLINE, || {
            let shown = self.screen.lock().unwrap().contains(question);
            let ended = self.child.try_wait().unwrap();
            assert!(shown || ended.is_none(), "{}", self.screen.lock().unwrap());
            shown.then_some(())
        });
        writeln!(self.child.stdin.as_ref().unwrap(), "{answer}").unwrap();
    }

    /// The exit code, and all that was shown.
    fn end(mut self) -> (i32, String) {
        let status = wait_for("the program to end", DEADLINE, || self.child.try_wait().unwrap());
        (status.code().unwrap(), self.screen.lock().unwrap().clone())
    }
}

#[test]
fn a_person_is_asked_and_no_means_no() {
    let cards = [ALICE, BOB, CAROL, ERIN].map(CardSpec::new);
    in_stack("live::terminal::a_person_is_asked_and_no_means_no", &cards, |stack| {
        let world = World::new(stack, &Issuer::SoftHsm);
        let id = world.request();
        let before = stack.counts(ALICE);
        for answer in ["no", "", "y"] {
            let mut terminal = Terminal::run(&world, &format!("approve {id} --serial {ALICE}"));
            terminal.answer("Approve exactly this, as alice", answer);
            let (code, screen) = terminal.end();
            assert_eq!(code, 5, "{screen}");
            assert!(screen.contains("nothing was signed"), "{screen}");
        }
        assert_eq!(stack.counts(ALICE), before);

        let mut terminal = Terminal::run(&world, &format!("approve {id} --serial {ALICE}"));
        terminal.answer("Approve exactly this, as alice", "yes");
        terminal.answer("PIN of YubiKey 1:", PIN);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("Orders cannot be written"), "what is signed was shown: {screen}");
        assert!(screen.contains("Approved. The request is pending"), "{screen}");
        assert_eq!(stack.counts(ALICE).signatures, before.signatures + 1);
        nobody_there(&world, &id);
        production(&world);
    });
}

/// Where there is no terminal, nothing can be confirmed.
fn nobody_there(world: &World, id: &str) {
    let serial = BOB.to_string();
    world.json(&["approve", id, "--serial", &serial]).refused(5, "NOT_CONFIRMED");
}

/// A charter that is not for development takes no PIN from a file, and its station runs on another host.
fn production(world: &World) {
    world.genesis("production", false, "https://breakglass.example.test");
    let (payload, signed) = (world.file("production.payload.json"), world.file("production.json"));
    let (alice, pin) = (ALICE.to_string(), world.file("pin"));
    for scripted in [["--pin-file", &pin].as_slice(), &["--yes"]] {
        let sign = ["charter", "sign", &payload, "--out", &signed, "--serial", &alice];
        world.json(&[&sign, scripted].concat()).refused(1, "NOT_DEVELOPMENT");
    }
    for (serial, person) in [(ALICE, "alice"), (BOB, "bob"), (CAROL, "carol")] {
        let sign = format!("charter sign '{payload}' --out '{signed}' --serial {serial}");
        let mut terminal = Terminal::run(world, &sign);
        terminal.answer(&format!("Put this charter in force, as {person}"), "yes");
        terminal.answer(&format!("PIN of YubiKey {serial}:"), PIN);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
    }
    let config = world.config_of("production");
    let run = |arguments: &[&str]| world.json(&[["--config", &config].as_slice(), arguments].concat());
    let id = "A".repeat(43);
    for command in [["approve", &id], ["deny", &id], ["station", "--id=war-room-1"]] {
        for scripted in [["--pin-file", &pin].as_slice(), &["--yes"]] {
            run(&[&command, scripted].concat()).refused(1, "NOT_DEVELOPMENT");
        }
    }
    let on_the_host = run(&["station", "--id", "war-room-1"]).refused(1, "STATION_ON_DAEMON_HOST");
    assert!(on_the_host.contains("use another machine"), "{on_the_host}");
}
