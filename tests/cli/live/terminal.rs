//! Questions on a real terminal: what is not answered with yes is not signed.

use std::process::Command;

use virtual_yubikey::{CardSpec, harness::in_stack};

use super::{
    pty::Terminal,
    world::{ALICE, BOB, CAROL, ERIN, Issuer, PIN, World},
};

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

        several_keys_and_none_is_taken_by_guess(&world, &id);
        a_wrong_pin_is_not_echoed(&world, &id);
        a_signal_leaves_the_terminal_as_it_was(&world, &id);
        let mut terminal = Terminal::run(&world, &format!("approve {id} --serial {ALICE}"));
        terminal.answer("Approve exactly this, as alice", "yes");
        terminal.answer("PIN of YubiKey 1:", PIN);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("Orders cannot be written"), "what is signed was shown: {screen}");
        assert!(screen.contains("Approved. The request is pending"), "{screen}");
        assert!(!screen.contains(PIN), "the PIN is not echoed: {screen}");
        assert_eq!(stack.counts(ALICE).signatures, before.signatures + 1);
        nobody_there(&world, &id);
        production(&world);
    });
}

fn several_keys_and_none_is_taken_by_guess(world: &World, id: &str) {
    let shown = world.json(&["show", id]).json();
    let mut terminal = Terminal::run(world, &format!("approve {id}"));
    terminal.answer("Serial number of the key to sign with:", &BOB.to_string());
    terminal.answer("Approve exactly this, as bob", "no");
    let (code, screen) = terminal.end();
    assert_eq!(code, 5, "{screen}");
    assert!(screen.contains("Several custodians' keys are plugged in"), "{screen}");
    assert!(screen.contains(shown["words"].as_str().unwrap()), "{screen}");
}

fn a_wrong_pin_is_not_echoed(world: &World, id: &str) {
    let mut terminal = Terminal::run(world, &format!("approve {id} --serial {BOB}"));
    terminal.answer("Approve exactly this, as bob", "yes");
    terminal.answer(&format!("PIN of YubiKey {BOB}:"), "654321");
    let (code, screen) = terminal.end();
    assert_eq!(code, 1);
    assert!(screen.contains("2 tries left") && !screen.contains("654321"), "{screen}");
}

/// While the PIN is asked for, the echo is off: whoever ends the program then can see again what he types.
fn a_signal_leaves_the_terminal_as_it_was(world: &World, id: &str) {
    let program = env!("CARGO_BIN_EXE_breakglass");
    let asks = format!("'{program}' approve {id} --serial {ALICE}");
    // The shell around it outlives the key press, and then looks at the terminal.
    let line = format!(
        "trap : INT; sh -c \"echo pid=\\$\\$.; exec {asks}\"; echo \"code $?\"; stty -a | tr ' ;' '\\n\\n' | grep -x -e echo -e -echo; true"
    );
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::shell(world, &line);
        terminal.answer("Approve exactly this, as alice", "yes");
        let screen = terminal.until("PIN of YubiKey 1:");
        if signal == "INT" {
            terminal.press("\u{3}");
        } else {
            let pid = screen.split("pid=").nth(1).unwrap().split('.').next().unwrap();
            assert!(Command::new("kill").args([&format!("-{signal}"), pid]).status().unwrap().success());
        }
        let (_, screen) = terminal.end();
        let (_, after) =
            screen.split_once(&format!("code {code}")).unwrap_or_else(|| panic!("{signal}: {screen}"));
        assert!(after.lines().any(|line| line.trim() == "echo"), "{signal}: {screen}");
    }
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
