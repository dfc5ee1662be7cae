//! Delivering a signed kill, whoever signed it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{at, follow, known::Known};
use crate::{
    cli::{
        Session, clock,
        daemon::{Daemon, insist},
        files,
        setup::Setup,
        view,
    },
    domain::{
        kill::{Kill, SignedKill},
        statement::MAX_STATEMENT_BYTES,
    },
    grpc::v1,
    jose::{GeneralJws, Typ},
};

/// Hand in a kill that was signed without a network, whoever signed it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass kill send kill.json
  breakglass kill send kill.json --at http://10.0.0.7:9401")]
pub(crate) struct Args {
    /// What breakglass kill … --out wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ask no daemon: bring it to this gate, at the address of its control listener; may be repeated
    #[arg(long, value_name = "URL", value_parser = at::place)]
    at: Vec<at::Place>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let place = || format!("{} is no signed kill", args.file.display());
    let jws = GeneralJws::parse(&files::read(&args.file)?, MAX_STATEMENT_BYTES).with_context(place)?;
    let signed = SignedKill::verify(jws, &setup.charter, Typ::Kill).with_context(place)?;
    session.out.say(view::kill::effect(&signed.about().target))?;
    if !args.at.is_empty() {
        let kill = (signed.about(), signed.jws());
        return at::deliver(&args.at, &setup.charter, kill, Some(&args.file), session);
    }
    deliver(&setup.connect()?, &setup, (signed.about(), signed.jws()), true, session)
}

/// Sends it, and says what is in force then.
pub(super) fn deliver(
    daemon: &Daemon,
    setup: &Setup,
    (kill, jws): (&Kill, &GeneralJws),
    waits: bool,
    session: &mut Session,
) -> Result<()> {
    // The same kill again is answered, so asking again is safe.
    let (answer, _) = insist(|| daemon.kill(jws.to_json()));
    let killed = answer.with_context(|| format!("{} was not killed", kill.target))?;
    let known = Known::ask(daemon, &setup.charter, &[]).ok();
    let verifiers = if waits && killed.recorded {
        follow::verifiers(daemon, &setup.charter, (kill, &done(kill, &killed)), session)?
    } else {
        None
    };
    let result = json!({
        "id": kill.id,
        "level": kill.target.level().as_str(),
        "target": kill.target.name(),
        "epoch": killed.epoch,
        "recorded": killed.recorded,
        "verifiers": verifiers,
        "in_force": known.as_ref().map(|known| view::kill::json(known, &setup.charter)),
    });
    session.out.result(&result, || {
        let now = clock::now();
        let in_force =
            known.as_ref().map(|known| view::kill::describe(known, &setup.charter, now)).unwrap_or_default();
        format!("{}\n{in_force}", done(kill, &killed))
    })
}

fn done(kill: &Kill, killed: &v1::KillResponse) -> String {
    let (target, id) = (&kill.target, kill.id);
    if killed.recorded {
        return format!("Killed: {target}. Kill {id}, epoch {}.", killed.epoch);
    }
    format!(
        "Killed: {target}. Kill {id}. The audit log has NOT taken it: it is in force from the daemon's memory, nothing else is \
         decided, and the daemon tries again. After a restart of the daemon it has to be sent again. Look at its disk."
    )
}
