//! `breakglass completion`: completions for a shell.

use anyhow::Result;
use clap::CommandFactory as _;
use serde_json::json;

use super::{Cli, Session};

/// Print completions for your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass completion bash > ~/.local/share/bash-completion/completions/breakglass")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "breakglass", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let result = json!({ "shell": args.shell.to_string(), "script": script });
    session.out.result(&result, || script.clone())
}
