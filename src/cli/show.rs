//! `breakglass show`: one request, verified, in plain words.

use anyhow::Result;

use super::{
    Session, clock,
    id::IdArg,
    kill,
    review::{self, Reviewed},
    setup::Setup,
    view,
};

/// Show a request in plain words: what is asked, who has approved, what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass show 3fz0Xq
  breakglass show 3fz0Xq --json | jq .state")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    kill::warn(&daemon, &setup, session)?;
    let id = daemon.resolve(&args.id)?;
    let request = daemon.get(&id)?;
    if request.jws.is_empty() {
        // Of a request that ended long ago the daemon keeps no more than how it ended; the audit log has the rest.
        let document = view::request::json(&request, None);
        return session.out.result(&document, || view::request::ended(&request, clock::now()));
    }
    let rules = review::rules_of(&setup.charter, &request.jws);
    let reviewed = Reviewed::new(rules, &request.jws, &id)?;
    let document = view::request::json(&request, Some(&reviewed));
    session.out.result(&document, || view::request::describe(&request, &reviewed, rules, clock::now()))
}
