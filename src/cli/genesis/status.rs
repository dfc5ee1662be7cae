//! `breakglass genesis status`: whether a new chain is announced in place of this one, or has taken its place.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::{Session, setup::Setup};

/// Show whether a new chain is announced in place of this one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass genesis status --json | jq '.announcements[].ends_at'")]
pub(crate) struct Args {}

pub(super) fn run(_: &Args, session: &mut Session) -> Result<()> {
    let found = Setup::load(session.config.as_deref())?.connect()?.genesis()?;
    let announcements: Vec<Value> = found
        .announcements
        .iter()
        .map(|one| {
            let at = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
            json!({
                "id": one.digest,
                "genesis": one.genesis,
                "words": super::words(&one.genesis),
                "by": one.by,
                "announced_at": at(&one.announced_at),
                "days": one.days,
                "ends_at": at(&one.ends_at),
            })
        })
        .collect();
    let replaced = (!found.replaced_by.is_empty()).then_some(&found.replaced_by);
    let result = json!({ "announcements": announcements, "replaced_by": replaced });
    session.out.result(&result, || {
        if super::is_quiet(&found) {
            return "No new chain is announced: this one goes on.".to_owned();
        }
        super::describe(&found)
    })
}
