//! `breakglass genesis announce`: somebody who is left says that no quorum is, and which chain is to begin.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{
        Session, clock,
        device::{self, DeviceArgs},
        files, random,
        setup::Setup,
        statement, text, view,
    },
    domain::{
        charter::{Charter, MAX_CHARTER_BYTES},
        genesis::AboutGenesis,
    },
    jose::{Digest, GeneralJws, Typ, json as jcs},
};

/// Announce a new chain in place of this one, of which no quorum is left
///
/// For any one custodian or recovery custodian. FILE is a complete first charter, made with breakglass charter new
/// --replaces and signed by all of its own custodians. Seven days with an alarm on each must pass; any quorum that is left
/// after all can cancel it until then. Nothing of the old chain carries over: everybody compares the new one's twelve words.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass genesis announce new/charter.json --serial 12345678")]
pub(crate) struct Args {
    /// The new chain's first charter, signed by its own custodians
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let charter = &setup.charter;
    args.device.check(charter)?;
    let new = GeneralJws::parse(&files::read(&args.file)?, MAX_CHARTER_BYTES)
        .with_context(|| format!("{} is no signed charter", args.file.display()))?;
    let genesis = Digest::of(&new.payload);
    let rules = Charter::genesis(new.clone(), genesis)
        .with_context(|| format!("{} cannot begin a chain", args.file.display()))?;
    let now = clock::now();
    session.out.say(view::charter::describe(&rules, now))?;
    let custodian = device::choose(&mut session.out, charter, args.device.serial, now, device::KEEPERS)?;
    let question = format!(
        "No quorum is left, and this chain is to end after seven days. Announce it, as {}?",
        custodian.describe()
    );
    let about = AboutGenesis {
        iss: charter.document().iss.clone(),
        charter: charter.digest(),
        genesis,
        nonce: random::nonce()?,
    };
    let payload = jcs::canonical(&about)?;
    let what = (Typ::Announcement, payload.as_slice());
    let signature = statement::consent(&custodian, &question, what, &args.device, session)?;
    let jws = statement::single(payload, signature).to_json();
    let announced = setup.connect()?.announce_genesis(jws, new.to_json())?;
    let (id, ends) = announced.map_or_else(
        || (String::new(), 0),
        |one| (one.digest, one.ends_at.as_ref().map_or(0, |at| at.seconds)),
    );
    let result =
        json!({ "id": id, "genesis": genesis, "words": view::charter::phrase(&genesis), "ends_at": ends });
    session.out.result(&result, || {
        format!(
            "Announced. It ends this chain {}, unless a quorum cancels it; a day counts only if the daemon runs on it.\nNext: tell everybody, and keep {}",
            text::until(ends, clock::now()),
            args.file.display()
        )
    })
}
