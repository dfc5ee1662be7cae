//! What a gate knows of the world: the charter, what has been killed, and how long ago a daemon last spoke.
//!
//! Invariants:
//! - A gate starts refusing. It answers anything else only after a heartbeat, which a daemon sends when everything before it
//!   was sent, and for `max_stale` after the last one by a clock that only runs forward.
//! - A kill or lift counts if custodians signed it who may, by the own chain of charters ([`crate::client::kills`]).
//! - Each daemon has its own view, which follows that daemon's chain of kills. What any daemon shows as killed that was heard
//!   lately is killed; one that was not heard is not asked, or its silence would keep alive what the others have lifted. A kill
//!   that no log has yet is kept beside them, whoever told of it, until a daemon shows it recorded or lifted.

mod follow;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

pub(super) use follow::follow;

use super::clock::Moment;
use crate::domain::{
    charter::{Charter, Rules},
    id::KillId,
    kill::{Kills, Subject, Target},
    refusal::Refusal,
    time::{SKEW, Timestamp},
};
use crate::jose::GeneralJws;

/// What one daemon shows.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// What it shows as killed and lifted.
    pub kills: Arc<Kills>,
    /// Monotonic milliseconds of its last heartbeat; none before the first.
    pub heard: Option<i64>,
    /// Milliseconds by which the own wall clock was ahead of the daemon's then.
    pub ahead: i64,
}

/// What is known at one moment; cheap to clone.
#[derive(Debug, Clone)]
pub struct Known {
    /// The newest charter, with those before it under which tokens may still live.
    pub charter: Arc<Charter>,
    /// What each daemon shows.
    pub sources: Arc<[Source]>,
    /// Kills that no log has.
    pub unrecorded: Arc<Kills>,
}

impl Known {
    /// The daemon that was heard last.
    #[must_use]
    pub fn newest(&self) -> Option<&Source> {
        self.sources.iter().filter(|source| source.heard.is_some()).max_by_key(|source| source.heard)
    }

    /// Milliseconds since a daemon was last heard; none if that never happened in this run.
    #[must_use]
    pub fn age(&self, now: Moment) -> Option<i64> {
        let heard = self.newest()?.heard?;
        Some(now.monotonic.saturating_sub(heard))
    }

    /// Milliseconds by which the own wall clock was ahead of that of the daemon that was heard last.
    #[must_use]
    pub fn ahead(&self) -> i64 {
        self.newest().map_or(0, |source| source.ahead)
    }

    /// Whether the own clock and that daemon's agree as far as is tolerated.
    #[must_use]
    pub fn is_clock_right(&self) -> bool {
        self.ahead().saturating_abs() <= SKEW * 1000
    }

    /// What counts now: the views of daemons that were heard at most `max_stale` milliseconds ago, and what no log has.
    pub fn in_force(&self, now: Moment, max_stale: i64) -> impl Iterator<Item = &Arc<Kills>> {
        let is_fresh = move |source: &&Source| {
            source.heard.is_some_and(|heard| now.monotonic.saturating_sub(heard) <= max_stale)
        };
        self.sources.iter().filter(is_fresh).map(|source| &source.kills).chain([&self.unrecorded])
    }

    /// The widest target by which this is stopped. `iat`: when it was minted, Unix seconds.
    #[must_use]
    pub fn stopped_by(&self, subject: &Subject<'_>, iat: i64, now: Moment, max_stale: i64) -> Option<Target> {
        self.in_force(now, max_stale).find_map(|kills| kills.stopped_by(subject, iat))
    }

    /// The newest kill that any daemon has shown.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.sources.iter().map(|source| source.kills.epoch()).max().unwrap_or(0)
    }
}

/// The view, shared by those who follow and those who decide.
pub struct View {
    known: RwLock<Known>,
    changes: watch::Sender<u64>,
}

impl View {
    /// A view of so many daemons that has heard nothing.
    #[must_use]
    pub fn new(charter: Arc<Charter>, daemons: usize) -> Self {
        let sources = vec![Source::default(); daemons].into();
        let known = Known { charter, sources, unrecorded: Arc::default() };
        Self { known: RwLock::new(known), changes: watch::Sender::new(0) }
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts up with every kill, lift and charter: what is open has to be judged again then.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Known), is_news: bool) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        if is_news {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// What a daemon shows from now on. In force for every decision that begins after this returns.
    pub fn show(&self, daemon: usize, kills: &Arc<Kills>) {
        let set = |known: &mut Known| {
            Self::source(known, daemon, |source| source.kills = Arc::clone(kills));
            known.forget_recorded();
        };
        self.change(set, true);
    }

    /// Notes a heartbeat of a daemon. `at`: its clock, Unix milliseconds.
    pub fn heard(&self, daemon: usize, at: i64, now: Moment) {
        let set = |source: &mut Source| {
            source.heard = Some(now.monotonic);
            source.ahead = now.wall.saturating_sub(at);
        };
        self.change(|known| Self::source(known, daemon, set), false);
    }

    fn source(known: &mut Known, daemon: usize, change: impl FnOnce(&mut Source)) {
        let mut sources = known.sources.to_vec();
        if let Some(source) = sources.get_mut(daemon) {
            change(source);
        }
        known.sources = sources.into();
    }

    /// Puts a newer charter in force.
    pub fn set_charter(&self, charter: Arc<Charter>) {
        self.change(|known| known.charter = charter, true);
    }

    /// Takes in a kill that no log has, if somebody signed it who may by these rules. In force for every decision that begins
    /// after this returns.
    pub fn kill(&self, statement: GeneralJws, rules: &Rules, now: Moment) -> Result<(), Refusal> {
        let mut learned = Ok(());
        let at = Timestamp::from_millis(now.wall);
        let take = |known: &mut Known| {
            learned = Arc::make_mut(&mut known.unrecorded).learn(statement, rules, 0, at);
            known.forget_recorded();
        };
        self.change(take, true);
        learned
    }
}

impl Known {
    /// What a daemon shows recorded or lifted is its matter from then on.
    fn forget_recorded(&mut self) {
        let is_known = |id: &KillId| {
            self.sources.iter().any(|source| {
                source.kills.was_lifted(id)
                    || source.kills.get(id).is_some_and(|kill| kill.head.step > 0 || kill.epoch > 0)
            })
        };
        let known: Vec<_> =
            self.unrecorded.standing().map(|kill| kill.kill.id).filter(|id| is_known(id)).collect();
        if !known.is_empty() {
            Arc::make_mut(&mut self.unrecorded).leave_out(&known);
        }
    }
}
