//! `breakglass ceremony begin`: who is there, and for what.

use std::path::PathBuf;

use anyhow::Result;

use super::{Draft, Place};
use crate::{
    cli::{Session, clock, exit::Problem},
    domain::{id::PersonId, transcript::Ceremony},
};

/// Begin the transcript of a ceremony, or go on with one that was interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass ceremony begin genesis-2026 --ceremony genesis --present alice --present bob --present carol")]
pub(crate) struct Args {
    /// Folder of the ceremony
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Which: genesis, rotate-key, panic, enrol-custodian, replace-device or recover
    #[arg(long, value_name = "NAME", value_parser = super::ceremony)]
    ceremony: Ceremony,
    /// A custodian who is there, by the id in the charter; all of them sign the transcript
    #[arg(long, value_name = "PERSON", required = true)]
    present: Vec<PersonId>,
    /// It is only practised
    #[arg(long)]
    rehearsal: bool,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let place = Place::new(&args.dir);
    let new = Draft {
        ceremony: args.ceremony,
        rehearsal: args.rehearsal,
        began: clock::now(),
        present: args.present.iter().cloned().collect(),
        steps: Vec::new(),
    };
    if new.present.len() < 2 {
        let message = "a ceremony needs two persons or more: name each with --present";
        return Err(Problem::usage("TOO_FEW_PRESENT", message).into());
    }
    let draft = if place.draft().exists() { place.read_draft()? } else { new.clone() };
    if (draft.ceremony, draft.rehearsal, &draft.present) != (new.ceremony, new.rehearsal, &new.present) {
        let message = format!(
            "{} holds another ceremony, or one with other people: choose another folder",
            args.dir.display()
        );
        return Err(Problem::refused("ANOTHER_CEREMONY", message).into());
    }
    place.write_draft(&draft)?;
    session.out.result(&draft, || match draft.steps.len() {
        0 => format!("The ceremony {} begins.", draft.ceremony.as_str()),
        done => format!("The ceremony {} goes on, after {done} steps.", draft.ceremony.as_str()),
    })
}
