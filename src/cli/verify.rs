//! `breakglass verify`: strict verification of a token, as a verifier does it.

use std::{io::Read as _, path::PathBuf};

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use super::{Session, clock, exit::Problem, files, kill::known::Known, setup::Setup, text, view};
use crate::domain::{
    id::Audience,
    strict::{self, Accepted, Killed, Seen, View},
};

/// Seconds after which what was just asked would be too old.
const MAX_STALE: i64 = 10;

/// More than any token has, in bytes.
const MAX_INPUT: u64 = 16_384;

/// Verify a token strictly: its quorum, its grant and all its claims, from the charter alone
///
/// Neither the daemon nor its published keys are believed. The daemon is asked for one thing only, if your configuration
/// names one and it can be reached: what has been killed, each kill under its signature. A verifier in production uses a
/// gate, which hears of kills by itself. Exit code 4 and the reason if the token is rejected.
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
    let rejected = || "the token is rejected: give no access on it";
    let accepted = strict::verify(token.trim(), &view, &mut Seen::default()).with_context(rejected)?;
    let known = killed(&setup, &accepted, now);
    if let Ok(known) = &known {
        strict::verify(token.trim(), &View { killed: Some(known), ..view }, &mut Seen::default())
            .with_context(rejected)?;
    }
    session.out.result(&view::token::json(&accepted, known.is_ok()), || {
        let killed = match &known {
            Ok(_) => "Not killed, as far as the daemon says now.".to_owned(),
            Err(error) => {
                format!("NOT KNOWN: whether it was killed ({}).", text::safe(&format!("{error:#}")))
            }
        };
        format!("{}\n{killed}", view::token::describe(&accepted, &setup.charter, now))
    })
}

/// What the daemon says of kills that could concern this token, now.
fn killed(setup: &Setup, accepted: &Accepted, now: i64) -> Result<Killed> {
    let known = Known::ask(&setup.connect()?, &setup.charter, &[accepted.claims.jti])?;
    if let Some(why) = known.unverified.first() {
        let message =
            format!("the daemon shows what your charter does not bear out, {why}: breakglass charter pull");
        return Err(Problem::unverified("KILL_UNVERIFIED", message).into());
    }
    Ok(Killed { as_of: now, max_stale: MAX_STALE, kills: known.kills.into() })
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
