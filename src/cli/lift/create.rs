//! `breakglass lift create`: begins a lift of kills that are in force.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use serde_json::json;

use super::file::LiftFile;
use crate::{
    cli::{
        Session,
        exit::Problem,
        files,
        id::{parse_digest, parse_kill},
        kill::known::Known,
        setup::Setup,
    },
    domain::{
        Refusal,
        id::KillId,
        kill::{KillRefusal, Lift, Target},
    },
    jose::Digest,
};

/// Begin a lift: name the kills that are to end
///
/// Asks the daemon for them and for the kill epoch, and writes a file that custodians sign one after the other. If
/// somebody kills meanwhile, the epoch has moved on and the lift has to be begun anew: whoever lifts knows of every kill.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass lift create V8Yh1vSgX5c3nXGyXbMuKQ --out lift.json
  breakglass lift create V8Yh1vSgX5c3nXGyXbMuKQ --suspend KID --out lift.json")]
pub(crate) struct Args {
    /// Ids of kills, as breakglass kill status shows them
    #[arg(value_name = "KILL-ID", required = true, value_parser = parse_kill)]
    kills: Vec<KillId>,
    /// Take the right to kill from this key, until the next charter
    #[arg(long, value_name = "KID", value_parser = parse_digest)]
    suspend: Vec<Digest>,
    /// Where to write the file
    #[arg(long, value_name = "FILE", default_value = "lift.json")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let known = Known::ask(&setup.connect()?, &setup.charter, &[])?;
    let named: BTreeSet<KillId> = args.kills.iter().copied().collect();
    let mut statements = Vec::new();
    for id in &named {
        let recorded = known.kills.get(id).ok_or_else(|| {
            let message = format!(
                "no kill {id} is in force that your charter bears out: breakglass kill status shows them"
            );
            Problem::refused("KILL_UNKNOWN", message)
        })?;
        if recorded.kill.target.request().is_some() {
            return Err(Refusal::from(KillRefusal::Final(*id)).into());
        }
        statements.push(recorded.statement.clone());
    }
    let lift = Lift {
        iss: setup.charter.document().iss.clone(),
        charter: setup.charter.digest(),
        kills: named.clone(),
        epoch: known.epoch,
        suspend: args.suspend.iter().copied().collect(),
    };
    lift.to_bytes()?;
    let file = LiftFile { lift, signatures: Vec::new(), kills: statements };
    let shown = file.describe(&setup.charter)?;
    files::create(&args.out, &serde_json::to_vec_pretty(&file)?, files::Access::Public)?;
    let issues = |target: &Target| {
        let keys = &setup.charter.document().issuing_keys;
        keys.iter().any(|key| *target == Target::Key(key.key.thumbprint()))
    };
    if named.iter().filter_map(|id| known.kills.get(id)).any(|recorded| issues(&recorded.kill.target)) {
        session.out.say(
            "An issuing key was killed: a lift keeps it only if the HSM has not destroyed it yet, see breakglass kill status.",
        )?;
    }
    session.out.result(&json!({"written": args.out, "epoch": file.lift.epoch}), || {
        let out = args.out.display();
        format!("{shown}\nNext: custodians sign it within a day: breakglass lift sign {out}")
    })
}
