//! A child process that ends when its guard is dropped, and whose output can be read when something fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// How long a process may take to end its children.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running child process, its output going to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    has_children: bool,
}

impl Process {
    /// Starts `command` with output to `DIR/NAME.log`, which is appended to.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[track_caller]
    pub fn spawn(name: &str, dir: &Path, command: &mut Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let err = out.try_clone().expect("a second handle of the log file");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| {
            panic!("{name} cannot be started ({}): {e}", command.get_program().display())
        });
        Self { name: name.to_owned(), child, log, has_children: false }
    }

    /// Has children of its own, which only it ends: the guard asks it to (SIGTERM) before it makes it.
    #[must_use]
    pub fn with_children(mut self) -> Self {
        self.has_children = true;
        self
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Path of the file that [`Process::log`] reads.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The exit status, if it has ended.
    ///
    /// # Panics
    /// If the operating system cannot tell.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until `ready` gives a value; fails at once, with the log, if the process ends before.
    ///
    /// # Panics
    /// If the process ends or the deadline passes.
    #[track_caller]
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let name = self.name.clone();
        wait_for(&format!("{name}: {what}"), deadline, || {
            if let Some(value) = ready(&self.log()) {
                return Some(value);
            }
            if let Some(status) = self.exited() {
                panic!("{name} ended ({status}) before {what}:\n{}", self.log());
            }
            None
        })
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// If the deadline passes.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let name = self.name.clone();
        let start = Instant::now();
        wait_for(&format!("{name} to end"), deadline + Duration::from_secs(1), || {
            assert!(start.elapsed() < deadline, "{name} did not end within {deadline:?}:\n{}", self.log());
            self.exited()
        })
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Panics
    /// If it does not end within the deadline.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(deadline)
    }

    /// Ends it at once (SIGKILL) and waits.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill a child");
        self.child.wait().expect("wait for a child");
    }

    /// Sends a signal, unless the process has ended.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill_process(Pid::from_child(&self.child), signal).expect("signal a child");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_children && matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
