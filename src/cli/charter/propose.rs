//! `breakglass charter propose`: a custodian puts the next version before the others, under the first signature.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{consent, submit};
use crate::{
    cli::{Session, device::DeviceArgs, setup::Setup},
    jose::GeneralJws,
};

/// Propose the next version of the charter, under your signature
///
/// Shows what it changes, asks, signs with your YubiKey, and hands it to the daemon, where the others find it with
/// breakglass charter proposals. It comes into force with the signature that completes it; until then it can be retracted
/// by you alone, and it lapses seven days after it was drafted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter propose next.json --serial 12345678
  breakglass charter propose next.json --evidence bob.evidence.json       (with a new device)")]
pub(crate) struct Args {
    /// The edited draft
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Records of breakglass custodian enrol, or evidence files, for devices that are new
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let evidence = submit::evidence(&args.evidence)?;
    let loaded = super::load(&args.file)?;
    let mut begun =
        loaded.statement.unwrap_or(GeneralJws { payload: loaded.payload, signatures: Vec::new() });
    let rules = consent::draft(&setup.charter, &begun)?;
    let daemon = setup.connect()?;
    let (signature, custodian) = consent::sign(&setup.charter, &rules, &begun, &args.device, session)?;
    begun.signatures.insert(0, signature);
    let after = daemon
        .propose(begun.to_json(), evidence)
        .context("your signature was made, but the daemon did not take the charter")?;
    let result = json!({
        "id": rules.digest(),
        "version": rules.document().version,
        "in_force": after.is_none(),
        "signed_by": custodian.person,
        "missing": after.as_ref().map(|proposal| proposal.missing.clone()).unwrap_or_default(),
    });
    session.out.result(&result, || consent::told(&rules, after.as_ref()))
}
