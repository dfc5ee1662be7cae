//! `breakglass audit verify`: the whole log again, trusting nothing but the digest of the first charter.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::pipeline;
use crate::{
    cli::{Session, exit::Problem, id, setup, text::Fields},
    domain::{
        event::{Event, MAX_ENTRY_BYTES},
        replay::{Replay, WrongEntry},
        time::Timestamp,
    },
    jose::Digest,
    store::ExportDirectory,
    tlog::Checkpoint,
};

/// Entries between two looks at the progress.
const STEP: u64 = 10_000;
/// Lines that are read at once.
const BATCH: usize = 256;

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
    let (audit, head) = if args.path.is_dir() {
        directory(&args.path, genesis, session)?
    } else {
        (lines(&args.path, genesis, session)?, None)
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
        "unchecked_snapshots": audit.replay.unchecked_snapshots().len(),
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

/// Hands out the entries of a log in batches, from the first.
type Read = Box<dyn FnMut() -> Result<Option<Vec<Vec<u8>>>> + Send>;

impl Audit {
    fn new(genesis: Digest) -> Self {
        Self { replay: Replay::new(genesis), index: 0, events: BTreeMap::new() }
    }

    /// Replays a whole log, and once more if it says something of states that had passed when it was read.
    ///
    /// The first wrong entry is that of the second time: it may stand before the one that the first time came to.
    fn whole(
        genesis: Digest,
        again: bool,
        mut open: impl FnMut() -> Result<Read>,
        mut progress: impl FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        let mut audit = Self::new(genesis);
        let result = audit.once(open()?, &mut progress);
        let missed = audit.replay.unchecked_snapshots();
        if !again || missed.is_empty() {
            return result.map(|()| audit);
        }
        let mut second = Self::new(genesis);
        for size in missed {
            second.replay.foresee_snapshot(*size);
        }
        second.once(open()?, &mut progress)?;
        Ok(second)
    }

    fn once(&mut self, read: Read, progress: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
        let (index, events) = (&mut self.index, &mut self.events);
        pipeline::run(read, &mut self.replay, |replay, prepared| {
            let at = prepared.at();
            let entry = replay.next_prepared(prepared).map_err(|wrong| named(*index, at, wrong))?;
            *events.entry(kind(&entry.event)).or_default() += 1;
            *index += 1;
            if index.is_multiple_of(STEP) { progress(*index) } else { Ok(()) }
        })?;
        self.complete()
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

/// The first wrong entry, with what can be said of it.
fn named(index: u64, at: Option<Timestamp>, wrong: WrongEntry) -> anyhow::Error {
    let when = at.map_or_else(String::new, |at| format!(" ({at})"));
    anyhow::Error::new(wrong).context(format!(
        "entry {index}{when} is wrong: the log was not written by the rules from there on; everything before it is right"
    ))
}

fn directory(path: &Path, genesis: Digest, session: &mut Session) -> Result<(Audit, Option<Checkpoint>)> {
    let export = ExportDirectory::at(path);
    let signed = export.checkpoint()?.ok_or_else(|| {
        let message = format!("{} holds no exported log: it has no checkpoint", path.display());
        Problem::usage("EXPORT_MISSING", message)
    })?;
    let claimed = signed.unverified();
    let open = || {
        let mut reader = export.read(claimed.clone());
        Ok(Box::new(move || Ok(reader.next_batch()?)) as Read)
    };
    let progress = |index| session.out.progress(&format!("  {index} of {} entries", claimed.size));
    let audit = Audit::whole(genesis, true, open, progress)?;
    let Some(charter) = audit.replay.state().charter() else {
        return Err(
            Problem::unverified("NO_CHARTER", "the log holds no charter, so nothing vouches for it").into()
        );
    };
    let head = super::verified(&signed, charter)
        .context("the checkpoint is not signed by the log key of the log's charter")?;
    Ok((audit, Some(head)))
}

fn lines(path: &Path, genesis: Digest, session: &mut Session) -> Result<Audit> {
    let open = || {
        let mut lines = Lines::open(path)?;
        Ok(Box::new(move || lines.next_batch()) as Read)
    };
    // A pipe can be read once only.
    let again = path.is_file();
    Audit::whole(genesis, again, open, |index| session.out.progress(&format!("  {index} entries")))
}

/// A file with one entry per line.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    /// Told after the lines before it.
    failed: Option<std::io::Error>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| {
            let message = format!("{} could not be read: {error}", path.display());
            Problem::usage("FILE_UNREADABLE", message)
        })?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), failed: None })
    }

    fn next_batch(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH && self.failed.is_none() {
            match self.next_line() {
                Ok(Some(line)) => batch.push(line),
                Ok(None) => break,
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed.take_if(|_| batch.is_empty()) {
            Some(error) => Err(error).with_context(|| format!("{} could not be read", self.path.display())),
            None => Ok((!batch.is_empty()).then_some(batch)),
        }
    }

    fn next_line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        // One byte more than the longest entry, and its newline.
        let limit = u64::try_from(MAX_ENTRY_BYTES).unwrap_or(u64::MAX).saturating_add(2);
        let read = std::io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut line)?;
        line.pop_if(|last| *last == b'\n');
        Ok((read > 0).then_some(line))
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
    if let Some(ended) = audit.replay.state().replacement().ended() {
        let text = "by the chain that begins with";
        fields.add(
            "REPLACED",
            format!("at {}, after seven days of alarms, {text} {}", ended.at, ended.genesis),
        );
    }
    let count = audit.replay.unchecked_snapshots().len();
    if count > 0 {
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
        Event::GenesisAnnounced { .. } => "genesis_announced",
        Event::GenesisAlarmed { .. } => "genesis_alarmed",
        Event::GenesisCancelled { .. } => "genesis_cancelled",
        Event::GenesisReplaced { .. } => "genesis_replaced",
        Event::TranscriptRecorded { .. } => "transcript_recorded",
        Event::IssuingKeyDestroyed { .. } => "issuing_key_destroyed",
        Event::CheckedIn { .. } => "checked_in",
        Event::KillRecorded { .. } => "kill_recorded",
        Event::LiftRecorded { .. } => "lift_recorded",
        Event::UsesReported { .. } => "uses_reported",
        Event::KillEnforced { .. } => "kill_enforced",
        Event::DaemonStarted { .. } => "daemon_started",
        Event::RequestFiled { .. } => "request_filed",
        Event::ApprovalRecorded { .. } => "approval_recorded",
        Event::DenialRecorded { .. } => "denial_recorded",
        Event::RequestDenied { .. } => "request_denied",
        Event::RequestWithdrawn { .. } => "request_withdrawn",
        Event::RequestLapsed { .. } => "request_lapsed",
        Event::RequestSuperseded { .. } => "request_superseded",
        Event::IssuanceAuthorized { .. } => "issuance_authorized",
        Event::IssuanceMoved { .. } => "issuance_moved",
        Event::IssuanceTakenOver { .. } => "issuance_taken_over",
        Event::TokenIssued { .. } => "token_issued",
        Event::TokenReleased { .. } => "token_released",
        Event::TokenRevoked { .. } => "token_revoked",
        Event::TokenExpired { .. } => "token_expired",
        Event::IssuanceFailed { .. } => "issuance_failed",
        Event::ReviewRecorded { .. } => "review_recorded",
        Event::CanaryAuthorized { .. } => "canary_authorized",
        Event::CanaryIssued { .. } => "canary_issued",
        Event::VerifierProbed { .. } => "verifier_probed",
        Event::HookAnswered { .. } => "hook_answered",
        Event::AttemptsRefused { .. } => "attempts_refused",
        Event::SnapshotTaken { .. } => "snapshot_taken",
    }
}
