//! One kill: what it will stop in plain words, a question, PIN and touch, and what is in force then.
//!
//! Invariant: nothing that only informs keeps a kill from being sent: a daemon that shows no requests still gets it.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{How, at, keys, known::Known, send};
use crate::{
    cli::{
        Session, clock,
        daemon::Daemon,
        device,
        exit::Problem,
        files,
        id::IdArg,
        random,
        setup::Setup,
        statement::{self, FileKey},
        view,
    },
    domain::{
        charter::{Charter, KeyState, KillLevel, Role},
        id::{KillId, PrincipalId, ProfileId},
        kill::{Kill, Target},
    },
    grpc::v1::RequestState,
    jose::{Digest, GeneralJws, Typ},
};

/// What the command line names.
pub(super) enum Wanted {
    Single(KillLevel, IdArg),
    Requester(PrincipalId),
    Profile(ProfileId),
    /// A key, or the current one, perhaps of a profile.
    Key(Option<Digest>, Option<ProfileId>),
    All,
}

pub(super) fn run(wanted: &Wanted, how: &How, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    how.device.check(&setup.charter)?;
    let daemon = if how.out.is_some() || !how.at.is_empty() { None } else { Some(setup.connect()?) };
    let target = target(wanted, &setup.charter, daemon.as_ref())?;
    if let Some(daemon) = &daemon {
        inform(daemon, &setup, &target, session)?;
    }
    if let Some(warning) = keys::warning(&target, &setup.charter) {
        session.out.say(warning)?;
    }
    let kill = Kill {
        iss: setup.charter.document().iss.clone(),
        charter: setup.charter.digest(),
        id: KillId(random::nonce()?),
        target,
        reason: how.reason.clone(),
    };
    let jws = sign(&kill, &setup, how, session)?;
    match (&daemon, &how.out) {
        (Some(daemon), _) => send::deliver(daemon, &setup, (&kill, &jws), !how.no_wait, session),
        (None, out) if !how.at.is_empty() => {
            if let Some(out) = out {
                files::create(out, &jws.to_json(), files::Access::Public)?;
            }
            at::deliver(&how.at, &setup.charter, (&kill, &jws), out.as_deref(), session)
        }
        (None, Some(out)) => keep(out, &kill, &jws, session),
        (None, None) => Ok(()),
    }
}

fn target(wanted: &Wanted, charter: &Charter, daemon: Option<&Daemon>) -> Result<Target> {
    Ok(match wanted {
        Wanted::Single(level, id) => {
            let id = match (id.whole(), daemon) {
                (Some(id), _) => id,
                (None, Some(daemon)) => daemon.resolve(id)?,
                (None, None) => {
                    let message = "without a daemon only a whole id names a request: it has 43 characters";
                    return Err(Problem::usage("ID_NEEDED", message).into());
                }
            };
            if *level == KillLevel::Jti { Target::Jti(id) } else { Target::Request(id) }
        }
        Wanted::Requester(id) => Target::Requester(id.clone()),
        Wanted::Profile(id) => Target::Profile(id.clone()),
        Wanted::Key(Some(kid), _) => Target::Key(*kid),
        Wanted::Key(None, profile) => Target::Key(current(charter, profile.as_ref())?),
        Wanted::All => Target::All,
    })
}

/// The one key that issues tokens now.
fn current(charter: &Charter, profile: Option<&ProfileId>) -> Result<Digest> {
    let keys = charter.document().issuing_keys.iter().filter(|key| {
        key.state == KeyState::Active && profile.is_none_or(|profile| key.profiles.contains(profile))
    });
    let kids: Vec<Digest> = keys.map(|key| key.key.thumbprint()).collect();
    match kids.as_slice() {
        [kid] => Ok(*kid),
        [] => Err(Problem::refused("KEY_UNKNOWN", "no key of the charter issues tokens of this now").into()),
        several => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message =
                format!("several keys issue tokens now: name one, or give --profile: {}", list.join(", "));
            Err(Problem::usage("KEY_AMBIGUOUS", message).into())
        }
    }
}

/// What is killed already, and what will end. A daemon that answers neither still takes the kill.
fn inform(daemon: &Daemon, setup: &Setup, target: &Target, session: &mut Session) -> Result<()> {
    match Known::ask(daemon, &setup.charter, &[]) {
        Ok(known) => session.out.say(view::kill::banner(&known, &setup.charter, clock::now()))?,
        Err(error) => session.out.say(format!("What is killed already is not known: {error:#}"))?,
    }
    let open = [RequestState::Pending, RequestState::Authorized, RequestState::Issued];
    let hit = match daemon.list(&open, false) {
        Ok(requests) => view::kill::hit(target, &requests, &setup.charter),
        Err(error) => format!("Which requests it will end is not known: {error}"),
    };
    session.out.say(format!("{}\n{hit}", view::kill::effect(target)))
}

/// With a custodian's hardware key; or with the own file key, where the charter gives it this right.
fn sign(kill: &Kill, setup: &Setup, how: &How, session: &mut Session) -> Result<GeneralJws> {
    let (payload, now) = (kill.to_bytes().context("the reason cannot be signed as it is")?, clock::now());
    let level = kill.target.level();
    if how.device.serial.is_none()
        && let Some(key) = own_key(setup, level, now)
    {
        let question = format!("Kill {}, with your own key?", kill.target);
        device::confirm(&mut session.out, &question, how.device.yes)?;
        let signature = key.sign(Typ::Kill, &payload, clock::now())?;
        return Ok(statement::single(payload, signature));
    }
    let custodian =
        device::choose(&mut session.out, &setup.charter, how.device.serial, now, &[Role::Custodian])?;
    let question = format!("Kill {}, as {}?", kill.target, custodian.describe());
    let what = (Typ::Kill, payload.as_slice());
    let signature = statement::consent(&custodian, &question, what, &how.device, session)?;
    Ok(statement::single(payload, signature))
}

fn own_key(setup: &Setup, level: KillLevel, now: i64) -> Option<FileKey> {
    let key = setup.file_key().ok()?;
    setup.charter.may_kill(&key.public.thumbprint(), level, now).is_ok().then_some(key)
}

fn keep(out: &Path, kill: &Kill, jws: &GeneralJws, session: &mut Session) -> Result<()> {
    files::create(out, &jws.to_json(), files::Access::Public)?;
    let result = json!({"id": kill.id, "written": out});
    session.out.result(&result, || {
        format!(
            "Signed, and in force nowhere yet. Next: breakglass kill send {}, from any enrolled machine",
            out.display()
        )
    })
}
