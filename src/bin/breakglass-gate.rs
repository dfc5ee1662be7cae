//! The enforcement point beside an application.

fn main() -> std::process::ExitCode {
    breakglass::gate::main()
}
