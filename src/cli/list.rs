//! `breakglass list`: the requests that the daemon holds, each verified here.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Session, clock, kill, readiness,
    review::{self, Reviewed},
    setup::Setup,
    text, view,
};
use crate::{
    domain::charter::Charter,
    grpc::v1::{self, RequestState},
};

/// List requests, newest first
///
/// Shows what is open; --all shows what ended lately as well. Each request is verified under your own charter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass list
  breakglass list --all --json | jq '.requests[].state'")]
pub(crate) struct Args {
    /// Also those that have ended and that the daemon still remembers
    #[arg(long)]
    all: bool,
    /// Only those that you filed, or that are for you
    #[arg(long)]
    mine: bool,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let states: &[RequestState] =
        if args.all { &[] } else { &[RequestState::Pending, RequestState::Authorized, RequestState::Issued] };
    let daemon = setup.connect()?;
    super::genesis::alarm(&daemon, session)?;
    kill::warn(&daemon, &setup, session)?;
    let requests = daemon.list(states, args.mine)?;
    let now = clock::now();
    let listed: Vec<Value> = requests
        .iter()
        .map(|request| view::request::json(request, reviewed(&setup.charter, request).as_ref()))
        .collect();
    session.out.result(&json!({ "requests": listed }), || {
        if requests.is_empty() {
            return "No requests.".to_owned();
        }
        let rows: Vec<Vec<String>> = requests
            .iter()
            .map(|request| view::request::row(request, reviewed(&setup.charter, request).as_ref(), now))
            .collect();
        text::table(&view::request::HEAD, &rows)
    })?;
    let own = setup.file_key()?.public.thumbprint();
    readiness::remind(&daemon, &setup.charter, &own, now, session)
}

/// A request of a list, verified; `None` where it does not verify, which the list says.
pub(super) fn reviewed<'a>(charter: &'a Charter, request: &v1::Request) -> Option<Reviewed<'a>> {
    let id = request.request_id.parse().ok()?;
    Reviewed::new(review::rules_of(charter, &request.jws), &request.jws, &id).ok()
}
