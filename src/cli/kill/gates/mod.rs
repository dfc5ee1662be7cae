//! Which gates enforce a kill: what they signed, verified here, beside what the daemon says of them.
//!
//! Invariants: a gate enforces a kill here only if its own acknowledgement verifies by the own charter and names this kill;
//! that it is silent is the daemon's word. Two gates that were told two stories are seen by their heads.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::{daemon::Daemon, text},
    client::ClientError,
    domain::{
        charter::Rules,
        gate::{Ack, SignedAck},
        id::KillId,
        kill::Head,
        statement::MAX_STATEMENT_BYTES,
    },
    grpc::v1,
    jose::{Digest, GeneralJws},
};

/// What one gate has signed.
enum Said {
    /// That it enforces the kill; after how many milliseconds, as the daemon says.
    Enforces(Option<u64>),
    /// Nothing of it.
    Nothing,
    /// Something that does not verify: why.
    Unverified(String),
}

struct Gate {
    verifier: String,
    name: String,
    connected: bool,
    expected: bool,
    since: i64,
    said: Said,
    /// The epoch of its newest verified acknowledgement.
    epoch: Option<u64>,
}

/// The gates, and how a kill spreads among them.
pub(super) struct Gates {
    all: Vec<Gate>,
    spread: Option<v1::KillSpread>,
    /// Steps of the chain for which gates named several heads: somebody was told another story.
    stories: Vec<u64>,
}

impl Gates {
    /// Asks the daemon, and verifies. `kill`: its id and the digest of what was signed. `own`: the head that the daemon tells here.
    pub(super) fn ask(
        daemon: &Daemon,
        rules: &Rules,
        kill: Option<(KillId, Digest)>,
        own: Option<Head>,
    ) -> Result<Self, ClientError> {
        let id = kill.map(|(id, _)| id.to_string()).unwrap_or_default();
        let (spread, gates) = daemon.gates(id)?;
        Ok(Self::of(spread, &gates, rules, kill.map(|(_, digest)| digest), own))
    }

    fn of(
        spread: Option<v1::KillSpread>,
        gates: &[v1::Gate],
        rules: &Rules,
        kill: Option<Digest>,
        own: Option<Head>,
    ) -> Self {
        let mut heads: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        if let Some(head) = own {
            heads.entry(head.step).or_default().insert(head.digest);
        }
        let all = gates.iter().map(|gate| judge(gate, rules, kill, &mut heads)).collect();
        let stories = heads.iter().filter(|(_, told)| told.len() > 1).map(|(step, _)| *step).collect();
        Self { all, spread, stories }
    }

    /// For people: each verifier of the charter, and its gates.
    pub(super) fn describe(&self, rules: &Rules, of_kill: bool, now: i64) -> String {
        let mut lines = Vec::new();
        for step in &self.stories {
            lines.push(format!(
                "ALARM: at step {step} of the chain of kills gates were told different stories. Somebody hides a kill: bring it to \
                 each gate yourself (breakglass kill … --at URL, the address of its control listener), and \
                 take the daemon for hostile."
            ));
        }
        if let (true, Some(spread)) = (of_kill, &self.spread) {
            let time = |millis: Option<u64>| millis.map_or("-".to_owned(), |millis| format!("{millis} ms"));
            lines.push(format!(
                "Of {} gates that were connected, {} have acknowledged it: half within {}, 99 of 100 within {}, by the daemon's clock.",
                spread.gates, spread.enforced, time(spread.p50_ms), time(spread.p99_ms)
            ));
        }
        for verifier in &rules.document().verifiers {
            let id = verifier.id.to_string();
            let mut own = self.all.iter().filter(|gate| gate.verifier == id).peekable();
            if own.peek().is_none() {
                lines.push(format!(
                    "verifier {id}: no gate has been seen; it has to ask, or hears of nothing"
                ));
                continue;
            }
            lines.push(format!("verifier {id}:"));
            lines.extend(
                own.map(|gate| format!("  {}: {}", text::safe(&gate.name), gate.words(of_kill, now))),
            );
        }
        lines.join("\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let gate = |gate: &Gate| {
            let (enforced, after, problem) = match &gate.said {
                Said::Enforces(after) => (true, *after, None),
                Said::Nothing => (false, None, None),
                Said::Unverified(why) => (false, None, Some(why)),
            };
            json!({
                "verifier": gate.verifier, "gate": gate.name, "connected": gate.connected, "expected": gate.expected,
                "since": gate.since, "epoch": gate.epoch, "enforced": enforced, "after_ms": after, "problem": problem,
            })
        };
        json!({
            "gates": self.all.iter().map(gate).collect::<Vec<_>>(),
            "spread": self.spread.as_ref().map(|spread| json!({
                "gates": spread.gates, "enforced": spread.enforced, "p50_ms": spread.p50_ms, "p99_ms": spread.p99_ms,
                "recorded": spread.recorded,
            })),
            "different_stories_at": self.stories,
        })
    }
}

impl Gate {
    fn words(&self, of_kill: bool, now: i64) -> String {
        let since = text::until(self.since, now);
        let link = if self.connected {
            format!("connected {since}")
        } else {
            format!("gone {since}, so it refuses all")
        };
        let epoch = self
            .epoch
            .map_or("has acknowledged nothing".to_owned(), |epoch| format!("acknowledged epoch {epoch}"));
        match &self.said {
            Said::Enforces(Some(after)) => {
                format!("ENFORCES it, after {after} ms, under its own signature; {link}")
            }
            Said::Enforces(None) => format!("ENFORCES it, under its own signature; {link}"),
            Said::Unverified(why) => format!("NOT VERIFIED: {}; {link}", text::safe(why)),
            Said::Nothing if of_kill => format!("has NOT acknowledged it; {epoch}; {link}"),
            Said::Nothing => format!("{epoch}; {link}"),
        }
    }
}

fn judge(
    gate: &v1::Gate,
    rules: &Rules,
    kill: Option<Digest>,
    heads: &mut BTreeMap<u64, BTreeSet<Digest>>,
) -> Gate {
    let mut note = |signed: &SignedAck| {
        let head = signed.about().head;
        heads.entry(head.step).or_default().insert(head.digest);
    };
    let mut said = Said::Nothing;
    if !gate.ack.is_empty() {
        said = match verified(&gate.ack, gate, rules) {
            Err(why) => Said::Unverified(why),
            Ok(signed) => {
                note(&signed);
                let names_it = kill.is_some_and(|kill| signed.about().kills.contains(&kill));
                if names_it {
                    Said::Enforces(gate.after_ms)
                } else {
                    Said::Unverified("the acknowledgement that the daemon shows is of another kill".into())
                }
            }
        };
    }
    let mut epoch = None;
    if !gate.newest.is_empty() {
        match verified(&gate.newest, gate, rules) {
            Err(why) => said = Said::Unverified(why),
            Ok(signed) => {
                note(&signed);
                epoch = Some(signed.about().epoch);
            }
        }
    }
    Gate {
        verifier: gate.verifier.clone(),
        name: gate.name.clone(),
        connected: gate.connected,
        expected: gate.expected,
        since: gate.since.as_ref().map_or(0, |since| since.seconds),
        said,
        epoch,
    }
}

/// An acknowledgement, if it is this gate's own.
fn verified(jws: &[u8], gate: &v1::Gate, rules: &Rules) -> Result<SignedAck, String> {
    let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(|error| error.to_string())?;
    let signed = Ack::verify(jws, rules).map_err(|error| error.to_string())?;
    let verifier = rules.verifier_of(&signed.kid()).map_err(|error| error.to_string())?;
    if verifier.id.to_string() == gate.verifier && signed.about().gate.as_str() == gate.name {
        Ok(signed)
    } else {
        Err("the acknowledgement that the daemon shows is another gate's".into())
    }
}

impl Daemon {
    fn gates(&self, kill_id: String) -> Result<(Option<v1::KillSpread>, Vec<v1::Gate>), ClientError> {
        let mut stream = self.call(self.channel().gate().list_gates(v1::ListGatesRequest { kill_id }))?;
        let (mut spread, mut gates) = (None, Vec::new());
        while let Some(some) = self.next(&mut stream)? {
            spread = spread.or(some.spread);
            gates.extend(some.gates);
        }
        Ok((spread, gates))
    }
}

#[cfg(test)]
mod tests;
