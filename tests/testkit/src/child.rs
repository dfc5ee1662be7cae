//! Running the body of a test in a process of its own, with an environment of its own.
//!
//! `SoftHSM` and tpm2-pkcs11 find their configuration through the environment, which a running process must not change, and
//! `C_Initialize` acts on a whole process: so each such test runs itself again as a child.

use std::process::Command;
use std::time::Duration;

use crate::{Process, temp_dir};

const MARK: &str = "TESTKIT_CHILD";
/// After this time a child is taken for stuck, and ended.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs `body` in a child process that has `env`: the parent starts this test binary again for the test called `test`
/// (as `cargo test` names it, `module::function`) and fails if the child does; the child runs `body`.
///
/// `setup` runs in the parent only; what it returns is kept until the child has ended.
///
/// # Panics
/// If the child fails, takes longer than two minutes, or ran no test.
#[track_caller]
pub fn in_child<G>(test: &str, setup: impl FnOnce() -> (G, Vec<(String, String)>), body: impl FnOnce()) {
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        body();
        return;
    }
    let (guard, env) = setup();
    let dir = temp_dir();
    let exe = std::env::current_exe().expect("the path of this test binary");
    let mut command = Command::new(exe);
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(MARK, test).envs(env);
    let mut child = Process::spawn("child", dir.path(), &mut command);
    let status = child.wait_exit(DEADLINE);
    let output = child.log();
    drop(guard);
    assert!(status.success(), "the child of {test} failed ({status}):\n{output}");
    assert!(output.contains("1 passed"), "there is no test called {test} in this binary:\n{output}");
}
