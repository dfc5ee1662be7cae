//! Listening: for proxies that ask (`auth`), and for operators who look (`control`).
//!
//! Invariants: both are bounded as the daemon's HTTP is (`http::connection`); every answer is made from memory, without
//! waiting for anybody; nothing reads a request's body.

mod auth;
mod control;
mod described;

use std::{io, sync::Arc, time::Duration};

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
    control: Listener,
}

impl Sockets {
    /// Binds what the configuration names.
    pub(super) async fn bind(gate: &Gate) -> io::Result<Self> {
        let named = |place: String| {
            move |error: io::Error| {
                io::Error::new(error.kind(), format!("{place} cannot be listened on: {error}"))
            }
        };
        let auth = match &gate.config.listen {
            None => None,
            Some(Listen::Tcp(address)) => {
                let bound = TcpListener::bind(address).await.map_err(named(address.to_string()))?;
                Some(Listener::Tcp(bound))
            }
            Some(Listen::Unix(path)) => {
                // What an earlier process left; a living one would have its socket taken, as systemd's restart wants it.
                let _ = std::fs::remove_file(path);
                let bound = UnixListener::bind(path).map_err(named(path.display().to_string()))?;
                Some(Listener::Unix(bound))
            }
        };
        let control = gate.config.control;
        let control = TcpListener::bind(control).await.map_err(named(control.to_string()))?;
        Ok(Self { auth, control: Listener::Tcp(control) })
    }

    /// Serves until `stop`.
    pub(super) async fn serve(self, gate: Arc<Gate>, stop: watch::Receiver<bool>) {
        let auth = async {
            if let Some(listener) = self.auth {
                let router = |peer| auth::router(&gate, peer);
                accept(listener, router, &AUTH, stop.clone()).await;
            }
        };
        let control = control::router(Arc::clone(&gate));
        let control = accept(self.control, |_| Some(control.clone()), &CONTROL, stop.clone());
        tokio::join!(auth, control);
    }
}
