//! One accepted TLS connection: who it is, and the clocks that end it.
//!
//! HTTP/2 keepalive begins only after the client's preface, so a peer that finishes the handshake and then says
//! nothing would hold its place for ever. Every read therefore runs against an idle clock; keepalive pings keep a
//! live peer's connection away from it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::grpc::places::Place;
use crate::jose::Digest;

/// Who is at the other end of a connection; every request carries it in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// SHA-256 of the client certificate's `SubjectPublicKeyInfo`; `None` without a certificate. Whose key it is, is
    /// asked of the charter at every request, never remembered.
    pub key: Option<Digest>,
    /// Where the connection comes from.
    pub address: SocketAddr,
}

/// A future that resolves when the connection must end, whatever it is doing.
pub(super) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A TLS connection whose handshake is done.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    end: End,
    ended: bool,
    idle: Pin<Box<Sleep>>,
    idle_after: Duration,
    last_read: Instant,
    _place: Place,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        idle_after: Duration,
        end: End,
        place: Place,
    ) -> Self {
        let idle = Box::pin(tokio::time::sleep(idle_after));
        Self { stream, peer, end, ended: false, idle, idle_after, last_read: Instant::now(), _place: place }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.idle.as_mut().poll(cx).is_ready() {
            let due = self.last_read + self.idle_after;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.idle.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = self.end.as_mut().poll(cx).is_ready();
        }
        if self.ended {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server ended it")));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.last_read = Instant::now();
            return read;
        }
        self.poll_idle(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer said nothing")))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
