//! The command line of requesters, custodians, verifiers and auditors.

fn main() -> std::process::ExitCode {
    breakglass::cli::main()
}
