//! The auditor's fold: every entry of a log is decided again by the same core, from its statements alone.
//!
//! Invariant: a log that replays to its end was written by `decide`, whoever held the database; the first entry that
//! was not is named.

mod command;

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{
    ahead::{Prepared, Verified},
    command::{Command, Context},
    decide::decide,
    event::{Actor, Entry, Event, Failure},
    evidence::Evidence,
    grant::Grant,
    id::InstanceId,
    refusal::Refusal,
    state::State,
    time::Timestamp,
};
use crate::{
    jose::{Digest, JoseError},
    tlog::{Frontier, Hash, leaf_hash},
};

/// Why an entry is wrong.
#[derive(Debug, thiserror::Error)]
pub enum WrongEntry {
    /// Not an entry.
    #[error("it is not an entry of this log")]
    Malformed(#[from] JoseError),
    /// The core would have refused the command.
    #[error("the rules refuse it ({reason})")]
    Refused {
        /// The stable reason.
        reason: &'static str,
        /// The refusal.
        source: Refusal,
    },
    /// The core would have decided something else.
    #[error("the rules decide otherwise: {0}")]
    Differs(String),
    /// The first charter is not the pinned one.
    #[error("the log's first charter is not the pinned one")]
    NotPinned(#[source] crate::domain::charter::CharterError),
    /// It does not follow.
    #[error(transparent)]
    Inconsistent(#[from] crate::domain::evolve::Inconsistent),
}

impl From<Refusal> for WrongEntry {
    fn from(source: Refusal) -> Self {
        Self::Refused { reason: source.reason(), source }
    }
}

/// A replay in progress.
///
/// A snapshot is recorded some entries after the size it was taken at. To be judged, it has to be foreseen when the replay
/// has reached that size: whoever replays looks some entries ahead, and replays once more where that did not suffice.
#[derive(Debug, Clone)]
pub struct Replay {
    state: State,
    tree: Frontier,
    pinned: Digest,
    /// Events that the last decision still has to show, in order; they share its time and its actor.
    expected: VecDeque<Event>,
    decision: Option<(Timestamp, Actor)>,
    evidence: Vec<Evidence>,
    /// The state before that evidence: the decision was made upon it.
    before_evidence: Option<Box<State>>,
    /// Root and digest at each size of which the log says that a snapshot was taken.
    snapshots: BTreeMap<u64, Option<Cut>>,
    /// Sizes of snapshots that could not be judged, each as often as it was named.
    unchecked: Vec<u64>,
}

/// A state and its tree, reduced to their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    root: Digest,
    digest: Digest,
}

impl Replay {
    /// Starts before the first entry, trusting nothing but the digest of the first charter.
    #[must_use]
    pub fn new(pinned: Digest) -> Self {
        Self {
            state: State::default(),
            tree: Frontier::empty(),
            pinned,
            expected: VecDeque::new(),
            decision: None,
            evidence: Vec::new(),
            before_evidence: None,
            snapshots: BTreeMap::new(),
            unchecked: Vec::new(),
        }
    }

    /// Takes note of what an entry will say of an earlier state. Judges nothing.
    pub fn foresee(&mut self, bytes: &[u8]) {
        // Cheap, for this is asked of every entry: the bytes are JCS, so this is how such an event must be written.
        let may_be = std::str::from_utf8(bytes).is_ok_and(|text| text.contains(r#""type":"snapshot_taken""#));
        if !may_be {
            return;
        }
        if let Ok(Entry { event: Event::SnapshotTaken { size, .. }, .. }) = Entry::parse(bytes) {
            self.foresee_snapshot(size);
        }
    }

    /// Takes note that an entry will say what the state was at this size. One that has passed cannot be foreseen.
    pub fn foresee_snapshot(&mut self, size: u64) {
        if size >= self.state.size() {
            self.snapshots.entry(size).or_insert(None);
        }
    }

    /// The state so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tree so far.
    #[must_use]
    pub fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Whether the log ends where a decision ends.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.expected.is_empty() && self.evidence.is_empty()
    }

    /// The sizes of snapshots that could not be judged, because they were not foreseen.
    #[must_use]
    pub fn unchecked_snapshots(&self) -> &[u64] {
        &self.unchecked
    }

    /// Replays the next entry.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Entry, WrongEntry> {
        self.step(Entry::parse(bytes), leaf_hash(bytes), None)
    }

    /// Replays the next entry, whose signatures may have been verified ahead.
    pub fn next_prepared(&mut self, prepared: Prepared) -> Result<Entry, WrongEntry> {
        self.step(prepared.entry, prepared.leaf, prepared.verified)
    }

    fn step(
        &mut self,
        entry: Result<Entry, JoseError>,
        leaf: Hash,
        verified: Option<Verified>,
    ) -> Result<Entry, WrongEntry> {
        if self.snapshots.contains_key(&self.state.size()) {
            let cut = self.cut()?;
            self.snapshots.insert(self.state.size(), Some(cut));
        }
        let entry = entry?;
        let grant = self.check(&entry, verified)?;
        self.state.evolve_knowing(&entry, grant)?;
        self.tree.append(leaf, |_, _| ());
        Ok(entry)
    }

    fn cut(&self) -> Result<Cut, WrongEntry> {
        let digest = Digest::of(&self.state.to_snapshot()?);
        Ok(Cut { root: Digest::from_bytes(*self.tree.root().as_bytes()), digest })
    }

    /// Judges an entry; returns the grant of the request that it files, which has been parsed on the way.
    fn check(&mut self, entry: &Entry, verified: Option<Verified>) -> Result<Option<Grant>, WrongEntry> {
        came_by(entry)?;
        let decision = (entry.at, entry.actor.clone());
        if !self.is_complete() && self.decision.as_ref() != Some(&decision) {
            return Err(WrongEntry::Differs("it belongs to a decision of another time or actor".into()));
        }
        self.decision = Some(decision);
        if let Some(expected) = self.expected.pop_front() {
            return same(&expected, &entry.event).map(|()| None);
        }
        if let Event::AttestationRecorded { statement, intermediate } = &entry.event {
            // Evidence comes before the charter that needs it: judged with that.
            if self.evidence.is_empty() {
                self.before_evidence = Some(Box::new(self.state.clone()));
            }
            self.evidence.push(Evidence { statement: statement.clone(), intermediate: intermediate.clone() });
            return Ok(None);
        }
        if !self.evidence.is_empty() && !stands_on_evidence(&entry.event) {
            return Err(WrongEntry::Differs("evidence stands only before a charter".into()));
        }
        let command = match verified.and_then(|verified| verified.holds(&self.state)) {
            Some(command) => command,
            None => self.command(&entry.event, entry.at)?,
        };
        let instance = match &entry.actor {
            Actor::Daemon { instance } => instance.clone(),
            Actor::Peer { .. } => unknown_instance()?,
        };
        // The index is that of the decision's first entry.
        let index = self.state.size() - self.evidence.len() as u64;
        let before = self.before_evidence.take();
        let state = before.as_deref().unwrap_or(&self.state);
        let events = decide(state, &command, &Context { now: entry.at, index, instance })?;
        self.expect(events, &entry.event)?;
        if let Event::SnapshotTaken { size, root, digest } = entry.event {
            self.snapshot(size, Cut { root, digest })?;
        }
        Ok(if let Command::File(signed) = command { Some(signed.into_grant()) } else { None })
    }

    fn snapshot(&mut self, size: u64, found: Cut) -> Result<(), WrongEntry> {
        let cut = match self.snapshots.get(&size) {
            Some(Some(cut)) => *cut,
            _ if size == self.state.size() => self.cut()?,
            _ => {
                self.unchecked.push(size);
                return Ok(());
            }
        };
        if cut == found {
            return Ok(());
        }
        let what = if cut.root == found.root { "state" } else { "tree" };
        Err(WrongEntry::Differs(format!("it names another {what} than that of the first {size} entries")))
    }

    /// What the decision says of this entry, and what must come after it.
    fn expect(&mut self, events: Vec<Event>, found: &Event) -> Result<(), WrongEntry> {
        let mut events: VecDeque<Event> = events.into();
        if stands_on_evidence(found) {
            // The evidence before it was collected; the decision must have used exactly that.
            for item in std::mem::take(&mut self.evidence) {
                let recorded =
                    Event::AttestationRecorded { statement: item.statement, intermediate: item.intermediate };
                same(&events.pop_front().unwrap_or_else(|| found.clone()), &recorded)?;
            }
        }
        if matches!(
            found,
            Event::RequestLapsed { .. }
                | Event::TokenExpired { .. }
                | Event::IssuanceFailed { .. }
                | Event::CharterLapsed { .. }
                | Event::GenesisAlarmed { .. }
        ) {
            // A tick ends several; each is decided on its own here.
            events.retain(|event| event == found);
            events.truncate(1);
        }
        match events.pop_front() {
            Some(first) => same(&first, found)?,
            None => return Err(WrongEntry::Differs("nothing follows from the command".into())),
        }
        self.expected = events;
        Ok(())
    }
}

/// Evidence of devices comes right before the charter that names it.
fn stands_on_evidence(event: &Event) -> bool {
    matches!(event, Event::CharterProposed { .. } | Event::CharterAdopted { .. })
}

/// What only a daemon does, it does in its own name.
fn came_by(entry: &Entry) -> Result<(), WrongEntry> {
    let ok = match (&entry.event, &entry.actor) {
        (
            Event::DaemonStarted { instance, .. } | Event::IssuanceTakenOver { instance, .. },
            Actor::Daemon { instance: actor },
        ) => instance == actor,
        (
            Event::DaemonStarted { .. }
            | Event::IssuanceTakenOver { .. }
            | Event::IssuanceMoved { .. }
            | Event::TokenIssued { .. }
            | Event::IssuanceFailed {
                reason: Failure::Expired | Failure::NoKey | Failure::SignatureInvalid,
                ..
            }
            | Event::CharterLapsed { .. }
            | Event::GenesisAlarmed { .. }
            | Event::GenesisReplaced { .. }
            | Event::RequestLapsed { .. }
            | Event::TokenExpired { .. }
            | Event::AttemptsRefused { .. }
            | Event::IssuingKeyDestroyed { .. }
            | Event::VerifierProbed { .. }
            | Event::HookAnswered { .. }
            | Event::KillEnforced { .. }
            | Event::SnapshotTaken { .. },
            Actor::Peer { .. },
        ) => false,
        _ => true,
    };
    if ok { Ok(()) } else { Err(WrongEntry::Differs("its actor cannot have caused it".into())) }
}

fn same(expected: &Event, found: &Event) -> Result<(), WrongEntry> {
    if expected == found {
        return Ok(());
    }
    let mut expected = expected.clone();
    if let (Event::IssuanceAuthorized { instance, .. }, Event::IssuanceAuthorized { instance: chosen, .. }) =
        (&mut expected, found)
    {
        // Which process works on it is not a rule; all else of an authorization is.
        instance.clone_from(chosen);
    }
    if expected == *found {
        return Ok(());
    }
    Err(WrongEntry::Differs(format!("expected {}, found {}", name(&expected), name(found))))
}

fn name(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap_or_default();
    value.get("type").and_then(|kind| kind.as_str()).unwrap_or("another event").to_owned()
}

fn unknown_instance() -> Result<InstanceId, WrongEntry> {
    "auditor".parse().map_err(|_| WrongEntry::Differs("no instance".into()))
}
