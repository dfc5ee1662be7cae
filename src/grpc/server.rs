//! The gRPC server: limits, health, reflection, and an orderly end.
//!
//! Whatever the services do, a peer can hold only so many connections, streams, bytes and seconds; see [`Limits`].

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::server::HealthReporter;

use super::count::CountLayer;
use super::tls::{Gate, incoming};
use super::typed::TypedLayer;
use crate::jose::Digest;
use crate::telemetry::Metrics;

/// Largest message accepted from a client, in bytes. A charter (60,000 bytes of payload) with all its signatures fits.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// What the charter says of a key, as far as it decides how much its holders may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Nothing.
    Stranger,
    /// That it is a person's or a tool's.
    Client,
    /// That it is a verifier's, of which any number of processes may hold it.
    Verifier,
}

/// What a peer may hold at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of keys that the charter knows.
    pub connections: usize,
    /// Connections of one such key.
    pub connections_each: usize,
    /// Connections of verifiers.
    pub verifiers: usize,
    /// Connections of one verifier's key: that of each of its processes.
    pub verifiers_each: usize,
    /// Connections of all others together.
    pub strangers: usize,
    /// How long a connection of a stranger lives.
    pub stranger_life: Duration,
    /// Handshakes in progress.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection may be silent; longer than `ping_every` + `ping_answer`, so that live peers stay.
    pub idle: Duration,
    /// Interval of HTTP/2 keepalive pings.
    pub ping_every: Duration,
    /// How long a peer may take to answer a ping.
    pub ping_answer: Duration,
    /// Concurrent streams (calls and watches) of one connection.
    pub streams: u32,
    /// Sum of the header fields of one call, in bytes.
    pub headers: u32,
    /// How long a call may take until its first byte of answer; longer than the longest wait of `Redeem`.
    pub call: Duration,
    /// How long calls in flight may take to finish once the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_each: 64,
            verifiers: 16_384,
            verifiers_each: 12_288,
            strangers: 64,
            stranger_life: Duration::from_secs(30),
            handshakes: 64,
            handshake: Duration::from_secs(5),
            idle: Duration::from_mins(1),
            ping_every: Duration::from_secs(20),
            ping_answer: Duration::from_secs(10),
            streams: 64,
            headers: 16 * 1024,
            call: Duration::from_secs(40),
            drain: Duration::from_secs(10),
        }
    }
}

/// Why the server could not start or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The descriptors of the API do not parse.
    #[error("the API's descriptors are damaged: this build is broken")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The daemon's certificate and key cannot be used.
    #[error("TLS could not be set up with the daemon's certificate and key")]
    Tls(#[from] rustls::Error),
    /// The transport failed.
    #[error("the gRPC server stopped")]
    Transport(#[from] tonic::transport::Error),
}

/// Health and reflection (v1, and v1alpha, which Python's tools ask for). The caller adds its services and reports
/// their health through the reporter.
pub fn routes() -> Result<(RoutesBuilder, HealthReporter), ServerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(super::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((routes, reporter))
}

/// A server that is ready to run.
pub struct Server {
    /// A bound socket.
    pub listener: TcpListener,
    /// See [`super::tls::server_config`].
    pub tls: Arc<ServerConfig>,
    /// What a peer may hold at most.
    pub limits: Limits,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
    /// What the charter of this moment knows of a key: decides only which places a connection takes.
    pub rank: Arc<dyn Fn(&Digest) -> Rank + Send + Sync>,
}

impl Server {
    /// Serves until `stop` resolves, then accepts nothing more, gives calls in flight [`Limits::drain`] to finish, cuts
    /// the rest, and returns. Streams that never end by themselves should watch the same signal and end.
    pub async fn serve(self, routes: Routes, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (cut, cut_seen) = watch::channel(false);
        let gate = Gate::new(self.tls, self.limits.clone(), self.rank, cut_seen);
        let stopping = Notify::new();
        let serving = tonic::transport::Server::builder()
            .max_concurrent_streams(self.limits.streams)
            .http2_keepalive_interval(Some(self.limits.ping_every))
            .http2_keepalive_timeout(Some(self.limits.ping_answer))
            .http2_max_header_list_size(self.limits.headers)
            .layer(CountLayer(self.metrics))
            .layer(TypedLayer::new(self.limits.call))
            .serve_with_incoming_shutdown(routes.prepare(), incoming(self.listener, gate), async {
                stop.await;
                stopping.notify_one();
            });
        let cutting = async {
            stopping.notified().await;
            tokio::time::sleep(self.limits.drain).await;
            cut.send_replace(true);
            // `serving` ends now that no connection is left.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = cutting => Ok(()),
        }
    }
}
