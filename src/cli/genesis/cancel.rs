//! `breakglass genesis cancel`: custodians who are a quorum after all sign, one after the other, that this chain goes on.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{
        Session, clock,
        daemon::Daemon,
        device::{self, DeviceArgs},
        exit::Problem,
        files,
        id::IdArg,
        random,
        setup::Setup,
        statement,
    },
    domain::{
        genesis::{AboutCancellation, SignedCancellation},
        id::RequestId,
        statement::MAX_STATEMENT_BYTES,
    },
    jose::{Digest, GeneralJws, Typ, json as jcs},
};

/// Cancel an announced chain: sign, and hand in what any quorum has signed
///
/// Adds your signature to FILE, which goes from hand to hand. The signature that makes it a quorum (of governance, of any
/// profile, or of recovery) hands it in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, each custodian:
  breakglass genesis cancel 3fz0Xq --file cancel.json --serial 12345678")]
pub(crate) struct Args {
    /// Id of the announcement, as breakglass genesis status shows it
    #[arg(value_name = "ID")]
    id: IdArg,
    /// Where the signatures are collected
    #[arg(long, value_name = "FILE", default_value = "cancel.json")]
    file: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let charter = &setup.charter;
    args.device.check(charter)?;
    let daemon = setup.connect()?;
    let announcement = find(&daemon, &args.id)?;
    let mut jws = if args.file.exists() {
        GeneralJws::parse(&files::read(&args.file)?, MAX_STATEMENT_BYTES)
            .with_context(|| format!("{} is no cancellation", args.file.display()))?
    } else {
        let about = AboutCancellation {
            iss: charter.document().iss.clone(),
            charter: charter.digest(),
            announcement,
            nonce: random::nonce()?,
        };
        GeneralJws { payload: jcs::canonical(&about)?, signatures: Vec::new() }
    };
    let begun = SignedCancellation::verify(jws.clone(), charter)
        .with_context(|| format!("{} is not to be signed", args.file.display()))?;
    if begun.about().announcement != announcement || begun.about().charter != charter.digest() {
        let message = format!("{} cancels another announcement: give another --file", args.file.display());
        return Err(Problem::refused("ANOTHER_ANNOUNCEMENT", message).into());
    }
    let found = device::choose(&mut session.out, charter, args.device.serial, clock::now(), device::KEEPERS)?;
    let kid = found.public.thumbprint();
    if !jws.signatures.iter().any(|signature| signature.header().kid == kid) {
        let question = format!("Cancel it, so that this chain goes on, as {}?", found.describe());
        let what = (Typ::Cancellation, jws.payload.as_slice());
        jws.signatures.push(statement::consent(&found, &question, what, &args.device, session)?);
        files::replace(&args.file, &jws.to_json(), files::Access::Public)?;
    }
    let signed = SignedCancellation::verify(jws, charter)?;
    let suffices = signed.suffices(charter);
    if suffices {
        daemon.cancel_genesis(signed.jws().to_json())?;
    }
    let result = json!({ "signed_by": found.person, "cancelled": suffices });
    session.out.result(&result, || {
        if suffices {
            "Cancelled: this chain goes on.".to_owned()
        } else {
            let missing = signed.missing(charter);
            format!("Signed. For governance still needed: {missing}; the quorum of a profile, or of recovery, will do as well.")
        }
    })
}

fn find(daemon: &Daemon, id: &IdArg) -> Result<Digest> {
    let found = daemon.genesis()?;
    let ids = found.announcements.iter().filter_map(|one| one.digest.parse::<Digest>().ok()).map(RequestId);
    Ok(id.choose(ids)?.0)
}
