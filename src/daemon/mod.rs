//! The composition root of `breakglassd`: one file per command.

mod devices;
mod init;
mod issuing_key;
mod key_file;
mod process;
mod run;
mod setup;
mod yubikey;

pub use yubikey::YubikeyDevice;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{config::DaemonConfig, jose::Digest};

/// Keeps emergency signing keys in an HSM, and signs only what a quorum of custodians has approved.
#[derive(Debug, Parser)]
#[command(name = "breakglassd", version, after_help = AFTER)]
struct Arguments {
    /// The configuration (TOML).
    #[arg(long, short, global = true, default_value = "/etc/breakglass/breakglassd.toml")]
    config: PathBuf,
    /// Check the configuration and the devices, and exit.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "\
Without a command, the daemon runs until SIGTERM or SIGINT. A new daemon takes these steps:
  breakglassd --config FILE setup --public public.json     keys in the HSM, a TLS key
  breakglass charter new --from draft.toml ...             the rules, with public.json in them
  breakglass charter sign charter.payload.json --serial N  by every custodian
  breakglassd --config FILE init --charter charter.json --evidence evidence.json --digest D
  breakglassd --config FILE";

#[derive(Debug, Subcommand)]
enum Command {
    /// Initialise the HSM tokens, generate the keys, and write their public halves for the charter.
    Setup(setup::Setup),
    /// Make one more issuing key in the HSM, for the next charter to name.
    IssuingKey(issuing_key::IssuingKey),
    /// Create the audit log and put the first charter in force.
    Init(Init),
}

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
struct Init {
    /// The signed charter (General JWS).
    #[arg(long)]
    charter: PathBuf,
    /// Its digest, as the custodians read it aloud.
    // One in 64 begins with a hyphen.
    #[arg(long, allow_hyphen_values = true)]
    digest: Digest,
    /// Attestation evidence of its devices.
    #[arg(long)]
    evidence: Option<PathBuf>,
}

/// How long the end of the program waits for threads that are still in a device or a file.
const LAST_THREADS: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the program; the exit code is 0, 1 on an error, 2 on wrong usage.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            process::print_error(&error);
            std::process::ExitCode::FAILURE
        }
    }
}

/// Half of the processors, four at most: the others serve the threads that block in SQLite and in the HSM's module, and on
/// a small machine two workers wake each other more than they help.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4))
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    process::forbid_core_dumps();
    let config = DaemonConfig::load(&arguments.config)?;
    // A person who runs a command wants its answer; the journal of the daemon wants the story.
    let level = if arguments.command.is_none() && !arguments.check { "info" } else { "error" };
    process::start_tracing(config.tracing, level)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build()?;
    let done = runtime.block_on(async {
        match arguments.command {
            Some(Command::Setup(setup)) => setup.run(&config),
            Some(Command::IssuingKey(key)) => key.run(&config),
            Some(Command::Init(init)) => init::run(&config, &init).await,
            None if arguments.check => run::check(&config),
            None => run::serve(&config).await,
        }
    });
    // A thread that hangs in a device's module never ends.
    runtime.shutdown_timeout(LAST_THREADS);
    done
}
