//! Carrying bytes for as long as a token stands.
//!
//! Invariants: before each piece of work on the bytes it is asked whether the connection still may go on; when it may not, both
//! sides are dropped as they are. TLS is then not closed properly, by which the client knows a cut from an end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    sync::watch,
    time::sleep,
};

use super::{
    admit::{Session, Stream},
    arrive::stopped,
    standing::{Standing, Times},
};
use crate::{
    client::tunnel::BUFFER,
    domain::strict::Accepted,
    gate::{Gate, clock::Moment, decide::Refusal},
};

/// How a connection ended.
enum End {
    /// Both sides closed it.
    Closed,
    /// One of them broke it.
    Broken,
    /// It may not go on.
    Refused(Refusal),
    /// The gate stops.
    Stopping,
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Broken => "BROKEN",
            Self::Refused(refusal) => refusal.reason(),
            Self::Stopping => "GATE_STOPPING",
        }
    }
}

/// Carries one connection to its end, and says in the log how that came. `grace`: milliseconds.
pub(super) async fn carry(
    gate: &Arc<Gate>,
    grace: i64,
    client: impl Stream,
    session: Session,
    mut stop: watch::Receiver<bool>,
) {
    let Session { pass, resource, target, _place } = session;
    let claims = &pass.token.claims;
    let (jti, sub, incident) = (&claims.jti, &claims.sub, &claims.txn);
    tracing::info!(%jti, %sub, %incident, %resource, "tunnel.opened");
    gate.metrics.tunnel.opened();
    let (started, from) = (Instant::now(), Moment::now());
    let metrics = &gate.metrics.tunnel;
    let mut client = Counted { stream: client, read: 0, all: metrics.to_target() };
    let mut target = Counted { stream: target, read: 0, all: metrics.to_client() };
    let end = tokio::select! {
        biased;
        refusal = refused(gate, &pass.token, grace) => End::Refused(refusal),
        () = stopped(&mut stop) => End::Stopping,
        copied = copy_bidirectional_with_sizes(&mut client, &mut target, BUFFER, BUFFER) => match copied {
            Ok(_) => End::Closed,
            Err(_) => End::Broken,
        },
    };
    let (to_target, to_client) = (client.read, target.read);
    drop((client, target));
    let reason = end.reason();
    metrics.ended(reason);
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if matches!(end, End::Refused(_) | End::Stopping) {
        gate.tell_cut(&pass, from, reason);
    }
    match end {
        End::Refused(why) => {
            tracing::warn!(%jti, %sub, %incident, %resource, reason, %why, to_target, to_client, millis, "tunnel.cut");
        }
        _ => {
            tracing::info!(%jti, %sub, %incident, %resource, reason, to_target, to_client, millis, "tunnel.ended");
        }
    }
}

/// Waits until the token does not allow the connection any more.
async fn refused(gate: &Gate, token: &Accepted, grace: i64) -> Refusal {
    // Before the first look, so that no change falls between the two.
    let mut changes = gate.view.changes();
    let mut standing = Standing::default();
    let times =
        Times { max_stale: gate.settings.max_stale, grace, exp: token.claims.exp.saturating_mul(1000) };
    loop {
        changes.mark_unchanged();
        let (now, known) = (Moment::now(), gate.view.known());
        let (fresh, stands) = gate.halves(token, &known, grace, now);
        let heard = known.newest().and_then(|source| source.heard);
        let pause = match standing.judge(stands, fresh, heard, times, now) {
            Ok(pause) => pause,
            Err(refusal) => return refusal,
        };
        tokio::select! {
            told = changes.changed() => {
                if told.is_err() {
                    // Nobody tells this gate of kills any more.
                    return Refusal::Unheard;
                }
            }
            () = sleep(pause) => {}
        }
    }
}

/// Counts what is read, so that it is known however the connection ends.
struct Counted<S> {
    stream: S,
    read: u64,
    /// The same for all connections.
    all: Counter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before) as u64;
        self.read += read;
        self.all.inc_by(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
