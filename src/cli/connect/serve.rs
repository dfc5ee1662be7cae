//! The local port: takes connections, carries each through a tunnel of its own, and ends when the access does.
//!
//! Invariant: a connection that the gate cut is reset, not closed: no program takes half of an answer for the whole.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::local;
use crate::{
    cli::{clock, exit::Problem, output::Out, text},
    client::tunnel::{TunnelError, Tunnels, carry},
};

/// Local connections at once; the gate has a limit of its own.
const MAX_OPEN: usize = 64;
/// How long after the token's end, by this clock, the gate may take to cut what is open, by its own.
const LAST_CUT: i64 = 65;
/// When the nearing end is said aloud, in seconds before it.
const WARNING: i64 = 60;
/// Pause after an accept that failed for want of something.
const PAUSE: Duration = Duration::from_millis(50);

/// The local port, open.
pub(super) struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on the loopback interface alone.
    pub(super) async fn bind(port: u16) -> Result<Self> {
        let place = || format!("127.0.0.1 port {port} cannot be listened on; --local 0 takes a free one");
        let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(place)?;
        let address = inner.local_addr().with_context(place)?;
        Ok(Self { inner, address })
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// How a connection ended.
enum Ended {
    /// One of the two programs ended it.
    Closed,
    /// It broke, and the gate would open another.
    Broke,
    /// The gate did not open it, or cut it, and says why; or the gate is gone.
    Cut(TunnelError),
}

/// Serves until the person ends it, or the access ends: that is an error with the gate's reason.
pub(super) async fn serve(
    listener: Listener,
    tunnels: Arc<Tunnels>,
    resource: &str,
    expires_at: i64,
    out: &mut Out,
) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut open = JoinSet::new();
    let mut warned = false;
    loop {
        let left = expires_at.saturating_sub(clock::now());
        if left <= 0 && (open.is_empty() || left < -LAST_CUT) {
            return Err(expired(resource, expires_at));
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            Some(ended) = open.join_next() => {
                let Ok(ended) = ended else { continue };
                tell(&ended, resource, out)?;
                if let Ended::Cut(error) = ended && error.is_final() {
                    return Err(over(error, resource));
                }
            }
            accepted = listener.inner.accept(), if left > 0 && open.len() < MAX_OPEN => {
                let Ok((stream, from)) = accepted else {
                    sleep(PAUSE).await;
                    continue;
                };
                if local::is_own(from, listener.address) {
                    open.spawn(convey(Arc::clone(&tunnels), stream));
                } else {
                    out.say("A program of another user of this machine was refused.")?;
                }
            }
            _ = second.tick() => {
                countdown(left, open.len(), &mut warned, out)?;
            }
        }
    }
}

/// Carries one connection.
async fn convey(tunnels: Arc<Tunnels>, mut local: TcpStream) -> Ended {
    let _ = local.set_nodelay(true);
    let mut tunnel = match tunnels.open().await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            let _ = local.set_zero_linger();
            return Ended::Cut(error);
        }
    };
    if carry(&mut local, &mut tunnel).await.is_ok() {
        return Ended::Closed;
    }
    // Its program sees a broken connection, at once.
    let _ = local.set_zero_linger();
    drop(local);
    tunnels.ask().await.map_or_else(Ended::Cut, |_| Ended::Broke)
}

fn tell(ended: &Ended, resource: &str, out: &mut Out) -> Result<()> {
    let (reason, message) = match ended {
        Ended::Closed => ("CLOSED", "it was closed".to_owned()),
        Ended::Broke => ("BROKEN", "it broke; connect again".to_owned()),
        Ended::Cut(error) => (error.reason(), text::safe(&error.to_string())),
    };
    if !out.is_json() && matches!(ended, Ended::Closed) {
        return Ok(());
    }
    let at = clock::now();
    let event = json!({ "event": "ended", "resource": resource, "reason": text::safe(reason), "at": at });
    out.item(&event, || format!("{}  A connection ended: {message}", text::instant(at)))
}

/// Calmly: one line that is written over at a terminal, and one warning everywhere.
fn countdown(left: i64, open: usize, warned: &mut bool, out: &mut Out) -> Result<()> {
    let connections = match open {
        0 => "no connection".to_owned(),
        1 => "1 connection".to_owned(),
        more => format!("{more} connections"),
    };
    out.progress(&format!("{} left, {connections}          ", text::duration(left)))?;
    if left <= WARNING && !*warned {
        *warned = true;
        out.say(format!(
            "{} left. To go on after that, ask for new access: breakglass request",
            text::duration(left)
        ))?;
    }
    Ok(())
}

fn expired(resource: &str, expires_at: i64) -> anyhow::Error {
    let message = format!("the access to {resource} ended with its token, at {}", text::instant(expires_at));
    Problem::refused("TOKEN_EXPIRED", message).into()
}

fn over(error: TunnelError, resource: &str) -> anyhow::Error {
    let at = text::instant(clock::now());
    anyhow::Error::new(error).context(format!("the access to {resource} has ended, at {at}"))
}
