//! Listening: for proxies that ask (`auth` over HTTP, `envoy` over gRPC), and for operators who look (`control`).
//!
//! Invariants: both are bounded as the daemon's HTTP is (`http::connection`); every answer is made from memory, without
//! waiting for anybody; nothing but a kill has a body that is read.

mod auth;
mod control;
pub(super) mod described;
mod envoy;

use std::{io, os::unix::fs::FileTypeExt as _, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use super::{Gate, config::Listen};
use crate::http::connection::{Limits, Listener, accept};

/// A token of 8 kB, a certificate, a proof, and what proxies and browsers add.
const AUTH: Limits = Limits {
    connections: 1_024,
    head: Duration::from_secs(30),
    life: Duration::from_mins(10),
    drain: Duration::from_secs(5),
    head_bytes: 48 * 1024,
    fields: 128,
};

const CONTROL: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    life: Duration::from_mins(2),
    drain: Duration::from_secs(2),
    head_bytes: 16 * 1024,
    fields: 64,
};

/// The sockets of a gate, bound.
pub(super) struct Sockets {
    auth: Option<Listener>,
    envoy: Option<Listener>,
    control: Listener,
}

impl Sockets {
    /// Binds what the configuration names.
    pub(super) async fn bind(gate: &Gate) -> io::Result<Self> {
        let config = &gate.config;
        let auth = match &config.listen {
            Some(place) => Some(bind(place).await?),
            None => None,
        };
        let envoy = match &config.envoy {
            Some(place) => Some(bind(place).await?),
            None => None,
        };
        Ok(Self { auth, envoy, control: bind(&Listen::Tcp(config.control)).await? })
    }

    /// Serves until `stop`.
    pub(super) async fn serve(self, gate: Arc<Gate>, stop: watch::Receiver<bool>) {
        let auth = async {
            if let Some(listener) = self.auth {
                let router = |peer| auth::router(&gate, peer);
                accept(listener, router, &AUTH, stop.clone()).await;
            }
        };
        let envoy = async {
            if let Some(listener) = self.envoy
                && let Err(error) = envoy::serve(listener, Arc::clone(&gate), stop.clone()).await
            {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the gRPC server for Envoy stopped"
                );
            }
        };
        let control = control::router(Arc::clone(&gate));
        let control = accept(self.control, |_| Some(control.clone()), &CONTROL, stop.clone());
        tokio::join!(auth, envoy, control);
    }
}

async fn bind(place: &Listen) -> io::Result<Listener> {
    let named = |place: String, error: io::Error| {
        io::Error::new(error.kind(), format!("{place} cannot be listened on: {error}"))
    };
    match place {
        Listen::Tcp(address) => match TcpListener::bind(address).await {
            Ok(bound) => Ok(Listener::Tcp(bound)),
            Err(error) => Err(named(address.to_string(), error)),
        },
        Listen::Unix(path) => {
            // What an earlier process left; anything else of that name is not touched.
            let is_socket = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
            if is_socket {
                std::fs::remove_file(path)?;
            }
            UnixListener::bind(path)
                .map(Listener::Unix)
                .map_err(|error| named(path.display().to_string(), error))
        }
    }
}
