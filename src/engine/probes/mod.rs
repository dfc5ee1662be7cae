//! Verifiers are shown their canaries: once while the key is good, and after its kill until they refuse.
//!
//! Invariants: each pair of verifier and key has a task of its own, so that one that hangs delays nobody; what is to be asked
//! follows from the log, so a restart goes on where it was; each answer that is news becomes an entry. After a kill a verifier is
//! first shown what nobody signed, which makes it fetch the keys anew (taking a key out of them alone stops nobody), and then
//! its canary, at first every second or faster. One that accepts it a minute after the kill is an alarm, and is asked for as
//! long as the kill stands. One that refuses is asked a few times more: behind one address there may be several.

mod ask;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

pub use ask::CanaryKey;
pub(super) use ask::cause;

use super::{Engine, EngineError, start::stopped};
use crate::{
    domain::{
        Command,
        canary::Canary,
        id::{KillId, PrincipalId},
        probe::Answer,
    },
    jose::Digest,
};

/// How often it is looked what has to be asked, if nobody says so before.
const LOOK: Duration = Duration::from_millis(500);
/// Pauses between questions while it is urgent.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Pauses after that.
const SLOW_PAUSE: Duration = Duration::from_secs(30);
const SLOWEST_PAUSE: Duration = Duration::from_mins(10);
/// Pauses before a refusal is asked for again.
const CONFIRM: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(20), Duration::from_mins(2)];

type Pair = (PrincipalId, Digest);

/// What is being asked now, for those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<BTreeMap<Pair, Asked>>);

/// How far a verifier has been asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// How often.
    pub times: u32,
    /// The last answer, which need not be an entry yet.
    pub last: Option<Answer>,
}

impl Asking {
    fn note(&self, pair: &Pair, answer: Answer) {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = asking.entry(pair.clone()).or_default();
        *asked = Asked { times: asked.times.saturating_add(1), last: Some(answer) };
    }

    fn forget(&self, pair: &Pair) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pair);
    }

    fn of(&self, pair: &Pair) -> Option<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pair).copied()
    }
}

impl Engine {
    /// How far a verifier has been asked about a key, where it is being asked.
    #[must_use]
    pub fn asked(&self, verifier: &PrincipalId, kid: &Digest) -> Option<Asked> {
        self.shared.asking.of(&(verifier.clone(), *kid))
    }

    /// Shows a verifier its canaries once, now, and records what it answered. Nothing where it has none.
    pub async fn probe(&self, verifier: &PrincipalId) -> Result<Vec<(Digest, Answer)>, EngineError> {
        let Some(key) = &self.shared.canary_key else { return Ok(Vec::new()) };
        let canaries: Vec<(Canary, Option<KillId>)> = self.read(|state| {
            let own = state.canaries().filter(|canary| canary.verifier == *verifier && canary.jwe.is_some());
            own.map(|canary| (canary.clone(), state.killed_by(&canary.kid).map(|kill| kill.kill.id)))
                .collect()
        });
        let mut answers = Vec::new();
        for (canary, kill) in canaries {
            if let Some(answer) = ask::show(self, key, &canary).await {
                self.answered(&canary, kill, answer).await?;
                answers.push((canary.kid, answer));
            }
        }
        Ok(answers)
    }

    async fn answered(
        &self,
        canary: &Canary,
        kill: Option<KillId>,
        answer: Answer,
    ) -> Result<(), EngineError> {
        let (verifier, kid) = (canary.verifier.clone(), canary.kid);
        self.submit(self.daemon(), Command::Probed { verifier, kid, answer, kill }).await.map(drop)
    }
}

/// What a task is for; another one begins when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    /// To see it accepted while the key is good: the canary of this entry.
    Baseline(u64),
    /// To see it refused.
    Refusal(KillId),
}

/// Keeps a task for each pair that has to be asked, until a stop is asked for.
pub(super) async fn run(engine: Engine, mut stop: watch::Receiver<bool>) {
    let mut tasks: HashMap<Pair, (Goal, JoinHandle<()>)> = HashMap::new();
    let mut killed = engine.killed();
    loop {
        let due: HashMap<Pair, (Goal, Canary)> = engine.read(|state| {
            let due = state.probes_due().map(|(canary, kill)| {
                let goal = kill.map_or(Goal::Baseline(canary.index), |kill| Goal::Refusal(kill.kill.id));
                ((canary.verifier.clone(), canary.kid), (goal, canary.clone()))
            });
            due.collect()
        });
        tasks.retain(|pair, (goal, task)| {
            // A task that has its refusal still confirms it, as long as the kill stands.
            let keep = match due.get(pair) {
                Some((wanted, _)) => wanted == goal,
                None => is_confirming(&engine, pair, goal),
            };
            let keep = keep && !task.is_finished();
            if !keep {
                task.abort();
                engine.shared.asking.forget(pair);
            }
            keep
        });
        for (pair, (goal, canary)) in due {
            tasks.entry(pair).or_insert_with(|| {
                let task = tokio::spawn(pursue(engine.clone(), goal.clone(), canary));
                (goal, task)
            });
        }
        tokio::select! {
            () = stopped(&mut stop) => break,
            _ = killed.changed() => {}
            () = engine.shared.probing.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    for (_, task) in tasks.into_values() {
        task.abort();
    }
}

/// Whether the refusal is known, and its kill stands.
fn is_confirming(engine: &Engine, (verifier, kid): &Pair, goal: &Goal) -> bool {
    let Goal::Refusal(kill) = goal else { return false };
    engine.read(|state| {
        let stands = state.killed_by(kid).is_some_and(|now| now.kill.id == *kill);
        stands && state.canary(verifier, kid).is_some()
    })
}

/// Asks until the goal is reached.
async fn pursue(engine: Engine, goal: Goal, canary: Canary) {
    match goal {
        Goal::Baseline(_) => baseline(&engine, &canary).await,
        Goal::Refusal(kill) => refusal(&engine, &canary, kill).await,
    }
    // It may have ended because there is nothing to ask with, which is not to be found out again and again.
    tokio::time::sleep(LONGEST_PAUSE).await;
}

/// Until it has taken its canary: whether it would ever refuse it is not known before.
async fn baseline(engine: &Engine, canary: &Canary) {
    let mut pause = FIRST_PAUSE;
    let mut recorded = None;
    loop {
        let Some(answer) = asked(engine, canary).await else { return };
        if recorded != Some(answer) {
            if let Answer::Accepted { status } = answer {
                tracing::info!(name: "verifier.probed", verifier = %canary.verifier, kid = %canary.kid, status, "the verifier accepts its canary, as it should while the key is good");
            } else {
                tracing::warn!(name: "verifier.unproven", verifier = %canary.verifier, kid = %canary.kid, answer = answer.as_str(), "the verifier does not show that it checks canaries: that it refuses a killed key could not be proven");
            }
            if record(engine, canary, None, answer).await {
                recorded = Some(answer);
            }
        }
        if matches!(answer, Answer::Accepted { .. }) && recorded == Some(answer) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SLOWEST_PAUSE);
    }
}

/// Until it has refused, and some times more.
async fn refusal(engine: &Engine, canary: &Canary, kill: KillId) {
    let mut recorded = None;
    let mut pause = FIRST_PAUSE;
    let mut confirmations = CONFIRM.into_iter();
    let urgent_until = urgent_until(engine, &kill);
    loop {
        let Some(answer) = asked(engine, canary).await else { return };
        let is_urgent = Instant::now() < urgent_until;
        let is_news = recorded.is_none_or(|last: Answer| last.as_str() != answer.as_str());
        // In the first minute only a refusal is an answer; the rest is on its way.
        let is_answer = answer.refuses() || recorded.is_some() || !is_urgent;
        if is_news && is_answer && record(engine, canary, Some(kill), answer).await {
            recorded = Some(answer);
        }
        if answer.accepts() && (recorded.is_some() || !is_urgent) {
            tracing::error!(name: "verifier.accepts_killed_key", verifier = %canary.verifier, kid = %canary.kid, "ALARM: a verifier accepts what a killed key has signed: restart it, or take it off the network; it is asked again");
        }
        pause = match (answer.refuses() && recorded == Some(answer), is_urgent) {
            (true, _) => {
                let Some(pause) = confirmations.next() else { return };
                tokio::time::sleep(pause).await;
                continue;
            }
            (false, true) => (pause * 2).min(LONGEST_PAUSE),
            (false, false) => (pause * 2).clamp(SLOW_PAUSE, SLOWEST_PAUSE),
        };
        tokio::time::sleep(pause).await;
    }
}

/// When the first minute after the kill is over, wherever this process was at its beginning.
fn urgent_until(engine: &Engine, kill: &KillId) -> Instant {
    let at = engine.read(|state| state.kills().get(kill).map(|recorded| recorded.at.millis()));
    let passed = engine.now().millis().saturating_sub(at.unwrap_or_default());
    let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(0));
    Instant::now() + engine.shared.probe_deadline.saturating_sub(passed)
}

/// One question; nothing where none can be asked.
async fn asked(engine: &Engine, canary: &Canary) -> Option<Answer> {
    let answer = ask::show(engine, engine.shared.canary_key.as_ref()?, canary).await?;
    engine.shared.asking.note(&(canary.verifier.clone(), canary.kid), answer);
    Some(answer)
}

/// Whether the log has it, or need not have it.
async fn record(engine: &Engine, canary: &Canary, kill: Option<KillId>, answer: Answer) -> bool {
    match engine.answered(canary, kill, answer).await {
        Ok(()) => true,
        Err(EngineError::Refused(refusal)) => {
            tracing::debug!(%refusal, "an answer came too late to be recorded");
            true
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "what a verifier answered is not recorded yet; it is asked again");
            false
        }
    }
}
