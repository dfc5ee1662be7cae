//! `breakglass audit verify`: the whole log again, trusting nothing but the digest of the first charter.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{Session, exit::Problem, id, setup, text::Fields},
    domain::{
        event::{Entry, Event, MAX_ENTRY_BYTES},
        replay::{Replay, WrongEntry},
    },
    jose::Digest,
    store::{ExportDirectory, ExportReader},
    tlog::Checkpoint,
};

/// Entries between two looks at the progress.
const STEP: u64 = 10_000;

/// Check an exported log: every hash, every signature, every decision
///
/// Recomputes the tree and compares it with the signed checkpoint, then decides every entry again by the rules, from the
/// statements in it alone. Trusts nothing but the digest of the first charter. Names the first entry that is wrong.
/// A FILE holds one entry per line, without a checkpoint: whether its end was cut off cannot be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass audit verify log-copy
  breakglass audit verify log-copy --genesis 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")]
pub(crate) struct Args {
    /// Folder of breakglass audit export, or a file with one entry per line
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Digest of the first charter [default: genesis of the configuration]
    #[arg(long, value_name = "DIGEST", value_parser = id::parse_digest)]
    genesis: Option<Digest>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let genesis = match args.genesis {
        Some(genesis) => genesis,
        None => setup::config(session.config.as_deref())?.genesis,
    };
    let mut audit = Audit::new(genesis);
    let head = if args.path.is_dir() {
        Some(directory(&args.path, &mut audit, session)?)
    } else {
        lines(&args.path, &mut audit, session)?;
        None
    };
    let rules = audit.replay.state().charter();
    let digest = rules.map(|charter| charter.digest());
    let result = json!({
        "valid": true,
        "entries": audit.index,
        "checkpoint": head.as_ref().map(|head| json!({ "origin": head.origin, "size": head.size })),
        "root": audit.replay.tree().root(),
        "genesis": genesis,
        "charter": digest,
        "events": audit.events,
        "unchecked_snapshots": audit.replay.unchecked_snapshots(),
    });
    session.out.result(&result, || describe(&audit, head.as_ref(), genesis))
}

/// A replay with what is counted on the way.
struct Audit {
    replay: Replay,
    index: u64,
    /// How many events of each type.
    events: BTreeMap<&'static str, u64>,
}

impl Audit {
    fn new(genesis: Digest) -> Self {
        Self { replay: Replay::new(genesis), index: 0, events: BTreeMap::new() }
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<()> {
        let index = self.index;
        let entry = self.replay.next(bytes).map_err(|wrong| Self::named(index, bytes, wrong))?;
        *self.events.entry(kind(&entry.event)).or_default() += 1;
        self.index += 1;
        Ok(())
    }

    /// The first wrong entry, with what can be said of it.
    fn named(index: u64, bytes: &[u8], wrong: WrongEntry) -> anyhow::Error {
        let when = Entry::parse(bytes).map_or_else(|_| String::new(), |entry| format!(" ({})", entry.at));
        anyhow::Error::new(wrong).context(format!(
            "entry {index}{when} is wrong: the log was not written by the rules from there on; everything before it is right"
        ))
    }

    fn complete(&self) -> Result<()> {
        if self.replay.is_complete() {
            return Ok(());
        }
        let message = format!(
            "the log ends after {} entries in the middle of a decision: its end is missing",
            self.index
        );
        Err(Problem::unverified("LOG_INCOMPLETE", message).into())
    }
}

fn directory(path: &Path, audit: &mut Audit, session: &mut Session) -> Result<Checkpoint> {
    let export = ExportDirectory::at(path);
    let signed = export.checkpoint()?.ok_or_else(|| {
        let message = format!("{} holds no exported log: it has no checkpoint", path.display());
        Problem::usage("EXPORT_MISSING", message)
    })?;
    let claimed = signed.unverified().clone();
    foresee(export.read(claimed.clone()), &mut audit.replay);
    let mut reader = export.read(claimed.clone());
    while let Some(entries) = reader.next_batch()? {
        for entry in entries {
            audit.entry(&entry)?;
        }
        if audit.index.is_multiple_of(STEP) {
            session.out.progress(&format!("  {} of {} entries", audit.index, claimed.size))?;
        }
    }
    audit.complete()?;
    let Some(charter) = audit.replay.state().charter() else {
        return Err(
            Problem::unverified("NO_CHARTER", "the log holds no charter, so nothing vouches for it").into()
        );
    };
    super::verified(&signed, charter)
        .context("the checkpoint is not signed by the log key of the log's charter")
}

/// Reads ahead what the log says of its own snapshots. What is wrong with it is found, and named, in the replay.
fn foresee(mut reader: ExportReader, replay: &mut Replay) {
    while let Ok(Some(entries)) = reader.next_batch() {
        for entry in &entries {
            replay.foresee(entry);
        }
    }
}

fn lines(path: &Path, audit: &mut Audit, session: &mut Session) -> Result<()> {
    // A pipe can be read once only.
    if path.is_file() {
        each_line(path, |line| {
            audit.replay.foresee(line);
            Ok(())
        })?;
    }
    each_line(path, |line| {
        audit.entry(line)?;
        if audit.index.is_multiple_of(STEP) {
            session.out.progress(&format!("  {} entries", audit.index))?;
        }
        Ok(())
    })?;
    audit.complete()
}

fn each_line(path: &Path, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let place = || format!("{} could not be read", path.display());
    let file = std::fs::File::open(path)
        .map_err(|error| Problem::usage("FILE_UNREADABLE", format!("{}: {error}", place())))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than the longest entry, and its newline.
        let limit = u64::try_from(MAX_ENTRY_BYTES).unwrap_or(u64::MAX).saturating_add(2);
        let read =
            std::io::Read::take(&mut reader, limit).read_until(b'\n', &mut line).with_context(place)?;
        if read == 0 {
            return Ok(());
        }
        take(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

fn describe(audit: &Audit, head: Option<&Checkpoint>, genesis: Digest) -> String {
    let mut fields = Fields::default();
    fields.add("entries", format!("{}, the last of {}", audit.index, audit.replay.state().last()));
    fields.add("root", audit.replay.tree().root().to_string());
    match head {
        Some(head) => fields.add("checkpoint", format!("signed by the log key of {}", head.origin)),
        None => fields.add("checkpoint", "none: whether the end of the log was cut off cannot be told"),
    };
    fields.add("genesis", genesis.to_string());
    if audit.replay.unchecked_snapshots() > 0 {
        let count = audit.replay.unchecked_snapshots();
        fields.add("unchecked", format!("{count} snapshots, because a pipe can be read once only"));
    }
    fields.list("events", audit.events.iter().map(|(kind, count)| format!("{count:>6} {kind}")));
    format!("The log is right: every hash, every signature and every decision.\n{}", fields.render())
}

/// The event's type, as it stands in the entry.
const fn kind(event: &Event) -> &'static str {
    match event {
        Event::AttestationRecorded { .. } => "attestation_recorded",
        Event::CharterProposed { .. } => "charter_proposed",
        Event::CharterSigned { .. } => "charter_signed",
        Event::CharterRetracted { .. } => "charter_retracted",
        Event::CharterLapsed { .. } => "charter_lapsed",
        Event::CharterAdopted { .. } => "charter_adopted",
        Event::DaemonStarted { .. } => "daemon_started",
        Event::RequestFiled { .. } => "request_filed",
        Event::ApprovalRecorded { .. } => "approval_recorded",
        Event::DenialRecorded { .. } => "denial_recorded",
        Event::RequestDenied { .. } => "request_denied",
        Event::RequestWithdrawn { .. } => "request_withdrawn",
        Event::RequestLapsed { .. } => "request_lapsed",
        Event::RequestSuperseded { .. } => "request_superseded",
        Event::IssuanceAuthorized { .. } => "issuance_authorized",
        Event::IssuanceTakenOver { .. } => "issuance_taken_over",
        Event::TokenIssued { .. } => "token_issued",
        Event::TokenReleased { .. } => "token_released",
        Event::TokenExpired { .. } => "token_expired",
        Event::IssuanceFailed { .. } => "issuance_failed",
        Event::AttemptsRefused { .. } => "attempts_refused",
        Event::SnapshotTaken { .. } => "snapshot_taken",
    }
}
