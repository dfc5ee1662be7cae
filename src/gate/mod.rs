//! `breakglass-gate`: the enforcement point beside an application.
//!
//! ```text
//! proxy ──"may this pass?"──▶ serve ──▶ Gate::ask ──▶ decide (pure) ──▶ 200 with who and why, or 401/403 with the reason
//!                                          │              ▲
//!                                          ▼              │ charter, kills, how fresh they are
//!                                        Uses           view ◀── every configured daemon, each statement verified
//! ```
//!
//! Invariants:
//! - A gate believes no daemon: charters and kills count by their signatures, from the genesis that its own file pins. A daemon
//!   can make it refuse, by saying nothing, and cannot make it accept.
//! - Every answer to every proxy, whatever the protocol, goes through [`Gate::ask`] or [`Gate::ask_for`]: there a use is noted,
//!   and there alone ([`Gate::settle`]).
//! - Whatever a stranger can send is bounded in size, time and memory, and counted.

mod acks;
mod certificate;
pub mod clock;
mod command;
pub mod config;
pub mod decide;
mod direct;
mod files;
mod keep;
mod links;
pub mod map;
mod metrics;
mod serve;
mod signer;
mod tunnel;
mod uses;
pub mod view;

use std::sync::Arc;

pub use command::main;
pub use keep::KeepError;

use clock::Moment;
use config::GateConfig;
use direct::Direct;
use links::Links;
use signer::Signer;
use uses::Uses;

use decide::{Memory, Pass, Possession, Refusal, Request, Scheme, Settings};
use keep::Keep;
use metrics::Metrics;
use view::{Known, View};

use crate::domain::{detail::Need, strict::Accepted};

/// A gate: what it was told, what it knows, what it remembers, what it counts.
pub struct Gate {
    config: GateConfig,
    settings: Settings,
    keep: Keep,
    view: View,
    memory: Memory,
    metrics: Metrics,
    signer: Signer,
    uses: Uses,
    direct: Direct,
    links: Links,
}

impl Gate {
    /// Reads and verifies what was kept; refuses everything until a daemon is heard ([`Gate::follow`]).
    pub fn open(config: GateConfig) -> Result<Self, KeepError> {
        let started = Moment::now();
        let keep = Keep::open(&config, started.seconds())?;
        let view = View::new(keep.charter(), config.daemons.len());
        let settings = Settings::new(&config, started);
        let signer = Signer::load(&config.key)?;
        let file = |source| KeepError::File { path: config.state_dir.join("uses"), source };
        let uses = Uses::open(&config.state_dir, started).map_err(file)?;
        let direct = Direct::new(&config.state_dir);
        let (memory, metrics, links) = (Memory::default(), Metrics::default(), Links::default());
        let gate = Self { config, settings, keep, view, memory, metrics, signer, uses, direct, links };
        gate.recall()?;
        Ok(gate)
    }

    /// What is known of charter and kills.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Listens to every configured daemon, and reports to them, for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut lines = tokio::task::JoinSet::new();
        lines.spawn(uses::run(Arc::clone(&self)));
        for (daemon, address) in self.config.daemons.iter().enumerate() {
            lines.spawn(view::follow(Arc::clone(&self), daemon, address.clone()));
        }
        // None of them ends.
        while lines.join_next().await.is_some() {}
    }

    /// Decides an HTTP request.
    pub fn ask(&self, request: &Request<'_>) -> Result<Pass, Refusal> {
        let now = Moment::now();
        self.settle(decide::decide(&self.settings, request, &self.view.known(), &self.memory, now), now)
    }

    /// Decides about a token that was shown in another way than by HTTP, such as to a tunnel.
    pub fn ask_for(
        &self,
        token: &str,
        scheme: Option<Scheme>,
        possession: &Possession<'_>,
        need: Need,
    ) -> Result<Pass, Refusal> {
        let (now, known) = (Moment::now(), self.view.known());
        let judged =
            decide::judge(&self.settings, token, scheme, possession, need, &known, &self.memory, now);
        self.settle(judged, now)
    }

    /// Whether the view can be relied on now.
    pub fn is_fresh(&self) -> Result<(), Refusal> {
        decide::fresh(&self.settings, &self.view.known(), Moment::now())
    }

    /// Whether what passed may stay open. To be asked whenever [`View::changes`] does, at the token's `exp`, and while the view
    /// grows stale; it is no new use.
    pub fn still_stands(&self, token: &Accepted) -> Result<(), Refusal> {
        decide::still_stands(&self.settings, token, &self.view.known(), &self.memory, Moment::now())
    }

    /// The same, for whoever only asks whether: that is no use.
    fn look(&self, token: &str, possession: &Possession<'_>, need: Need) -> Result<Pass, Refusal> {
        let (now, known) = (Moment::now(), self.view.known());
        let judged = decide::judge(&self.settings, token, None, possession, need, &known, &self.memory, now);
        judged.map_err(|refusal| self.refused(refusal))
    }

    /// Both halves of [`Gate::still_stands`] apart, for what may outlive a stale view by `grace` milliseconds: whether the view is
    /// fresh, and whether the token stands, by what was last heard if nothing is fresh.
    fn halves(
        &self,
        token: &Accepted,
        known: &Known,
        grace: i64,
        now: Moment,
    ) -> (Result<(), Refusal>, Result<(), Refusal>) {
        let (settings, memory) = (&self.settings, &self.memory);
        let fresh = decide::fresh(settings, known, now);
        let more = if fresh.is_ok() { 0 } else { grace };
        let within = settings.max_stale.saturating_add(more);
        (fresh, decide::stands_within(settings, token, known, memory, now, within))
    }

    /// Counts an answer, and notes the use: what is accepted by whatever protocol comes by here before it is answered, and a use
    /// that cannot be noted is refused.
    fn settle(&self, decided: Result<Pass, Refusal>, now: Moment) -> Result<Pass, Refusal> {
        let decided = decided.and_then(|pass| match self.uses.note(&pass, now) {
            Ok(()) => Ok(pass),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a use cannot be noted, and is refused"
                );
                Err(Refusal::Unnoted)
            }
        });
        match &decided {
            Ok(_) => self.metrics.accepted(),
            Err(refusal) => self.metrics.refused(refusal.reason()),
        }
        decided
    }

    /// Tells the log how a connection that had passed was cut.
    fn tell_cut(&self, pass: &Pass, from: Moment, reason: &str) {
        if let Err(error) = self.uses.cut(pass, from.seconds(), reason, Moment::now()) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, reason, "how a connection was cut stands in this log alone");
        }
    }

    /// Counts and hands back a refusal that was made before there was anything to decide.
    fn refused(&self, refusal: Refusal) -> Refusal {
        self.metrics.refused(refusal.reason());
        refusal
    }
}
