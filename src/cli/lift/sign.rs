//! `breakglass lift sign`: a custodian reads what a lift ends and puts a hardware key's signature to it.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::file::LiftFile;
use crate::{
    cli::{
        Session, clock,
        device::{self, DeviceArgs},
        exit::Problem,
        files,
        setup::Setup,
        statement,
    },
    domain::kill::SignedLift,
    jose::Typ,
};

/// Sign a lift with your YubiKey, after reading what it ends
///
/// Needs no network: the file holds the kills under their signatures.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass lift sign lift.json --serial 12345678")]
pub(crate) struct Args {
    /// What breakglass lift create wrote; your signature is added to it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    args.device.check(&setup.charter)?;
    let mut file = LiftFile::read(&args.file)?;
    if file.lift.charter != setup.charter.digest() {
        let message = "the lift is for another charter than yours: breakglass charter pull, or begin it anew";
        return Err(Problem::refused("CHARTER_MISMATCH", message).into());
    }
    let mut signed_by = file.signed_by(&setup.charter)?;
    session.out.say(file.describe(&setup.charter)?)?;
    let now = clock::now();
    let custodian =
        device::choose(&mut session.out, &setup.charter, args.device.serial, now, device::KEEPERS)?;
    let kid = custodian.public.thumbprint();
    if file.signatures.iter().any(|signature| signature.header().kid == kid) {
        let message = format!("{} has signed this lift already: each key signs once", custodian.describe());
        return Err(Problem::refused("ALREADY_SIGNED", message).into());
    }
    let question = format!("End these kills, as {}?", custodian.describe());
    let payload = file.lift.to_bytes()?;
    let what = (Typ::Lift, payload.as_slice());
    file.signatures.push(statement::consent(&custodian, &question, what, &args.device, session)?);
    files::replace(&args.file, &serde_json::to_vec_pretty(&file)?, files::Access::Public)?;
    signed_by.push(custodian.person.to_string());
    let signed = SignedLift::verify(file.statement()?, &setup.charter)?;
    let missing = setup.charter.may_lift(&signed, false).err().map(|refusal| refusal.to_string());
    let result = json!({"signed_by": signed_by, "missing": missing});
    session.out.result(&result, || {
        let place = args.file.display();
        let next = missing.as_ref().map_or_else(
            || format!("The quorum is complete. Next: breakglass lift submit {place}"),
            |missing| format!("{missing}. Next: breakglass lift sign {place}"),
        );
        format!("Signed. So far: {}. {next}", signed_by.join(", "))
    })
}
