//! The numbers of the daemon, as Prometheus reads them.
//!
//! Invariant: the number of series is bounded by the program: every label is a word of it (a method's name, a stable
//! reason, a state), never what a client sent.
//!
//! Spec: `OpenMetrics` 1.0, text format.

use std::{
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds; from a local HSM to one that is asked again and again.
const LATENCIES: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// One of the daemon's signing devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The issuing keys'.
    Issuing,
    /// The log key's.
    Log,
}

impl Device {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Log => "log",
        }
    }
}

/// What the last canary signature of a device showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Canary {
    /// None was made yet.
    #[default]
    Unknown,
    /// It was made and verified.
    Healthy {
        /// How long it took.
        latency: Duration,
    },
    /// It was not.
    Failed {
        /// A stable reason.
        reason: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabels {
    device: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// What is known of the engine at one moment; gauges are set from it all at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Entries in the log.
    pub log_size: u64,
    /// Size of the newest signed checkpoint.
    pub checkpoint_size: u64,
    /// Live requests that wait for custodians.
    pub pending: u64,
    /// Live requests that wait for the HSM.
    pub authorized: u64,
    /// Live requests whose token has not expired.
    pub issued: u64,
    /// Whether nothing is decided any more.
    pub latched: bool,
    /// Version of the charter in force; 0 if there is none.
    pub charter_version: u32,
    /// When it expires, Unix seconds.
    pub charter_expires: i64,
    /// Whether recovery custodians put it in force.
    pub recovered: bool,
    /// Proposed versions that recovery custodians are to put in force.
    pub recoveries: u64,
    /// Custodians' keys that were not seen for 30 days.
    pub keys_due: u32,
    /// Uses whose review is overdue.
    pub reviews_overdue: u32,
    /// New chains that are announced in place of this one.
    pub announced: u64,
    /// Security events that verifiers have not taken.
    pub events_waiting: u64,
    /// Whether another chain has taken this one's place.
    pub ended: bool,
    /// Issuing keys that a charter or a kill has ended and that may still be in the HSM.
    pub keys_to_destroy: u64,
    /// Verifiers that accept what a killed key has signed, for each such key.
    pub still_accepting: u64,
}

/// All counters and gauges. Share it in an `Arc`; every method takes `&self` and is cheap.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    http: Family<HttpLabels, Counter>,
    introspections: Family<ReasonLabels, Counter>,
    revocations: Family<ReasonLabels, Counter>,
    issuances: Counter,
    issuance_failures: Counter,
    issuance_seconds: Histogram,
    log_size: Gauge<u64, AtomicU64>,
    checkpoint_size: Gauge<u64, AtomicU64>,
    requests: Family<StateLabels, Gauge<u64, AtomicU64>>,
    latched: Gauge,
    charter_version: Gauge,
    charter_expires: Gauge,
    recovered: Gauge,
    recoveries: Gauge<u64, AtomicU64>,
    keys_due: Gauge,
    reviews_overdue: Gauge,
    announced: Gauge<u64, AtomicU64>,
    ended: Gauge,
    events_waiting: Gauge<u64, AtomicU64>,
    keys_to_destroy: Gauge<u64, AtomicU64>,
    still_accepting: Gauge<u64, AtomicU64>,
    healthy: Family<DeviceLabels, Gauge>,
    canary_seconds: Family<DeviceLabels, Gauge<f64, AtomicU64>>,
    canaries: Arc<RwLock<[Canary; 2]>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("breakglass"),
            calls: Family::default(),
            http: Family::default(),
            introspections: Family::default(),
            revocations: Family::default(),
            issuances: Counter::default(),
            issuance_failures: Counter::default(),
            issuance_seconds: Histogram::new(LATENCIES),
            log_size: Gauge::default(),
            checkpoint_size: Gauge::default(),
            requests: Family::default(),
            latched: Gauge::default(),
            charter_version: Gauge::default(),
            charter_expires: Gauge::default(),
            recovered: Gauge::default(),
            recoveries: Gauge::default(),
            keys_due: Gauge::default(),
            reviews_overdue: Gauge::default(),
            announced: Gauge::default(),
            ended: Gauge::default(),
            events_waiting: Gauge::default(),
            keys_to_destroy: Gauge::default(),
            still_accepting: Gauge::default(),
            healthy: Family::default(),
            canary_seconds: Family::default(),
            canaries: Arc::default(),
        };
        metrics.register_counters();
        metrics.register_gauges();
        metrics
    }
}

impl Metrics {
    fn register_counters(&mut self) {
        let registry = &mut self.registry;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the daemon", Info::new(version));
        registry.register(
            "calls",
            "gRPC calls by method and reason; OK if they were not refused",
            self.calls.clone(),
        );
        registry.register("http_requests", "HTTP requests by route and status", self.http.clone());
        registry.register(
            "introspections",
            "Questions of verifiers about a token; OK if it counts, else why it does not",
            self.introspections.clone(),
        );
        registry.register(
            "revocations",
            "Tokens that were handed in; OK if one ended, else why there was nothing to end",
            self.revocations.clone(),
        );
        registry.register("issuances", "Tokens issued by this process", self.issuances.clone());
        registry.register(
            "issuance_failures",
            "Authorized requests that ended without a token",
            self.issuance_failures.clone(),
        );
        registry.register(
            "issuance_seconds",
            "From the durable authorization to the durable record of the token",
            self.issuance_seconds.clone(),
        );
    }

    fn register_gauges(&mut self) {
        let registry = &mut self.registry;
        registry.register("log_size", "Entries in the audit log", self.log_size.clone());
        registry.register(
            "checkpoint_size",
            "Entries under the newest signed checkpoint",
            self.checkpoint_size.clone(),
        );
        registry.register("requests", "Live requests by state", self.requests.clone());
        registry.register(
            "latched",
            "1 if an invariant was found broken and nothing is decided any more",
            self.latched.clone(),
        );
        registry.register("charter_version", "Version of the charter in force", self.charter_version.clone());
        registry.register(
            "charter_expires_timestamp_seconds",
            "When the charter in force expires",
            self.charter_expires.clone(),
        );
        registry.register(
            "charter_by_recovery",
            "1 if recovery custodians put the charter in force, and not governance",
            self.recovered.clone(),
        );
        registry.register(
            "recovery_proposals",
            "Proposed charters that recovery custodians are to put in force",
            self.recoveries.clone(),
        );
        registry.register(
            "custodian_keys_due",
            "Hardware keys of custodians in term that have signed nothing for 30 days",
            self.keys_due.clone(),
        );
        registry.register(
            "reviews_overdue",
            "Uses of emergency access that should have been reviewed by now",
            self.reviews_overdue.clone(),
        );
        registry.register(
            "genesis_announced",
            "New chains announced in place of this one; each ends it after seven days",
            self.announced.clone(),
        );
        registry.register(
            "security_events_waiting",
            "Security events that verifiers have not taken yet",
            self.events_waiting.clone(),
        );
        registry.register("chain_ended", "1 if another chain has taken this one's place", self.ended.clone());
        registry.register(
            "issuing_keys_to_destroy",
            "Issuing keys that a charter or a kill has ended and that may still be in the HSM",
            self.keys_to_destroy.clone(),
        );
        registry.register(
            "verifiers_accepting_killed_keys",
            "Verifiers that accepted what a killed key has signed when they were last asked, for each such key",
            self.still_accepting.clone(),
        );
        registry.register(
            "device_healthy",
            "1 if the last canary signature of the device was made and verified",
            self.healthy.clone(),
        );
        registry.register(
            "device_canary_seconds",
            "How long the last good canary signature took",
            self.canary_seconds.clone(),
        );
    }

    /// Counts a gRPC call. `method` is its name in the `.proto`, `reason` a stable reason of this program, or `OK`.
    pub fn call(&self, method: &'static str, reason: &str) {
        self.calls.get_or_create(&CallLabels { method, reason: reason.to_owned() }).inc();
    }

    /// Counts an HTTP request. `route` is the pattern that matched, not the path that was sent.
    pub fn http(&self, route: &'static str, status: u16) {
        self.http.get_or_create(&HttpLabels { route, status }).inc();
    }

    /// Counts a verifier's question about a token: why it does not count, or that it does.
    pub fn introspected(&self, why_not: Option<&'static str>) {
        self.introspections.get_or_create(&ReasonLabels { reason: why_not.unwrap_or("OK") }).inc();
    }

    /// Counts a token that was handed in: why there was nothing to end, or that it ended.
    pub fn revoked(&self, why_not: Option<&'static str>) {
        self.revocations.get_or_create(&ReasonLabels { reason: why_not.unwrap_or("OK") }).inc();
    }

    /// Counts a token and the time it took.
    pub fn issued(&self, took: Duration) {
        self.issuances.inc();
        self.issuance_seconds.observe(took.as_secs_f64());
    }

    /// Counts an authorized request that ended without a token.
    pub fn issuance_failed(&self) {
        self.issuance_failures.inc();
    }

    /// Records what a canary signature showed.
    pub fn canary(&self, device: Device, canary: Canary) {
        let labels = DeviceLabels { device: device.as_str() };
        let is_healthy = matches!(canary, Canary::Healthy { .. });
        self.healthy.get_or_create(&labels).set(i64::from(is_healthy));
        if let Canary::Healthy { latency } = canary {
            self.canary_seconds.get_or_create(&labels).set(latency.as_secs_f64());
        }
        let mut canaries = self.canaries.write().unwrap_or_else(PoisonError::into_inner);
        let [issuing, log] = &mut *canaries;
        match device {
            Device::Issuing => *issuing = canary,
            Device::Log => *log = canary,
        }
    }

    /// What the last canary signature of a device showed.
    #[must_use]
    pub fn last_canary(&self, device: Device) -> Canary {
        let [issuing, log] = *self.canaries.read().unwrap_or_else(PoisonError::into_inner);
        match device {
            Device::Issuing => issuing,
            Device::Log => log,
        }
    }

    /// Sets the gauges.
    pub fn set(&self, moment: &Moment) {
        self.log_size.set(moment.log_size);
        self.checkpoint_size.set(moment.checkpoint_size);
        let states =
            [("pending", moment.pending), ("authorized", moment.authorized), ("issued", moment.issued)];
        for (state, count) in states {
            self.requests.get_or_create(&StateLabels { state }).set(count);
        }
        self.latched.set(i64::from(moment.latched));
        self.charter_version.set(i64::from(moment.charter_version));
        self.charter_expires.set(moment.charter_expires);
        self.recovered.set(i64::from(moment.recovered));
        self.recoveries.set(moment.recoveries);
        self.keys_due.set(i64::from(moment.keys_due));
        self.reviews_overdue.set(i64::from(moment.reviews_overdue));
        self.announced.set(moment.announced);
        self.events_waiting.set(moment.events_waiting);
        self.ended.set(i64::from(moment.ended));
        self.keys_to_destroy.set(moment.keys_to_destroy);
        self.still_accepting.set(moment.still_accepting);
    }

    /// Everything, in the text format of [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        encoded(&self.registry)
    }
}

/// A registry in the text format of [`CONTENT_TYPE`].
pub(crate) fn encoded(registry: &Registry) -> String {
    let mut text = String::new();
    if let Err(error) = encode(&mut text, registry) {
        // Writing into a String cannot fail; half a text is worse than none.
        tracing::warn!(%error, "metrics could not be written");
        text.clear();
    }
    text
}
