//! What follows from the kills and lifts, so that a question costs a look-up.
//!
//! Invariant: it holds nothing that `Index::of` does not make of the kills in force and the lifts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Lifted, Recorded, Target};
use crate::domain::id::KillId;

/// What follows from the kills and lifts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Kills in force, by target.
    pub(super) targets: BTreeMap<Target, usize>,
    pub(super) singles: usize,
    /// When kills are forgotten.
    pub(super) ends: BTreeSet<(i64, KillId)>,
    /// Until when what was lifted is still refused.
    pub(super) floors: BTreeMap<Target, i64>,
}

impl Index {
    /// Whether nothing is stopped. A kill that no log has yet stops something though the epoch is still 0.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.floors.is_empty()
    }

    pub(super) fn of(standing: &BTreeMap<KillId, Arc<Recorded>>, lifts: &[Lifted]) -> Self {
        let mut index = Self::default();
        for recorded in standing.values() {
            index.enter(recorded);
        }
        index.floors = floors(lifts);
        index
    }

    pub(super) fn enter(&mut self, recorded: &Recorded) {
        let target = &recorded.kill.target;
        *self.targets.entry(target.clone()).or_insert(0) += 1;
        self.singles += usize::from(target.request().is_some());
        self.ends.extend(recorded.until.map(|until| (until, recorded.kill.id)));
    }

    pub(super) fn leave(&mut self, recorded: &Recorded) {
        let target = &recorded.kill.target;
        if let Some(count) = self.targets.get_mut(target) {
            *count -= 1;
            if *count == 0 {
                self.targets.remove(target);
            }
        }
        self.singles -= usize::from(target.request().is_some());
        if let Some(until) = recorded.until {
            self.ends.remove(&(until, recorded.kill.id));
        }
    }
}

pub(super) fn floors(lifts: &[Lifted]) -> BTreeMap<Target, i64> {
    let mut floors = BTreeMap::new();
    for lifted in lifts {
        for recorded in &lifted.kills {
            let floor = floors.entry(recorded.kill.target.clone()).or_insert(lifted.since);
            *floor = lifted.since.max(*floor);
        }
    }
    floors
}
