//! The daemon.

fn main() -> std::process::ExitCode {
    breakglass::daemon::main()
}
