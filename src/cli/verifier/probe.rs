//! `breakglass verifier probe`: shows a verifier its canaries now.

use anyhow::Result;

use super::{known, list::find};
use crate::{
    cli::{Session, setup::Setup},
    domain::id::PrincipalId,
};

/// Show a verifier its canaries now, and record what it answers
///
/// The daemon shows it a token that nobody signed, and then the canary of each key. A 2xx is acceptance; 400, 401 and 403 are
/// refusals; everything else is no answer. While the key is good it should accept the canary, and nothing else.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass verifier probe vault")]
pub(crate) struct Args {
    /// The verifier, as the charter names it
    #[arg(value_name = "NAME")]
    name: PrincipalId,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    find(&setup, &args.name)?;
    let standing = setup.connect()?.probe(args.name.as_str())?;
    session.out.result(&known::json(&standing), || {
        let lines = standing.canaries.iter().map(|canary| known::line(&standing.id, canary));
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() {
            format!("{} has no canary that could be shown.", args.name)
        } else {
            lines.join("\n")
        }
    })
}
