//! `breakglass approve --offline` and `deny --offline`: a verdict on a request in a file, written into a file.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{
        Session, clock,
        device::DeviceArgs,
        exit::Problem,
        files,
        judge::{consent, sign, word},
        review::Reviewed,
        setup::Setup,
    },
    domain::{
        grant::Grant,
        statement::{MAX_STATEMENT_BYTES, Verdict},
    },
    jose::GeneralJws,
};

/// Options of a verdict that no daemon is asked about.
#[derive(Debug, clap::Args)]
pub(crate) struct OfflineArgs {
    /// Judge the request in this file, without a daemon; - reads what a QR scanner types
    #[arg(long, value_name = "FILE")]
    pub(crate) offline: Option<PathBuf>,
    /// With --offline: where to write the verdict [default: ID.approval.json or ID.denial.json]
    #[arg(long, value_name = "FILE", requires = "offline")]
    pub(crate) out: Option<PathBuf>,
}

pub(crate) fn judge(
    file: &Path,
    args: &OfflineArgs,
    device: &DeviceArgs,
    verdict: Verdict,
    session: &mut Session,
) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let charter = &setup.charter;
    device.check(charter)?;
    let bytes = if file.as_os_str() == "-" { scanned()? } else { files::read(file)? };
    let place = || format!("{} holds no request", file.display());
    let jws = GeneralJws::parse(&bytes, MAX_STATEMENT_BYTES).with_context(place)?;
    let id = Grant::id_of(&jws.payload);
    let reviewed = Reviewed::new(charter, &bytes, &id)?;
    if !charter.is_in_force(clock::now()) {
        let message =
            "your charter has expired: bring a newer chain (breakglass charter pull) to this machine";
        return Err(Problem::refused("CHARTER_EXPIRED", message).into());
    }
    let (custodian, pin) = consent(&reviewed, charter, device, verdict, session)?;
    let signed = sign(&reviewed, &custodian, &pin, verdict, None, session)?;
    let kind = match verdict {
        Verdict::Approve => "approval",
        Verdict::Deny => "denial",
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{id}.{kind}.json")));
    files::replace(&out, &signed.to_json(), files::Access::Public)?;
    let result = json!({
        "request_id": id,
        "person": custodian.person,
        "serial": custodian.key.serial().0,
        "verdict": word(verdict),
        "file": out,
    });
    session.out.result(&result, || {
        format!(
            "Signed. Wrote {}.\nNext, where there is a network, soon: breakglass approval submit {}",
            out.display(),
            out.display()
        )
    })
}

/// What a scanner types: one line.
pub(crate) fn scanned() -> Result<Vec<u8>> {
    let mut text = String::new();
    let limit = MAX_STATEMENT_BYTES as u64 + 2;
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .context("nothing could be read from the scanner")?;
    Ok(text.trim_end_matches(['\r', '\n']).as_bytes().to_vec())
}
