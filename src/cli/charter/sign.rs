//! `breakglass charter sign`: a custodian reads the charter and puts a hardware key's signature to it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Loaded;
use crate::{
    cli::{
        Session, clock,
        device::{self, DeviceArgs},
        exit::Problem,
        files, statement, view,
    },
    domain::charter::MAX_CHARTER_BYTES,
    jose::{GeneralJws, Typ},
};

/// Sign a charter with your YubiKey, after reading it
///
/// A first version is shown in plain words with its twelve words, and your signature is added to the signed charter
/// (charter.json beside the payload). Of a later version you are shown what it changes, and what of that makes it weaker;
/// given its ID, it is fetched from the daemon, and your signature goes there. Compare the twelve words with the other
/// custodians by voice before you touch.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter sign charter.payload.json --serial 12345678
  breakglass charter sign charter.json            (a charter that others have signed already)
  breakglass charter sign charter.json --qr me.svg      (without a network: the signature goes back as a QR code)
  breakglass charter sign 3fz0Xq --serial 12345678        (one that is proposed at the daemon)")]
pub(crate) struct Args {
    /// The charter's payload, the charter as others have signed it, or the id of a proposed one
    #[arg(value_name = "FILE|ID")]
    file: PathBuf,
    /// Where the signed charter is kept [default: charter.json beside FILE]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw your signature as a QR code as well (SVG), to be scanned where there is a network; of a later version only
    #[arg(long, value_name = "FILE")]
    qr: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    if !args.file.exists()
        && let Some(id) = args.file.to_str().and_then(|text| text.parse().ok())
    {
        return super::consent::online(&id, &args.device, session);
    }
    let loaded = super::load(&args.file)?;
    if loaded.rules.document().version > 1 {
        let (out, code) = (target(args, &loaded), args.qr.as_deref());
        return super::consent::by_file(&loaded, &out, code, &args.device, session);
    }
    let rules = &loaded.rules;
    args.device.check(rules)?;
    let out = target(args, &loaded);
    let mut signed = existing(&out, &loaded)?;
    let now = clock::now();
    session.out.say(view::charter::describe(rules, now))?;
    let custodian = device::choose(&mut session.out, rules, args.device.serial, now, device::KEEPERS)?;
    let kid = custodian.public.thumbprint();
    if signed.signatures.iter().any(|signature| signature.header().kid == kid) {
        let message =
            format!("{} has signed this charter already: each key signs once", custodian.describe());
        return Err(Problem::refused("ALREADY_SIGNED", message).into());
    }
    session.out.say(format!(
        "Read these words aloud with the other custodians: {}",
        view::charter::phrase(&rules.digest())
    ))?;
    let question = format!("Put this charter in force, as {}?", custodian.describe());
    let what = (Typ::Charter, loaded.payload.as_slice());
    signed.signatures.push(statement::consent(&custodian, &question, what, &args.device, session)?);
    files::replace(&out, &signed.to_json(), files::Access::Public)?;
    let states = view::charter::signatures(rules, Some(&signed));
    let missing = states.iter().filter(|state| state.signed_at.is_none()).count();
    let result = json!({
        "charter": out,
        "digest": rules.digest(),
        "signed_by": custodian.person,
        "kid": kid,
        "missing": missing,
    });
    session.out.result(&result, || {
        let next = if missing == 0 {
            format!(
                "All devices have signed. Next: breakglassd init --charter {} --evidence EVIDENCE --digest={}",
                out.display(),
                rules.digest()
            )
        } else {
            format!(
                "Next: the custodians whose signatures are missing run breakglass charter sign {}",
                out.display()
            )
        };
        format!("Signed.\n{}{next}", view::charter::signatures_text(&states))
    })
}

/// A signature that does not verify would spoil the charter for good: better said now than when it comes into force.
fn verified(out: &Path, loaded: &Loaded, begun: &GeneralJws) -> Result<()> {
    for signature in &begun.signatures {
        let kid = signature.header().kid;
        let holder = loaded.rules.holder(&kid);
        let verifies =
            holder.is_some_and(|holder| signature.verify(&begun.payload, &holder.key, Typ::Charter).is_ok());
        if !verifies {
            let message =
                format!("{} carries a signature by {kid} that does not verify: begin it anew", out.display());
            return Err(Problem::unverified("SIGNATURE_INVALID", message).into());
        }
    }
    Ok(())
}

fn target(args: &Args, loaded: &Loaded) -> PathBuf {
    match (&args.out, &loaded.statement) {
        (Some(out), _) => out.clone(),
        (None, Some(_)) => args.file.clone(),
        (None, None) => args.file.parent().unwrap_or(Path::new("")).join("charter.json"),
    }
}

/// The signatures that are there already; every one of them is over the same bytes.
fn existing(out: &Path, loaded: &Loaded) -> Result<GeneralJws> {
    let begun = if out.exists() {
        let place = || format!("{} is no signed charter", out.display());
        Some(GeneralJws::parse(&files::read(out)?, MAX_CHARTER_BYTES).with_context(place)?)
    } else {
        loaded.statement.clone()
    };
    let Some(begun) = begun else {
        return Ok(GeneralJws { payload: loaded.payload.clone(), signatures: Vec::new() });
    };
    if begun.payload == loaded.payload {
        verified(out, loaded, &begun)?;
        return Ok(begun);
    }
    let message = format!("{} holds another charter: move it away, or give --out FILE", out.display());
    Err(Problem::refused("ANOTHER_CHARTER", message).into())
}
