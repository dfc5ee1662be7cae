//! `breakglass ceremony sign`: whoever was there reads the transcript and signs it.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use serde_json::json;

use super::{Place, page};
use crate::{
    cli::{
        Session, clock,
        device::{self, DeviceArgs},
        exit::Problem,
        files, random,
        setup::Setup,
        statement, view,
    },
    domain::{charter::Rules, id::PersonId, transcript::Transcript},
    jose::{Digest, GeneralJws, Signature, Typ},
};

/// Sign the transcript of a ceremony with your YubiKey, after reading it
///
/// The first signature seals it: no step is added any more. Everybody who was present signs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass ceremony sign genesis-2026 --charter charter.json --serial 12345678")]
pub(crate) struct Args {
    /// Folder of the ceremony
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The charter in force after the ceremony [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    charter: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let given = match &args.charter {
        Some(file) => Some(crate::cli::charter::rules(file)?),
        None => None,
    };
    let pinned = if given.is_none() { Some(Setup::load(session.config.as_deref())?) } else { None };
    let rules: &Rules = match (&given, &pinned) {
        (Some(rules), _) => rules,
        (None, Some(setup)) => &setup.charter,
        (None, None) => return Err(Problem::usage("NO_CHARTER", "give --charter FILE").into()),
    };
    args.device.check(rules)?;
    let place = Place::new(&args.dir);
    let (transcript, mut jws) = match place.read_signed()? {
        Some(sealed) => sealed,
        None => seal(&place, rules)?,
    };
    if transcript.charter != rules.digest() {
        let message = "the transcript was sealed under another charter than the one given";
        return Err(Problem::refused("CHARTER_MISMATCH", message).into());
    }
    session.out.say(page::text(&transcript))?;
    let digest = Digest::of(&jws.payload);
    session.out.say(format!("Its words: {}", view::charter::phrase(&digest)))?;
    let now = clock::now();
    let custodian = device::choose(&mut session.out, rules, args.device.serial, now, device::KEEPERS)?;
    if !transcript.present.contains(&custodian.person) {
        let message = format!("the transcript does not name {} among those present", custodian.person);
        return Err(Problem::refused("NOT_PRESENT", message).into());
    }
    let signed = signers(rules, &jws);
    if !signed.contains(&custodian.person) {
        let question = format!("Sign this, as {}?", custodian.describe());
        let what = (Typ::Transcript, jws.payload.as_slice());
        jws.signatures.push(statement::consent(&custodian, &question, what, &args.device, session)?);
        files::replace(&place.signed(), &jws.to_json(), files::Access::Public)?;
    }
    let signed = signers(rules, &jws);
    let missing: Vec<&str> =
        transcript.present.iter().filter(|person| !signed.contains(*person)).map(PersonId::as_str).collect();
    session.out.result(&json!({"digest": digest, "signed_by": custodian.person, "missing": missing}), || {
        match missing.as_slice() {
            [] => {
                "All have signed. Next: breakglass ceremony submit, and breakglass ceremony print".to_owned()
            }
            _ => format!("Signed. Still missing: {}", missing.join(", ")),
        }
    })
}

fn signers(rules: &Rules, jws: &GeneralJws) -> BTreeSet<PersonId> {
    let headers = jws.signatures.iter().map(Signature::header);
    headers.filter_map(|header| rules.holder(&header.kid)?.keeper(header.iat)).collect()
}

/// From now on the transcript does not change any more.
fn seal(place: &Place, rules: &Rules) -> Result<(Transcript, GeneralJws)> {
    let draft = place.read_draft()?;
    let before = draft.steps.last().map_or(draft.began, |step| step.ended);
    let transcript = Transcript {
        iss: rules.document().iss.clone(),
        charter: rules.digest(),
        ceremony: draft.ceremony,
        nonce: random::nonce()?,
        rehearsal: draft.rehearsal,
        began: draft.began,
        ended: clock::now().max(before),
        present: draft.present,
        steps: draft.steps,
    };
    let jws = GeneralJws { payload: transcript.to_bytes()?, signatures: Vec::new() };
    files::replace(&place.signed(), &jws.to_json(), files::Access::Public)?;
    Ok((transcript, jws))
}
