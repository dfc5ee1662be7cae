//! `breakglass withdraw`: the requester takes a request back.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Session, clock, daemon::state_name, id::IdArg, setup::Setup, statement};
use crate::jose::Typ;

/// Take your own request back while it is pending
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass withdraw 3fz0Xq")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let key = setup.file_key()?;
    let daemon = setup.connect()?;
    let id = daemon.resolve(&args.id)?;
    let payload = statement::about(&setup.charter, id)?;
    let signature = key.sign(Typ::Withdrawal, &payload, clock::now())?;
    let after = daemon
        .withdraw(statement::single(payload, signature).to_json())
        .with_context(|| format!("request {id} was not withdrawn"))?;
    let result = json!({ "request_id": id, "state": state_name(&after) });
    session.out.result(&result, || format!("Request {id} is {}.", state_name(&after)))
}
