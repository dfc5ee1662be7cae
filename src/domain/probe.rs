//! What verifiers do with their canaries: whether they accepted one while its key was good, and whether they refuse it since the
//! key was killed.
//!
//! Invariants: only what a verifier answered is recorded, and how long after the kill follows from the two entries; a verifier
//! that never accepted its canary proves nothing by refusing it, nor does one that accepts what nobody signed. A 2xx is
//! acceptance; 400, 401 and 403 are refusals; everything else is no answer to the question.

use serde::{Deserialize, Serialize};

use super::{
    canary::Canary,
    event::Event,
    id::{KillId, PrincipalId},
    kill::{Recorded, Target},
    state::State,
    time::Timestamp,
};
use crate::jose::{CompactJwt, Digest, JoseError, TokenAlg};

/// Milliseconds in which the same answer is not recorded again.
pub const REPEAT_AFTER: i64 = 60_000;
/// Random bytes that a poke takes: a key id, and the longest signature.
pub const POKE_RANDOM: usize = 32 + 256;
/// Bytes of a canary at most.
const MAX_CANARY: usize = 8_000;

/// What a verifier answered when it was shown a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It took the canary.
    Accepted {
        /// HTTP status.
        status: u16,
    },
    /// It refused the canary.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// It took a token that nobody had signed: whatever it answers proves nothing.
    Indiscriminate {
        /// HTTP status.
        status: u16,
    },
    /// It did not answer the question.
    Unreachable {
        /// HTTP status, where there was an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Why.
        cause: Cause,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A status that says neither yes nor no: a redirect, a fault, not found.
    Status,
    /// No connection, or a bad certificate.
    Connection,
    /// Nothing came in time.
    Late,
    /// More came than is read.
    TooLong,
    /// What was to be sent is no request.
    Request,
}

impl Cause {
    /// A few words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "neither yes nor no",
            Self::Connection => "no connection",
            Self::Late => "no answer in time",
            Self::TooLong => "the answer is too long",
            Self::Request => "not a request",
        }
    }
}

impl Answer {
    /// What a status says.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted { status },
            400 | 401 | 403 => Self::Refused { status },
            other => Self::Unreachable { status: Some(other), cause: Cause::Status },
        }
    }

    /// The stable word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Indiscriminate { .. } => "indiscriminate",
            Self::Unreachable { .. } => "unreachable",
        }
    }

    /// Whether it took what it was shown.
    #[must_use]
    pub const fn accepts(&self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Indiscriminate { .. })
    }

    /// Whether it refused.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// An answer, and when it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probed {
    /// The answer.
    pub answer: Answer,
    /// When.
    pub at: Timestamp,
}

/// The newest answer while the key was good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Where the log authorized the canary that was shown.
    pub canary: u64,
    /// What came of it.
    pub probed: Probed,
}

/// The newest answer since a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aftermath {
    /// The kill.
    pub kill: KillId,
    /// Milliseconds from the kill's entry to that of the answer.
    pub after_ms: u64,
    /// The answer.
    pub probed: Probed,
}

/// What is known of a verifier and an issuing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// Who was asked.
    pub verifier: PrincipalId,
    /// The issuing key.
    pub kid: Digest,
    /// While the key was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Since it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aftermath: Option<Aftermath>,
}

impl Probes {
    /// Whether a refusal would prove something: the verifier took the canary while its key was good, and not anything.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.baseline.is_some_and(|baseline| matches!(baseline.probed.answer, Answer::Accepted { .. }))
    }
}

impl State {
    /// The kill in force that ends this issuing key: the first of those of the key and of everything.
    #[must_use]
    pub fn killed_by(&self, kid: &Digest) -> Option<&Recorded> {
        let targets = [Target::Key(*kid), Target::All];
        if !targets.iter().any(|target| self.kills().stands(target)) {
            return None;
        }
        self.kills().standing().find(|recorded| targets.contains(&recorded.kill.target))
    }

    /// What is known of a verifier and an issuing key.
    #[must_use]
    pub fn probes(&self, verifier: &PrincipalId, kid: &Digest) -> Option<&Probes> {
        self.probes.get(&(*kid, verifier.clone()))
    }

    /// What has to be asked now: each canary that can be shown, with the kill that ended its key, unless the answer is known.
    pub fn probes_due(&self) -> impl Iterator<Item = (&Canary, Option<&Recorded>)> {
        let shown = self.canaries().filter(|canary| canary.jwe.is_some());
        let shown = shown.map(|canary| (canary, self.killed_by(&canary.kid)));
        shown.filter(|(canary, kill)| {
            let known = self.probes(&canary.verifier, &canary.kid);
            if let Some(kill) = kill {
                let refused = |last: Aftermath| last.kill == kill.kill.id && last.probed.answer.refuses();
                return !known.and_then(|known| known.aftermath).is_some_and(refused);
            }
            let wanted = self.charter().is_some_and(|charter| charter.digest() == canary.charter);
            let accepted = |last: Baseline| {
                last.canary == canary.index && matches!(last.probed.answer, Answer::Accepted { .. })
            };
            let is_known = known.and_then(|known| known.baseline).is_some_and(accepted);
            wanted && !is_known && !self.is_destroyed(&canary.kid)
        })
    }

    /// Verifiers that took a canary after its key was killed, when they were last asked.
    pub fn still_accepting(&self) -> impl Iterator<Item = &Probes> {
        self.probes.values().filter(|probes| {
            let Some(aftermath) = probes.aftermath else { return false };
            aftermath.probed.answer.accepts()
                && self.killed_by(&probes.kid).is_some_and(|kill| kill.kill.id == aftermath.kill)
        })
    }

    /// What a verifier answered, to its canary or as its revocation hook.
    pub(super) fn answered(&mut self, event: &Event, at: Timestamp) -> Result<(), &'static str> {
        match event {
            Event::VerifierProbed { verifier, kid, answer, kill, after_ms } => {
                self.probed((verifier, kid), kill.zip(*after_ms), Probed { answer: *answer, at })
            }
            Event::HookAnswered { verifier, kill, answer } => {
                self.hook_answered(verifier, *kill, Probed { answer: *answer, at })
            }
            _ => Ok(()),
        }
    }

    /// Drops what is known of canaries that are gone.
    pub(super) fn forget_probes(&mut self) {
        let canaries = &self.canaries;
        self.probes.retain(|pair, _| canaries.contains_key(pair));
    }

    fn probed(
        &mut self,
        (verifier, kid): (&PrincipalId, &Digest),
        about: Option<(KillId, u64)>,
        probed: Probed,
    ) -> Result<(), &'static str> {
        let canary = self.canary(verifier, kid).ok_or("no such canary was authorized")?.index;
        let fresh = || Probes { verifier: verifier.clone(), kid: *kid, baseline: None, aftermath: None };
        let known = self.probes.entry((*kid, verifier.clone())).or_insert_with(fresh);
        match about {
            Some((kill, after_ms)) => known.aftermath = Some(Aftermath { kill, after_ms, probed }),
            None => known.baseline = Some(Baseline { canary, probed }),
        }
        Ok(())
    }
}

/// A token like this canary, naming a key that nobody has and under a signature that nobody made: whoever is shown it fetches
/// the keys anew, and must refuse it.
pub fn poke(canary: &str, alg: TokenAlg, random: &[u8; POKE_RANDOM]) -> Result<String, JoseError> {
    let canary = CompactJwt::parse(canary, MAX_CANARY)?;
    let (kid, rest) = random.split_at(32);
    let input = CompactJwt::signing_input(alg, &Digest::of(kid), canary.payload());
    let length = alg.signature_bytes().unwrap_or(rest.len()).min(rest.len());
    Ok(CompactJwt::assemble(&input, rest.get(..length).unwrap_or(rest)))
}
