//! Virtual YubiKeys from the command line: a whole stack, one card, or a hand on a running card.

use clap::{Parser, Subcommand, ValueEnum};
use std::error::Error;
use std::path::PathBuf;
use virtual_yubikey::control::{self, Request};
use virtual_yubikey::{CardSpec, RunningCard, Stack, TouchMode, Version, load_or_make_ca};

/// YubiKeys without hardware, for tests and the demo only: their secrets are in the clear.
#[derive(Parser)]
#[command(name = "virtual-yubikey")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a private pcscd with virtual YubiKeys; print its socket and the serials as JSON; stay until SIGTERM
    Stack {
        /// Directory for everything; cards found there keep their keys
        #[arg(long)]
        dir: PathBuf,
        /// How many cards
        #[arg(long, default_value_t = 3)]
        cards: u32,
        /// Serial number of the first card; the others count up
        #[arg(long, default_value_t = 10_000_001)]
        first_serial: u32,
        #[command(flatten)]
        card: CardOptions,
    },
    /// Put one card into the vpcd reader that listens on a port; stay until SIGTERM
    Run {
        /// Directory of the card's memory and the attestation root
        #[arg(long)]
        dir: PathBuf,
        /// Serial number
        #[arg(long)]
        serial: u32,
        /// The reader's port (vpcd's default is 35963)
        #[arg(long)]
        port: u16,
        #[command(flatten)]
        card: CardOptions,
    },
    /// Do something to a running card, and print what happened to it so far as JSON
    Control {
        /// The directory the card was started with
        #[arg(long)]
        dir: PathBuf,
        /// Serial number
        #[arg(long)]
        serial: u32,
        #[command(subcommand)]
        action: Action,
    },
}

#[derive(clap::Args)]
struct CardOptions {
    /// Firmware of new cards, for example 5.4.3 or 5.7.4
    #[arg(long, default_value = "5.7.4")]
    version: Version,
    /// How touches are answered at first
    #[arg(long, value_enum, default_value_t = Touch::Auto)]
    touch: Touch,
}

#[derive(Clone, Copy, ValueEnum)]
enum Touch {
    /// Touched at once
    Auto,
    /// Waits for `control … press`
    Manual,
    /// Never touched
    Refuse,
}

#[derive(Subcommand)]
enum Action {
    /// Touch at once from now on
    Grant,
    /// Touch after so many milliseconds from now on
    Delay {
        /// Milliseconds
        ms: u64,
    },
    /// Refuse touches from now on
    Refuse,
    /// Wait for `press` from now on
    Manual,
    /// Touch once
    Press,
    /// Pull the card out
    Unplug,
    /// Put it back
    Plug,
    /// Only print
    Counts,
    /// Wait until the card has asked for so many touches in all
    Wait {
        /// Touches
        asked: u64,
        /// Milliseconds to wait at most
        #[arg(default_value_t = 10_000)]
        ms: u64,
    },
}

impl From<Touch> for TouchMode {
    fn from(touch: Touch) -> Self {
        match touch {
            Touch::Auto => Self::Grant,
            Touch::Manual => Self::Manual,
            Touch::Refuse => Self::Refuse,
        }
    }
}

impl From<Action> for Request {
    fn from(action: Action) -> Self {
        match action {
            Action::Grant => Self::Touch(TouchMode::Grant),
            Action::Delay { ms } => Self::Touch(TouchMode::Delay { ms }),
            Action::Refuse => Self::Touch(TouchMode::Refuse),
            Action::Manual => Self::Touch(TouchMode::Manual),
            Action::Press => Self::Press,
            Action::Unplug => Self::Unplug,
            Action::Plug => Self::Plug,
            Action::Counts => Self::Counts,
            Action::Wait { asked, ms } => Self::Wait { asked, ms },
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Stack { dir, cards, first_serial, card } => {
            let specs: Vec<_> = (0..cards).map(|index| card.spec(first_serial + index)).collect();
            until_terminated(|| {
                let stack = Stack::start(&dir, &specs)?;
                say(&describe(&stack));
                Ok(stack)
            })
        }
        Command::Run { dir, serial, port, card } => until_terminated(|| {
            let ca = load_or_make_ca(&dir)?;
            let cards = dir.join("cards");
            std::fs::create_dir_all(&cards)?;
            let running = RunningCard::start(&cards, &card.spec(serial), port, &ca)?;
            say(&serde_json::json!({ "serial": serial, "control": running.control_socket }));
            Ok(running)
        }),
        Command::Control { dir, serial, action } => {
            let socket = dir.join("cards").join(format!("{serial}.sock"));
            let counts = control::send(&socket, action.into())
                .map_err(|error| format!("card {serial} does not answer on {}: {error}", socket.display()))?;
            say(&serde_json::to_value(counts)?);
            Ok(())
        }
    }
}

impl CardOptions {
    fn spec(&self, serial: u32) -> CardSpec {
        CardSpec::new(serial).version(self.version).touch(self.touch.into())
    }
}

/// Runs what `start` returns until SIGTERM or SIGINT, which are caught from the beginning, then ends it in order.
fn until_terminated<T>(start: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let running = start()?;
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        drop(running);
        Ok(())
    })
}

fn describe(stack: &Stack) -> serde_json::Value {
    let cards: Vec<_> = stack
        .cards()
        .iter()
        .map(|card| {
            serde_json::json!({
                "serial": card.serial, "version": card.version, "control": card.control_socket,
            })
        })
        .collect();
    serde_json::json!({
        "socket": stack.socket(),
        "serials": stack.cards().iter().map(|card| card.serial).collect::<Vec<_>>(),
        "attestation_root": stack.root_pem_file(),
        "cards": cards,
    })
}

#[expect(clippy::print_stdout, reason = "the one line that scripts read")]
fn say(value: &serde_json::Value) {
    println!("{value}");
}
