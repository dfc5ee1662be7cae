//! How often a client may call, and what it was refused: pure bookkeeping in bounded memory.
//!
//! Clients are those that the charter knows; all others share one client, `None`, so that inventing keys buys
//! nothing, neither calls nor memory nor log entries. Time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::jose::Digest;

/// Who calls: the SPKI digest of a key that the charter knows, or `None` for all strangers together.
pub type Client = Option<Digest>;

/// A token bucket's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls per minute in the long run.
    pub per_minute: NonZeroU32,
    /// Calls at once after a pause.
    pub burst: NonZeroU32,
}

/// The quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls: ask again in {} ms", retry_after.as_millis())]
pub struct Exhausted {
    /// When the same call would be let through.
    pub retry_after: Duration,
}

/// One token bucket per client.
///
/// Invariants: in any window of length `t`, a client gets at most `burst + t * per_minute / 60 s` calls; there are
/// never more than `most_clients` buckets.
#[derive(Debug)]
pub struct Quotas {
    /// How long one call takes to refill.
    interval: Duration,
    /// How long an empty bucket takes to refill.
    capacity: Duration,
    most_clients: usize,
    /// When each client's bucket will be full again (the "theoretical arrival time" of ITU-T I.371): a full bucket
    /// needs no entry, so forgetting it changes nothing.
    full_at: HashMap<Client, Instant>,
}

impl Quotas {
    /// Buckets of one shape. `most_clients` bounds the memory; beyond it, newcomers are refused until others refill.
    #[must_use]
    pub fn new(rate: Rate, most_clients: usize) -> Self {
        let interval = Duration::from_mins(1) / rate.per_minute.get();
        Self { interval, capacity: interval * rate.burst.get(), most_clients, full_at: HashMap::new() }
    }

    /// Takes one call out of a client's bucket. A refused call costs nothing.
    pub fn take(&mut self, client: Client, now: Instant) -> Result<(), Exhausted> {
        if !self.full_at.contains_key(&client) && self.full_at.len() >= self.most_clients {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= self.most_clients {
                return Err(Exhausted { retry_after: self.capacity });
            }
        }
        let full_at = self.full_at.entry(client).or_insert(now);
        let after = (*full_at).max(now) + self.interval;
        match after.duration_since(now).checked_sub(self.capacity) {
            Some(excess) if !excess.is_zero() => Err(Exhausted { retry_after: excess }),
            _ => {
                *full_at = after;
                Ok(())
            }
        }
    }
}

/// What one client was refused in one minute: the content of one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who.
    pub client: Client,
    /// The minute, counted from the Unix epoch.
    pub minute: i64,
    /// How often, by stable reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

/// Counts refusals until the engine writes them into the log: one entry per client and minute.
///
/// Invariants: no refusal is lost, not even when nobody drains; there are never more than `most` + 1 entries. Once they
/// are used up, further clients are counted as strangers of the oldest minute.
#[derive(Debug)]
pub struct Refusals {
    most: usize,
    entries: BTreeMap<(i64, Client), BTreeMap<&'static str, u64>>,
}

impl Refusals {
    /// `most` bounds the memory.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, entries: BTreeMap::new() }
    }

    /// Counts one refusal. `now` is in Unix seconds; `reason` is one of the API's stable reasons.
    pub fn note(&mut self, client: Client, reason: &'static str, now: i64) {
        let mut key = (now.div_euclid(60), client);
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            let oldest = self.entries.keys().next().map_or(key.0, |(minute, _)| *minute);
            key = (oldest, None);
        }
        let count = self.entries.entry(key).or_default().entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes out the minutes that are over, oldest first.
    pub fn drain(&mut self, now: i64) -> Vec<Refused> {
        let open = self.entries.split_off(&(now.div_euclid(60), None));
        Self::list(std::mem::replace(&mut self.entries, open))
    }

    /// Takes out everything, the current minute included: for the orderly end.
    pub fn drain_all(&mut self) -> Vec<Refused> {
        Self::list(std::mem::take(&mut self.entries))
    }

    fn list(entries: BTreeMap<(i64, Client), BTreeMap<&'static str, u64>>) -> Vec<Refused> {
        entries.into_iter().map(|((minute, client), reasons)| Refused { client, minute, reasons }).collect()
    }
}

#[cfg(test)]
mod tests;
