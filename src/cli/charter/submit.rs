//! `breakglass charter submit`: hands in a charter that was signed by file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::consent;
use crate::{
    cli::{
        Session,
        exit::Problem,
        files::{self, DeviceFile},
        offline,
        setup::Setup,
    },
    domain::{charter::MAX_CHARTER_BYTES, evidence::Evidence},
    grpc::v1,
    jose::{GeneralJws, b64},
};

/// Hand a charter that was signed by file to the daemon
///
/// Whoever carries it: the signatures speak for themselves. If they suffice, it is in force at once; if not, it is
/// proposed, and signatures that the daemon has not got yet are added to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter submit charter.json
  breakglass charter submit charter.json --evidence bob.json       (with a new device)
  breakglass charter submit --signature -                          (from a QR scanner)")]
pub(crate) struct Args {
    /// The signed charter
    #[arg(value_name = "FILE", required_unless_present = "signature")]
    file: Option<PathBuf>,
    /// One signature that `charter sign --qr` has drawn, for a charter that is proposed; - reads what a QR scanner types
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "evidence"])]
    signature: Option<PathBuf>,
    /// Records of breakglass custodian enrol, or evidence files, for devices that are new
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let Some(file) = &args.file else {
        let from = args.signature.as_deref().unwrap_or(Path::new("-"));
        let text = if from.as_os_str() == "-" { offline::scanned()? } else { files::read(from)? };
        return consent::scanned(text.trim_ascii_end(), session);
    };
    let setup = Setup::load(session.config.as_deref())?;
    let place = || format!("{} is no signed charter", file.display());
    let signed = GeneralJws::parse(&files::read(file)?, MAX_CHARTER_BYTES).with_context(place)?;
    let rules = consent::draft(&setup.charter, &signed)?;
    let after = setup.connect()?.propose(signed.to_json(), evidence(&args.evidence)?)?;
    let result = json!({
        "id": rules.digest(),
        "version": rules.document().version,
        "in_force": after.is_none(),
        "missing": after.as_ref().map(|proposal| proposal.missing.clone()).unwrap_or_default(),
    });
    session.out.result(&result, || consent::told(&rules, after.as_ref()))
}

/// Evidence from files: records of one device, single pieces, or lists of them.
pub(super) fn evidence(files: &[PathBuf]) -> Result<Vec<v1::Evidence>> {
    let mut all = Vec::new();
    for file in files {
        for item in pieces(file)? {
            let der =
                |text: &str| b64::decode(text).with_context(|| format!("{} is damaged", file.display()));
            all.push(v1::Evidence {
                statement: der(&item.statement)?,
                intermediate: der(&item.intermediate)?,
            });
        }
    }
    Ok(all)
}

fn pieces(file: &Path) -> Result<Vec<Evidence>> {
    let value: Value = files::read_json(file, "attestation evidence")?;
    let record = serde_json::from_value::<DeviceFile>(value.clone()).map(|record| vec![record.evidence]);
    let several = || serde_json::from_value::<Vec<Evidence>>(value.clone());
    let one = || serde_json::from_value::<Evidence>(value.clone()).map(|one| vec![one]);
    record.or_else(|_| several()).or_else(|_| one()).map_err(|_| {
        Problem::usage("FILE_SHAPE", format!("{} holds no attestation evidence", file.display())).into()
    })
}
