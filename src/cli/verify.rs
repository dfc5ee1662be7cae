//! `breakglass verify`: strict verification of a token, as a verifier does it.

use std::{io::Read as _, path::PathBuf};

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use super::{Session, clock, exit::Problem, files, setup::Setup, view};
use crate::domain::{
    id::Audience,
    strict::{self, Seen, View},
};

/// More than any token has, in bytes.
const MAX_INPUT: u64 = 16_384;

/// Verify a token strictly: its quorum, its grant and all its claims, from the charter alone
///
/// Asks nobody: neither the daemon nor its published keys are believed. Therefore no kill is known here either; a
/// verifier in production uses a gate, which hears of kills. Exit code 4 and the reason if the token is rejected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass redeem 3fz0Xq | breakglass verify - --aud https://db.example
  breakglass verify token.jwt --json")]
pub(crate) struct Args {
    /// File with the token; - or nothing for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Your own name as a verifier: the only audience to accept [default: verify.audience of the configuration]
    #[arg(long, value_name = "NAME")]
    aud: Option<Audience>,
    /// Accept tokens under a development charter
    #[arg(long)]
    development: bool,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let defaults = &setup.config.verify;
    let audience = args.aud.as_ref().or(defaults.audience.as_ref()).ok_or_else(|| {
        let message = "say for whom the token must be: --aud NAME, or verify.audience in the configuration";
        Problem::usage("AUDIENCE_NEEDED", message)
    })?;
    let token = read(args)?;
    let now = clock::now();
    let view = View {
        charter: &setup.charter,
        audience,
        now,
        allow_development: args.development || defaults.development,
        killed: None,
    };
    let accepted = strict::verify(token.trim(), &view, &mut Seen::default())
        .context("the token is rejected: give no access on it")?;
    session.out.result(&view::token::json(&accepted), || {
        format!(
            "{}\nNot asked: whether it was killed. A gate asks; this command cannot know.",
            view::token::describe(&accepted, &setup.charter, now)
        )
    })
}

fn read(args: &Args) -> Result<Zeroizing<String>> {
    if args.file.as_os_str() == "-" {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().take(MAX_INPUT).read_to_string(&mut text).context("the token could not be read")?;
        return Ok(text);
    }
    let bytes = Zeroizing::new(files::read(&args.file)?);
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}
