//! `breakglass ceremony`: the transcript that the `scripts/ceremony-*` keep, from its first line to paper.
//!
//! Invariants: the draft is rewritten as a whole, so that an interruption loses no step; a step that is recorded is not
//! recorded again; what has been sealed is never changed.

mod begin;
mod page;
mod print;
mod sign;
mod step;
mod submit;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{Session, exit::Problem, files};
use crate::{
    domain::{
        id::PersonId,
        transcript::{Ceremony, MAX_SIGNED_BYTES, Step, Transcript},
    },
    jose::GeneralJws,
};

/// Commands about transcripts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Begin(begin::Args),
    Step(step::Args),
    Sign(sign::Args),
    Submit(submit::Args),
    Print(print::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Begin(args) => begin::run(&args, session),
        Command::Step(args) => step::run(&args, session),
        Command::Sign(args) => sign::run(&args, session),
        Command::Submit(args) => submit::run(&args, session),
        Command::Print(args) => print::run(&args, session),
    }
}

/// A transcript that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    ceremony: Ceremony,
    rehearsal: bool,
    /// Unix seconds.
    began: i64,
    present: BTreeSet<PersonId>,
    steps: Vec<Step>,
}

/// The files of a ceremony, all in one folder.
struct Place(PathBuf);

impl Place {
    fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn draft(&self) -> PathBuf {
        self.0.join("transcript.draft.json")
    }

    fn signed(&self) -> PathBuf {
        self.0.join("transcript.json")
    }

    fn read_draft(&self) -> Result<Draft> {
        let path = self.draft();
        if !path.exists() {
            let message = format!("no ceremony has begun in {}: breakglass ceremony begin", self.0.display());
            return Err(Problem::usage("NO_CEREMONY", message).into());
        }
        files::read_json(&path, "the draft of a transcript")
    }

    fn write_draft(&self, draft: &Draft) -> Result<()> {
        let mut text =
            serde_json::to_vec_pretty(draft).context("the transcript cannot be written as JSON")?;
        text.push(b'\n');
        files::replace(&self.draft(), &text, files::Access::Public)
    }

    /// The transcript as it was sealed, with the signatures so far.
    fn read_signed(&self) -> Result<Option<(Transcript, GeneralJws)>> {
        let path = self.signed();
        if !path.exists() {
            return Ok(None);
        }
        let place = || format!("{} is no transcript", path.display());
        let jws = GeneralJws::parse(&files::read(&path)?, MAX_SIGNED_BYTES).with_context(place)?;
        let transcript = Transcript::parse(&jws.payload).with_context(place)?;
        Ok(Some((transcript, jws)))
    }

    /// The same, where there has to be one.
    fn sealed(&self) -> Result<(Transcript, GeneralJws)> {
        self.read_signed()?.ok_or_else(|| {
            let message =
                format!("{} is not there: breakglass ceremony sign makes it", self.signed().display());
            Problem::usage("NOT_SEALED", message).into()
        })
    }
}

/// `genesis`, as in file names and on the command line.
fn ceremony(text: &str) -> Result<Ceremony, String> {
    Ceremony::ALL.into_iter().find(|ceremony| ceremony.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = Ceremony::ALL.iter().map(|ceremony| ceremony.as_str()).collect();
        format!("the ceremonies are {}", names.join(", "))
    })
}
