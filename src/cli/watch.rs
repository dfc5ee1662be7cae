//! `breakglass watch`: requests as they change.

use std::ops::ControlFlow;

use anyhow::Result;

use super::{Session, clock, daemon::state_name, id::IdArg, list, setup::Setup, text, view};
use crate::grpc::v1::RequestState;

/// Watch requests as they change; one ID: until that request has ended or is issued
///
/// With --json, one JSON document per line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass watch
  breakglass watch 3fz0Xq")]
pub(crate) struct Args {
    /// The request, or the beginning of its id; without it all requests, until interrupted
    #[arg(value_name = "ID")]
    id: Option<IdArg>,
    /// Only those that you filed, or that are for you
    #[arg(long)]
    mine: bool,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let ids = match &args.id {
        Some(id) => vec![daemon.resolve(id)?],
        None => Vec::new(),
    };
    daemon.watch(&ids, args.mine, |request| {
        let now = clock::now();
        let reviewed = list::reviewed(&setup.charter, &request);
        session.out.item(&view::request::json(&request, reviewed.as_ref()), || {
            let row = view::request::row(&request, reviewed.as_ref(), now);
            format!("{}  {}", text::instant(now), row.join("  "))
        })?;
        let open = matches!(request.state(), RequestState::Pending | RequestState::Authorized);
        if ids.is_empty() || open {
            return Ok(ControlFlow::Continue(()));
        }
        session.out.say(format!("The request is {}.", state_name(&request)))?;
        Ok(ControlFlow::Break(()))
    })
}
