//! `breakglass ceremony submit`: the signed transcript goes into the audit log.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::Place;
use crate::{
    cli::{Session, daemon, setup::Setup},
    domain::transcript::SignedTranscript,
    jose::Digest,
};

/// Record a transcript in the audit log, once all who were present have signed it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass ceremony submit genesis-2026")]
pub(crate) struct Args {
    /// Folder of the ceremony
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let (_, jws) = Place::new(&args.dir).sealed()?;
    let setup = Setup::load(session.config.as_deref())?;
    let digest = Digest::of(&jws.payload);
    // Better said here, with the names that are missing, than by a daemon that may be far away.
    SignedTranscript::verify(jws.clone(), &setup.charter)?;
    let daemon = setup.connect()?;
    let bytes = jws.to_json();
    let (answer, _) = daemon::insist(|| daemon.record(bytes.clone()));
    let index = match answer {
        Ok(index) => Some(index),
        Err(error) if error.reason == "TRANSCRIPT_KNOWN" => None,
        Err(error) => return Err(error.into()),
    };
    session.out.result(&json!({"digest": digest, "index": index}), || match index {
        Some(index) => format!("The transcript is entry {index} of the audit log."),
        None => "The transcript is in the audit log already.".to_owned(),
    })
}
