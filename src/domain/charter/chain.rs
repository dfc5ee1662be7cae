//! A chain of charters: followed from a pinned genesis, one version at a time, and never back.
//!
//! Invariant: a [`Follower`] holds the newest version it was ever shown, and knows no other way to get another than a
//! successor of it. What it has to remember between runs is [`Memory`].

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Charter, CharterError, Lineage, Rules};
use crate::{
    domain::time::SKEW,
    jose::{Digest, GeneralJws},
};

/// Follows a whole chain from version 1, trusting nothing but its digest. `at` is now, Unix seconds.
pub fn verify_chain(
    genesis: Digest,
    statements: impl IntoIterator<Item = GeneralJws>,
    at: i64,
) -> Result<Charter, CharterError> {
    follow(genesis, statements, at, |_| Ok(()))
}

/// What a verifier is installed with and keeps: it never goes back behind this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Digest of version 1, read aloud at its ceremony.
    pub genesis: Digest,
    /// The lowest version to begin with.
    pub minimum_version: u32,
    /// The highest version it has seen, with its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// A version that a verifier has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its number.
    pub version: u32,
    /// Its digest.
    pub digest: Digest,
}

/// A verifier's hold on the chain.
#[derive(Debug, Clone)]
pub struct Follower {
    memory: Memory,
    newest: Charter,
}

impl Follower {
    /// Verifies a chain against what is remembered: neither older than that, nor another of the same version.
    pub fn start(
        memory: Memory,
        statements: impl IntoIterator<Item = GeneralJws>,
        at: i64,
    ) -> Result<Self, CharterError> {
        let mut passed = memory.seen.is_none();
        let notice = |charter: &Charter| match memory.seen {
            Some(seen) if seen.version == charter.document().version => {
                passed = true;
                if seen.digest == charter.digest() {
                    Ok(())
                } else {
                    Err(CharterError::Fork { version: seen.version })
                }
            }
            _ => Ok(()),
        };
        let newest = follow(memory.genesis, statements, at, notice)?;
        let found = newest.document().version;
        let least = memory.seen.map_or(0, |seen| seen.version).max(memory.minimum_version);
        if !passed || found < least {
            return Err(CharterError::Rollback { seen: least, found });
        }
        let seen = Some(Seen { version: found, digest: newest.digest() });
        Ok(Self { memory: Memory { seen, ..memory }, newest })
    }

    /// Takes the next version.
    pub fn follow(&mut self, statement: GeneralJws, at: i64) -> Result<(), CharterError> {
        let mut newest = self.newest.successor(statement, at)?;
        newest.forget_earlier(at);
        self.memory.seen = Some(Seen { version: newest.document().version, digest: newest.digest() });
        self.newest = newest;
        Ok(())
    }

    /// The newest version, with those before it under which tokens may still live.
    #[must_use]
    pub fn newest(&self) -> &Charter {
        &self.newest
    }

    /// What to keep until the next run.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }
}

fn follow(
    genesis: Digest,
    statements: impl IntoIterator<Item = GeneralJws>,
    at: i64,
    mut notice: impl FnMut(&Charter) -> Result<(), CharterError>,
) -> Result<Charter, CharterError> {
    let mut statements = statements.into_iter();
    let first = statements.next().ok_or(CharterError::NoChain)?;
    let mut newest = Charter::genesis(first, genesis)?;
    notice(&newest)?;
    for statement in statements {
        newest = newest.successor(statement, at)?;
        newest.forget_earlier(at);
        notice(&newest)?;
    }
    Ok(newest)
}

/// The versions of a chain as far as they are held. Statements outlive the offices of those who signed them: what a custodian
/// killed before he left stays killed, and a verifier that is installed later has to see that.
pub trait Versions {
    /// The newest.
    fn newest(&self) -> &Rules;
    /// A version by its digest, with its place in the chain: a later one has a higher place.
    fn named(&self, digest: &Digest) -> Option<(usize, Cow<'_, Rules>)>;
}

/// The newest version and those before it under which something may still live.
impl Versions for Charter {
    fn newest(&self) -> &Rules {
        self
    }

    fn named(&self, digest: &Digest) -> Option<(usize, Cow<'_, Rules>)> {
        let rules: &Rules = self.version_named(digest)?;
        Some((usize::try_from(rules.document().version).ok()?, Cow::Borrowed(rules)))
    }
}

impl Charter {
    /// The chain's memory up to this version.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// When its signatures sufficed, Unix seconds: it is in force no earlier. That of genesis is its `issued_at`.
    #[must_use]
    pub const fn effective_from(&self) -> i64 {
        self.effective_from
    }

    /// This version, or one of those before it that are still kept.
    #[must_use]
    pub fn version_named(&self, digest: &Digest) -> Option<&Self> {
        if self.digest() == *digest {
            return Some(self);
        }
        self.earlier.iter().map(Arc::as_ref).find(|charter| charter.digest() == *digest)
    }

    /// The versions after the one of this digest, oldest first, this one last.
    pub fn since(&self, digest: Digest) -> impl Iterator<Item = &Self> {
        let known = self.earlier.iter().position(|charter| charter.digest() == digest);
        let skip = known.map_or(self.earlier.len(), |at| at + 1);
        let itself = (self.digest() != digest).then_some(self);
        self.earlier.iter().skip(skip).map(Arc::as_ref).chain(itself)
    }

    /// Unix seconds from which on no token of this version counts, if this is the one that follows it.
    #[must_use]
    pub(crate) fn predecessor_until(&self, predecessor: &Rules) -> i64 {
        let longest = predecessor.document().profiles.iter().map(|profile| profile.max_ttl).max();
        self.effective_from.saturating_add(longest.unwrap_or(0).into()).saturating_add(SKEW)
    }

    /// Drops versions under which no token lives any more.
    pub(super) fn forget_earlier(&mut self, at: i64) {
        let needed = |charter: &Arc<Self>| {
            self.since(charter.digest()).next().is_some_and(|next| at < next.predecessor_until(charter))
        };
        let first = self.earlier.iter().position(needed).unwrap_or(self.earlier.len());
        self.earlier.drain(..first);
    }

    /// Drops versions before the oldest that is still needed.
    pub(in crate::domain) fn keep_earlier(&mut self, needed: impl Fn(&Digest) -> bool) {
        let first = self.earlier.iter().position(|charter| needed(&charter.digest()));
        self.earlier.drain(..first.unwrap_or(self.earlier.len()));
    }

    pub(super) fn followed_by(&self, rules: Rules, statement: GeneralJws, effective_from: i64) -> Self {
        let mut lineage = self.lineage.clone();
        lineage.retire(&self.rules, &rules, effective_from);
        lineage.extend(&rules);
        let mut earlier = self.earlier.clone();
        earlier.push(Arc::new(Self { earlier: Vec::new(), lineage: Lineage::default(), ..self.clone() }));
        Self { rules, statement, lineage, effective_from, earlier }
    }
}
