//! A program on a pseudoterminal, which `script` of util-linux provides: what is shown, and what is typed.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use testkit::wait_for;

use super::world::{DEADLINE, World};

/// The program, and the screen as it was written.
pub struct Terminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// `breakglass` with arguments as a shell takes them.
    pub fn run(world: &World, arguments: &str) -> Self {
        Self::shell(world, &format!("'{}' {arguments}", env!("CARGO_BIN_EXE_breakglass")))
    }

    /// A shell's command line.
    pub fn shell(world: &World, line: &str) -> Self {
        let program = world.command();
        let mut command = Command::new("script");
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
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

    /// Waits until something is shown, and returns all that is.
    pub fn until(&mut self, text: &str) -> String {
        wait_for(text, DEADLINE, || {
            let screen = self.screen.lock().unwrap().clone();
            let ended = self.child.try_wait().unwrap();
            assert!(screen.contains(text) || ended.is_none(), "{text:?} did not come: {screen}");
            screen.contains(text).then_some(screen)
        })
    }

    /// Waits for a question, and types an answer.
    pub fn answer(&mut self, question: &str, answer: &str) {
        self.until(question);
        self.press(&format!("{answer}\n"));
    }

    /// Types these keys, no more.
    pub fn press(&mut self, keys: &str) {
        self.child.stdin.as_ref().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        let status = wait_for("the program to end", DEADLINE, || self.child.try_wait().unwrap());
        (status.code().unwrap(), self.screen.lock().unwrap().clone())
    }
}
