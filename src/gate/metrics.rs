//! The numbers of a gate, as Prometheus reads them.
//!
//! Invariant: the number of series is bounded by program and configuration: labels are reasons of a closed list and the
//! configured daemons, never what somebody sent. Spec: `OpenMetrics` 1.0, text format.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{clock::Moment, decide::Memory, tunnel::TunnelMetrics, view::Known};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DaemonLabels {
    daemon: String,
}

/// All counters and gauges; every method takes `&self` and is cheap.
pub struct Metrics {
    registry: Registry,
    accepted: Counter,
    refused: Family<ReasonLabels, Counter>,
    connected: Family<DaemonLabels, Gauge>,
    up: Mutex<BTreeSet<String>>,
    unverified: Counter,
    behind: Counter,
    view_age: Gauge<f64, AtomicU64>,
    fresh: Gauge,
    clock_ahead: Gauge<f64, AtomicU64>,
    epoch: Gauge<u64, AtomicU64>,
    charter_version: Gauge,
    charter_expires: Gauge,
    tokens: Gauge<u64, AtomicU64>,
    proofs: Gauge<u64, AtomicU64>,
    pub(super) tunnel: TunnelMetrics,
    acknowledged: Counter,
    direct: Counter,
    reported: Counter,
    unreported: Counter,
    waiting: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut it = Self {
            registry: Registry::with_prefix("breakglass_gate"),
            accepted: Counter::default(),
            refused: Family::default(),
            connected: Family::default(),
            up: Mutex::default(),
            unverified: Counter::default(),
            behind: Counter::default(),
            view_age: Gauge::default(),
            fresh: Gauge::default(),
            clock_ahead: Gauge::default(),
            epoch: Gauge::default(),
            charter_version: Gauge::default(),
            charter_expires: Gauge::default(),
            tokens: Gauge::default(),
            proofs: Gauge::default(),
            tunnel: TunnelMetrics::default(),
            acknowledged: Counter::default(),
            direct: Counter::default(),
            reported: Counter::default(),
            unreported: Counter::default(),
            waiting: Gauge::default(),
        };
        it.register();
        it
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("accepted", "Requests that passed", self.accepted.clone());
        r.register("refused", "Requests that were refused, by reason", self.refused.clone());
        r.register("daemon_connected", "Whether a daemon is being listened to", self.connected.clone());
        let told =
            "Messages of a daemon about kills that do not verify or do not follow: its view is not relied on";
        r.register("unverified", told, self.unverified.clone());
        let behind = "Heartbeats of a daemon that knows fewer kills than this gate has seen";
        r.register("heartbeats_behind", behind, self.behind.clone());
        let age = "Seconds since the last heartbeat that counts; -1 before the first";
        r.register("view_age_seconds", age, self.view_age.clone());
        r.register("view_fresh", "Whether the view of kills can be relied on", self.fresh.clone());
        let ahead = "Seconds by which this gate's clock is ahead of the daemon's";
        r.register("clock_ahead_seconds", ahead, self.clock_ahead.clone());
        r.register("kill_epoch", "The newest kill that is enforced", self.epoch.clone());
        r.register("charter_version", "Version of the charter held", self.charter_version.clone());
        let expires = "When that charter expires, Unix seconds";
        r.register("charter_expires_timestamp_seconds", expires, self.charter_expires.clone());
        let tokens = "Tokens whose signatures are remembered";
        r.register("tokens_remembered", tokens, self.tokens.clone());
        r.register("proofs_remembered", "DPoP proofs that are remembered", self.proofs.clone());
        self.tunnel.register(r);
        r.register(
            "acknowledgements",
            "Acknowledgements of kills that a daemon took",
            self.acknowledged.clone(),
        );
        r.register("direct_kills", "Kills that were brought to this gate itself", self.direct.clone());
        r.register("use_reports", "Reports of uses that a daemon took", self.reported.clone());
        r.register("use_report_failures", "Attempts to report uses that failed", self.unreported.clone());
        let waiting = "Counts of uses on this gate's disk that no daemon has yet";
        r.register("uses_waiting", waiting, self.waiting.clone());
    }

    /// Counts what passed.
    pub fn accepted(&self) {
        self.accepted.inc();
    }

    /// Counts what did not. `reason`: of [`super::decide::Refusal::reason`].
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn connected(&self, daemon: &str, is: bool) {
        self.connected.get_or_create(&DaemonLabels { daemon: daemon.to_owned() }).set(i64::from(is));
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if is {
            up.insert(daemon.to_owned())
        } else {
            up.remove(daemon)
        };
    }

    /// The daemons that are listened to.
    pub(super) fn daemons(&self) -> Vec<String> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn unverified(&self) {
        self.unverified.inc();
    }

    pub(super) fn acknowledged(&self) {
        self.acknowledged.inc();
    }

    pub(super) fn direct(&self) {
        self.direct.inc();
    }

    pub(super) fn reported(&self) {
        self.reported.inc();
    }

    pub(super) fn unreported(&self) {
        self.unreported.inc();
    }

    pub(super) fn uses_waiting(&self, count: u64) {
        self.waiting.set(count);
    }

    pub(super) fn behind(&self) {
        self.behind.inc();
    }

    /// Sets the gauges; a number that is served is true.
    pub(super) fn set(&self, known: &Known, memory: &Memory, max_stale: i64, now: Moment) {
        let seconds = |millis: i64| std::time::Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
        let age = known.age(now);
        self.view_age.set(age.map_or(-1.0, seconds));
        self.fresh.set(i64::from(age.is_some_and(|age| age <= max_stale) && known.is_clock_right()));
        let ahead = seconds(known.ahead());
        self.clock_ahead.set(if known.ahead() < 0 { -ahead } else { ahead });
        self.epoch.set(known.epoch());
        self.charter_version.set(i64::from(known.charter.document().version));
        self.charter_expires.set(known.charter.document().expires_at);
        let (tokens, proofs) = memory.sizes();
        self.tokens.set(tokens as u64);
        self.proofs.set(proofs as u64);
    }

    /// Everything, in the text format of `telemetry::CONTENT_TYPE`.
    #[must_use]
    pub fn encode(&self) -> String {
        crate::telemetry::encoded(&self.registry)
    }
}
