//! Follows what a daemon tells of kills: the same for a gate and for whoever else watches.
//!
//! Invariants: the view changes only by statements that verify by the own charter; between two snapshots every step follows on
//! the one before it, or [`Follower::take`] fails and changes nothing more. After a failure the stream is of no use: the caller
//! ends it, fetches newer charters if he lacks them, and watches again. A snapshot takes nothing back: neither the epoch, nor a
//! kill whose lift it does not show. The clock is an argument.
//!
//! A kill names the newest version of the charter that its signer knew; it counts if he could kill by that one or by the newest
//! one held. A lift counts by the version it names, and ends no kill that names a later one: people who have left cannot end
//! what was killed after them.

use std::{borrow::Cow, sync::Arc};

use crate::domain::charter::{Rules, Versions};
use crate::domain::grant::MAX_TTL;
use crate::domain::kill::{Head, Kill, Kills, Lift};
use crate::domain::refusal::Refusal;
use crate::domain::statement::MAX_STATEMENT_BYTES;
use crate::domain::time::Timestamp;
use crate::grpc::kill_head;
use crate::grpc::time::timestamp;
use crate::grpc::v1::{self, watch_kills_response::Event};
use crate::jose::{Digest, GeneralJws};

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The view is not complete, or nothing in it is new.
    Nothing,
    /// It changed: this kill is enforced from now on.
    Killed(Digest),
    /// It changed: kills ended.
    Lifted,
    /// It is complete up to its head; after a snapshot for the first time.
    Complete,
}

/// A view of kills that grows with a stream.
#[derive(Debug, Default)]
pub struct Follower {
    kills: Arc<Kills>,
    /// A snapshot that is not complete yet.
    coming: Option<Kills>,
    /// Whether the chain was followed up to the view's head, so that a daemon may go on from there.
    chained: bool,
    /// When the view was last complete, Unix seconds.
    complete: i64,
}

impl Follower {
    /// Goes on with a view that was kept, and that had followed the chain up to its head. `complete`: when it was last complete,
    /// Unix seconds.
    #[must_use]
    pub fn resume(kills: Arc<Kills>, complete: i64) -> Self {
        let chained = kills.head() != Head::default();
        Self { kills, coming: None, chained, complete }
    }

    /// What is killed, as far as it was shown. Cheap to share.
    #[must_use]
    pub fn kills(&self) -> &Arc<Kills> {
        &self.kills
    }

    /// Drops what cannot matter at or after `now`, Unix seconds.
    pub fn forget(&mut self, now: i64) {
        Arc::make_mut(&mut self.kills).forget(now);
    }

    /// What to ask a daemon for. Begins a new stream.
    pub fn request(&mut self) -> v1::WatchKillsRequest {
        self.coming = None;
        let head = self.kills.head();
        let after =
            self.chained.then(|| v1::KillHead { step: head.step, digest: head.digest.as_bytes().to_vec() });
        v1::WatchKillsRequest { after, ..v1::WatchKillsRequest::default() }
    }

    /// Takes in a message. `now`: Unix seconds, for what is not recorded.
    pub fn take(
        &mut self,
        message: v1::WatchKillsResponse,
        rules: &impl Versions,
        now: i64,
    ) -> Result<News, Refusal> {
        let taken = self.took(message, rules, now);
        if taken.is_err() {
            // Whatever it was, only a snapshot can be relied on after it.
            self.chained = false;
            self.coming = None;
        }
        taken
    }

    fn took(
        &mut self,
        message: v1::WatchKillsResponse,
        rules: &impl Versions,
        now: i64,
    ) -> Result<News, Refusal> {
        match message.event {
            None => Ok(News::Nothing),
            Some(Event::Snapshot(v1::KillSnapshot {})) => {
                self.coming = Some(Kills::default());
                Ok(News::Nothing)
            }
            Some(Event::Kill(kill)) => self.kill(&kill, rules, now),
            Some(Event::Lift(lift)) => self.lift(&lift, rules),
            Some(Event::Heartbeat(beat)) => self.beat(&beat, now),
        }
    }

    fn kill(&mut self, kill: &v1::Kill, rules: &impl Versions, now: i64) -> Result<News, Refusal> {
        let jws = GeneralJws::parse(&kill.jws, MAX_STATEMENT_BYTES)?;
        let digest = Digest::of(&jws.payload);
        let Some(at) = kill.recorded_at.as_ref().map(timestamp) else {
            // In force though no log has it. It has no place in the chain.
            let at = Timestamp::from_seconds(now);
            let kills = self.coming.as_mut().unwrap_or_else(|| Arc::make_mut(&mut self.kills));
            by_either(rules, &jws, |rules| kills.learn(jws.clone(), rules, 0, at))?;
            return Ok(News::Killed(digest));
        };
        if let Some(coming) = &mut self.coming {
            by_either(rules, &jws, |rules| coming.learn(jws.clone(), rules, kill.epoch, at))?;
            return Ok(News::Nothing);
        }
        let kills = Arc::make_mut(&mut self.kills);
        let head = head(kill.head.as_ref());
        by_either(rules, &jws, |rules| kills.follow(jws.clone(), rules, kill.epoch, at, head))?;
        Ok(News::Killed(digest))
    }

    fn lift(&mut self, lift: &v1::Lift, rules: &impl Versions) -> Result<News, Refusal> {
        let jws = GeneralJws::parse(&lift.jws, MAX_STATEMENT_BYTES)?;
        let at = instant(lift.recorded_at.as_ref());
        let Some(coming) = &mut self.coming else {
            let kills = Arc::make_mut(&mut self.kills);
            let of_lift = of_lift(&jws, rules, kills)?;
            kills.follow_lift(jws, &of_lift, at, head(lift.head.as_ref()))?;
            return Ok(News::Lifted);
        };
        for kill in &lift.kills {
            let killed = GeneralJws::parse(&kill.jws, MAX_STATEMENT_BYTES)?;
            let at = instant(kill.recorded_at.as_ref());
            by_either(rules, &killed, |rules| coming.learn(killed.clone(), rules, kill.epoch, at))?;
        }
        let of_lift = of_lift(&jws, rules, coming)?;
        coming.learn_lift(jws, &of_lift, at)?;
        Ok(News::Nothing)
    }

    fn beat(&mut self, beat: &v1::KillHeartbeat, now: i64) -> Result<News, Refusal> {
        let head = head(beat.head.as_ref());
        match self.coming.take() {
            Some(mut coming) => {
                coming.stand_at(beat.epoch, head);
                // After that long a lift may be forgotten, and with it why a kill is gone.
                let is_recent = now.saturating_sub(self.complete) < i64::from(MAX_TTL);
                coming.replace(&self.kills, is_recent)?;
                self.kills = Arc::new(coming);
            }
            None => self.kills.stands_at(beat.epoch, head)?,
        }
        (self.complete, self.chained) = (now, true);
        Ok(News::Complete)
    }
}

/// Takes in a kill by the newest version, or by the one that it names.
fn by_either(
    versions: &impl Versions,
    jws: &GeneralJws,
    mut take: impl FnMut(&Rules) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let refused = match take(versions.newest()) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    let named = Kill::parse(&jws.payload)?.charter;
    match versions.named(&named) {
        Some((_, rules)) if named != versions.newest().digest() => take(&rules),
        _ => Err(refused),
    }
}

/// The version that a lift names, if it ends no kill that names a later one.
fn of_lift<'a>(
    jws: &GeneralJws,
    versions: &'a impl Versions,
    kills: &Kills,
) -> Result<Cow<'a, Rules>, Refusal> {
    let lift = Lift::parse(&jws.payload)?;
    let (place, rules) = versions.named(&lift.charter).ok_or(Refusal::CharterMismatch)?;
    let is_later = |kill: &Kill| versions.named(&kill.charter).is_some_and(|(of_kill, _)| of_kill > place);
    if lift.kills.iter().filter_map(|id| kills.get(id)).any(|recorded| is_later(&recorded.kill)) {
        return Err(Refusal::CharterMismatch);
    }
    Ok(rules)
}

fn head(head: Option<&v1::KillHead>) -> Head {
    head.and_then(kill_head).unwrap_or_default()
}

fn instant(at: Option<&prost_types::Timestamp>) -> Timestamp {
    at.map(timestamp).unwrap_or_default()
}
