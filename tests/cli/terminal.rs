//! A custodian at a terminal: what is asked, and that nothing but yes and the right PIN signs.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use crate::world::{DEADLINE, SERIALS, World};

/// The program on a terminal of its own (`script` of util-linux makes one).
struct Terminal {
    child: Child,
    output: mpsc::Receiver<u8>,
    seen: String,
}

impl Terminal {
    fn new(world: &World, arguments: &[&str]) -> Self {
        let line = world.command(arguments);
        let quoted: Vec<String> = std::iter::once(line.get_program())
            .chain(line.get_args())
            .map(|part| format!("'{}'", part.to_str().unwrap()))
            .collect();
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &quoted.join(" "), "/dev/null"]);
        for (name, value) in line.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.current_dir(line.get_current_dir().unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(stdout.read(&mut byte), Ok(1)) && sender.send(byte[0]).is_ok() {}
        });
        Self { child, output, seen: String::new() }
    }

    /// Waits for a prompt, and types.
    fn answer(&mut self, prompt: &str, text: &str) {
        self.until(prompt);
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        self.child.stdin.as_mut().unwrap().flush().unwrap();
    }

    fn until(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.seen.ends_with(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(byte) => self.seen.push(char::from(byte)),
                Err(error) => panic!("{text:?} did not come ({error}):\n{}", self.seen),
            }
        }
    }

    /// Exit code, and everything shown.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        self.seen.extend(self.output.iter().map(char::from));
        (code, self.seen)
    }
}

#[test]
fn a_custodian_reads_answers_and_enters_the_pin() {
    let world = World::new();
    let id = world.request();
    let shown = world.json(&["show", &id]);
    let words = shown["words"].as_str().unwrap();

    // Three keys are plugged in: none is taken by guess.
    let mut terminal = Terminal::new(&world, &["approve", &id]);
    terminal.answer("sign with: ", &format!("{}\n", SERIALS[0]));
    terminal.answer("[yes/no] ", "y\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 5, "only yes means yes:\n{seen}");
    assert!(seen.contains(words) && seen.contains("Orders are stuck"), "{seen}");

    let mut terminal = Terminal::new(&world, &["approve", &id, "--serial", SERIALS[0]]);
    terminal.answer("[yes/no] ", "yes\n");
    terminal.answer("PIN of YubiKey 30000001: ", "654321\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 1);
    assert!(seen.contains("2 tries left") && !seen.contains("654321"), "{seen}");

    let mut terminal = Terminal::new(&world, &["approve", &id, "--serial", SERIALS[0]]);
    terminal.answer("[yes/no] ", "yes\n");
    terminal.answer("PIN of YubiKey 30000001: ", "123456\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("123456"), "the PIN is not echoed:\n{seen}");
    assert_eq!(world.json(&["show", &id])["approvals"][0]["person"], "alice");

    // Without a terminal nobody can say yes.
    assert_eq!(world.refused(&["approve", &id, "--serial", SERIALS[1]]), (5, "NOT_CONFIRMED".into()));
}
