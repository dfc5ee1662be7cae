//! A bounded number of places, of which no single client gets more than his share.
//!
//! Invariant: the places taken are never more than `total`, those of one client never more than `each`, and a place is
//! free again when its guard is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::quota::Client;

/// Places for connections or streams.
#[derive(Debug)]
pub(crate) struct Places {
    total: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Clients without places have no entry, so this never grows beyond `total`.
    by: HashMap<Client, usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    client: Client,
}

impl Places {
    pub(crate) fn new(total: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { total, each, taken: Mutex::default() })
    }

    /// A place, if there is one left for this client.
    pub(crate) fn take(self: &Arc<Self>, client: Client) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.by.get(&client).copied().unwrap_or_default();
        if taken.all >= self.total || own >= self.each {
            return None;
        }
        taken.all += 1;
        taken.by.insert(client, own + 1);
        Some(Place { places: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(own) = taken.by.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Digest;

    #[test]
    fn nobody_gets_more_than_his_share_and_places_come_back() {
        let places = Places::new(3, 2);
        let (alice, bob) = (Some(Digest::of(b"alice")), Some(Digest::of(b"bob")));
        let first = places.take(alice).unwrap();
        let _second = places.take(alice).unwrap();
        assert!(places.take(alice).is_none(), "her share is taken");
        let bobs = places.take(bob).unwrap();
        assert!(places.take(bob).is_none() && places.take(None).is_none(), "all are taken");
        drop(first);
        let strangers = places.take(None).unwrap();
        drop((bobs, strangers));
        assert!(places.take(alice).is_some());
        assert_eq!(places.lock().by.len(), 1, "whoever has none is forgotten");
    }
}
