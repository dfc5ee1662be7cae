//! `breakglass charter draft`: the next version to edit, made from the charter in force.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{Session, clock, files, random, setup::Setup},
    domain::charter::{Charter, Document},
};

/// Write the next version of the charter, to be edited
///
/// A copy of the charter in force as readable JSON, with the version, the digest of its predecessor, a fresh nonce and the
/// times filled in. Edit it, look at what it changes with breakglass charter diff, then propose it within seven days.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter draft --out next.json
  breakglass charter draft --out next.json --valid-days 30
  breakglass charter draft --add-device carol-2.json --remove-device 12345678
  breakglass charter draft --add-custodian \"erin=Erin Example\" --add-device erin.json --join erin=custodians
  breakglass charter draft --activate-issuing-key issuing-2.json")]
pub(crate) struct Args {
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "charter.next.json")]
    out: PathBuf,
    /// Days from now until it expires
    #[arg(long, value_name = "N", default_value_t = 90)]
    valid_days: u16,
    /// Have it put in force by the recovery custodians, whose sealed devices then sign in place of governance
    #[arg(long)]
    by_recovery: bool,
    #[command(flatten)]
    changes: super::change::Changes,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let charter = Setup::load(session.config.as_deref())?.charter;
    let now = clock::now();
    let mut document = following(&charter, now)?;
    document.expires_at = now.saturating_add(i64::from(args.valid_days) * 86_400);
    document.by_recovery = args.by_recovery;
    args.changes.make(&mut document)?;
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    files::create(&args.out, &text, files::Access::Public)?;
    let result = json!({ "draft": args.out, "version": document.version });
    session.out.result(&result, || {
        let out = args.out.display();
        format!(
            "Wrote version {} to {out}.\nNext: edit it, then breakglass charter diff {out}, then breakglass charter propose {out}",
            document.version
        )
    })
}

/// The same rules as the next version: nothing is changed but what has to be.
pub(in crate::cli) fn following(charter: &Charter, now: i64) -> Result<Document> {
    let mut document = charter.document().clone();
    let valid = document.expires_at.saturating_sub(document.issued_at);
    document.version = document.version.saturating_add(1);
    document.previous = Some(charter.digest());
    document.nonce = random::nonce()?;
    document.issued_at = now.max(document.issued_at);
    document.expires_at = now.saturating_add(valid);
    document.replaces = None;
    document.by_recovery = false;
    Ok(document)
}
