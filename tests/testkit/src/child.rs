//! Running the body of a test in a process of its own, with an environment of its own.
//!
//! `SoftHSM` and tpm2-pkcs11 find their configuration through the environment, which a running process must not change, and
//! `C_Initialize` acts on a whole process: so each such test runs itself again as a child.

use std::process::Command;

const MARK: &str = "TESTKIT_CHILD";

/// Runs `body` in a child process that has `env`: the parent starts this test binary again for the test called `test`
/// (as `cargo test` names it, `module::function`) and fails if the child does; the child runs `body`.
///
/// `setup` runs in the parent only; what it returns is kept until the child has ended.
///
/// # Panics
/// If the child fails, or ran no test.
#[track_caller]
pub fn in_child<G>(test: &str, setup: impl FnOnce() -> (G, Vec<(String, String)>), body: impl FnOnce()) {
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        body();
        return;
    }
    let (guard, env) = setup();
    let exe = std::env::current_exe().expect("the path of this test binary");
    let output = Command::new(exe)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(MARK, test)
        .envs(env)
        .output()
        .expect("start this test binary again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    drop(guard);
    assert!(output.status.success(), "the child of {test} failed ({}):\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "there is no test called {test} in this binary:\n{stdout}");
}
