//! The `breakglass` command line: one file per command.
//!
//! Invariants: the result goes to stdout and everything else to stderr; with `--json` the result is one JSON document;
//! the exit code follows the table in `--help`; nothing that the daemon says is shown as verified unless it was.

mod approve;
mod audit;
mod ceremony;
mod charter;
mod check_in;
mod clock;
mod completion;
mod connect;
mod custodian;
mod daemon;
mod deny;
mod device;
mod doctor;
mod exit;
mod files;
#[cfg(test)]
mod fixture;
mod genesis;
mod id;
mod judge;
mod key;
mod keyring;
mod kill;
mod lift;
mod list;
mod offline;
mod output;
mod qr;
mod random;
mod readiness;
mod redeem;
mod report;
mod request;
mod review;
mod setup;
mod show;
mod statement;
mod station;
mod terminal;
mod text;
mod use_review;
mod verifier;
mod verify;
mod view;
mod watch;
mod withdraw;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use exit::Exit;
use output::Out;

/// Emergency access that a quorum of people signs
///
/// A requester asks for narrow, short-lived access; several custodians read the request and approve it, each with the
/// own YubiKey, PIN and touch; only then is a token signed in the HSM. Everything is in a log that nobody can edit.
#[derive(Debug, Parser)]
#[command(
    name = "breakglass",
    version,
    max_term_width = 100,
    after_help = AFTER,
    after_long_help = after_long_help(),
    disable_help_subcommand = true
)]
struct Cli {
    /// Configuration file [default: ~/.config/breakglass/config.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "BREAKGLASS_CONFIG",
        hide_env_values = true,
        help_heading = "Options of every command"
    )]
    config: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long, global = true, help_heading = "Options of every command")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
breakglass COMMAND --help explains a command and shows an example; breakglass --help has more.";

const AFTER_LONG: &str = "\
A request, from start to end:
  breakglass request --reason \"orders are stuck\" --incident INC-7     (the requester)
  breakglass approve ID --serial N                                    (each custodian)
  breakglass redeem ID                                                (the requester)

An id may be shortened to its first 6 or more characters. The six words of a request are
the same for everybody who looks at it: compare them by voice.

The configuration:
  daemon = \"https://127.0.0.1:8443\"     the daemon's gRPC; its key is pinned by the charter
  genesis = \"...\"                       the digest of the first charter, read aloud at its ceremony
  charter = \"charter.json\"              the signed charter, or the chain that charter pull writes;
                                        paths are relative to the configuration
  key = \"alice.key.pem\"                 from breakglass key new; readable by you alone
  certificate = \"alice.cert.pem\"
  state_dir = \"state\"                   where keys of your requests are kept
  [verify]
  audience = \"https://db.example\"       defaults of breakglass verify
  development = false";

fn after_long_help() -> String {
    format!("{AFTER_LONG}\n\n{}", exit::TABLE)
}

#[derive(Debug, Subcommand)]
enum Command {
    Request(request::Args),
    List(list::Args),
    Show(show::Args),
    Watch(watch::Args),
    Approve(approve::Args),
    Deny(deny::Args),
    /// Hand in verdicts that were signed without a network
    #[command(subcommand)]
    Approval(offline::ApprovalCommand),
    Withdraw(withdraw::Args),
    Redeem(redeem::Args),
    Connect(connect::Args),
    Station(station::Args),
    /// Stop one token, a request, a requester, a profile, a key, or everything
    #[command(subcommand)]
    Kill(kill::Command),
    /// End kills, by quorum
    #[command(subcommand)]
    Lift(lift::Command),
    CheckIn(check_in::Args),
    Review(use_review::Args),
    Verify(verify::Args),
    /// Name those who accept tokens, and see that they refuse what is killed
    #[command(subcommand)]
    Verifier(verifier::Command),
    /// Check, export and prove the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Draft, propose, sign and read the charter: the rules
    #[command(subcommand)]
    Charter(charter::Command),
    /// Begin anew when no quorum is left, or cancel that
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// Keep, sign, record and print the transcript of a ceremony
    #[command(subcommand)]
    Ceremony(ceremony::Command),
    /// Enrol custodians' YubiKeys
    #[command(subcommand)]
    Custodian(custodian::Command),
    /// Make file keys for requesters, auditors and tools
    #[command(subcommand)]
    Key(key::Command),
    Doctor(doctor::Args),
    Completion(completion::Args),
}

/// What every command gets.
struct Session {
    out: Out,
    /// `--config`, where it was given.
    config: Option<PathBuf>,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()) as u8)
}

fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments.map(id::shield)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed stdout is nobody's loss.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let mut session = Session { out: Out::standard(cli.json), config: cli.config };
    match dispatch(cli.command, &mut session) {
        Ok(()) => Exit::Done,
        Err(error) => report::failure(&mut session.out, &error),
    }
}

fn dispatch(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Request(args) => request::run(&args, session),
        Command::List(args) => list::run(&args, session),
        Command::Show(args) => show::run(&args, session),
        Command::Watch(args) => watch::run(&args, session),
        Command::Approve(args) => approve::run(&args, session),
        Command::Deny(args) => deny::run(&args, session),
        Command::Approval(command) => offline::approval(&command, session),
        Command::Withdraw(args) => withdraw::run(&args, session),
        Command::Redeem(args) => redeem::run(&args, session),
        Command::Connect(args) => connect::run(&args, session),
        Command::Station(args) => station::run(&args, session),
        Command::Kill(command) => kill::run(command, session),
        Command::Lift(command) => lift::run(command, session),
        Command::CheckIn(args) => check_in::run(&args, session),
        Command::Review(args) => use_review::run(&args, session),
        Command::Verify(args) => verify::run(&args, session),
        Command::Verifier(command) => verifier::run(command, session),
        Command::Audit(command) => audit::run(command, session),
        Command::Charter(command) => charter::run(command, session),
        Command::Genesis(command) => genesis::run(command, session),
        Command::Ceremony(command) => ceremony::run(command, session),
        Command::Custodian(command) => custodian::run(command, session),
        Command::Key(command) => key::run(command, session),
        Command::Doctor(args) => doctor::run(&args, session),
        Command::Completion(args) => completion::run(&args, session),
    }
}
