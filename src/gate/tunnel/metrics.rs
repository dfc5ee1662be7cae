//! What is counted of tunnels.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Refusals are counted with all others.
#[derive(Debug, Default)]
pub(in crate::gate) struct TunnelMetrics {
    open: Gauge,
    ended: Family<Reason, Counter>,
    bytes: Family<Direction, Counter>,
    crowded: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

impl TunnelMetrics {
    pub(in crate::gate) fn register(&self, r: &mut Registry) {
        r.register("tunnels", "Connections that are open", self.open.clone());
        r.register("tunnels_ended", "Connections that ended, by reason", self.ended.clone());
        r.register("tunnel_bytes", "Bytes carried", self.bytes.clone());
        let crowded =
            "Peers that were turned away before they said anything: their host holds too many places";
        r.register("tunnels_crowded", crowded, self.crowded.clone());
    }

    pub(super) fn opened(&self) {
        self.open.inc();
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.open.dec();
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    /// Counts the bytes that go there, for the life of a connection.
    pub(super) fn to_target(&self) -> Counter {
        self.bytes.get_or_create_owned(&Direction { direction: "to_target" })
    }

    /// The same for the other way.
    pub(super) fn to_client(&self) -> Counter {
        self.bytes.get_or_create_owned(&Direction { direction: "to_client" })
    }

    pub(super) fn crowded(&self) {
        self.crowded.inc();
    }
}
