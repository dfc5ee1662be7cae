//! Tunnels: a real gate in front of real servers, with the product's own client (`breakglass connect`) and without it.

mod abuse;
mod life;
pub mod psql;

use std::cell::Cell;

use breakglass::{
    client::tunnel::{Tunnel, TunnelError, Tunnels},
    grpc::tls::Identity,
    jose::{Digest, P256PublicKey},
};
use testkit::{free_port, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    client::{secret, wait},
    place::{Gate, Place, VERIFIER},
    world::DEADLINE,
};

/// What everybody asks for.
pub const RESOURCE: &str = "pg/prod/orders";

/// A gate with tunnels.
pub struct TunnelGate {
    pub gate: Gate,
    pub port: u16,
}

impl TunnelGate {
    /// Starts one that leads to `address`, and waits until it accepts. `more`: further lines of `[tunnel]`.
    pub fn start(place: &Place, address: &str, more: &str) -> Self {
        Self::with(place, address, more, |config| config)
    }

    pub fn with(place: &Place, address: &str, more: &str, change: impl Fn(String) -> String) -> Self {
        let port = Cell::new(0);
        let gate = place.gate(|config| {
            port.set(free_port());
            let tunnel = format!(
                r#"
[tunnel]
listen = "127.0.0.1:{}"
{more}

[[tunnel.to]]
resource = "{RESOURCE}"
type = "database"
action = "read"
address = "{address}"
protocol = "postgresql"

[[tunnel.to]]
resource = "pg/prod/down"
type = "database"
action = "read"
address = "127.0.0.1:1"
"#,
                port.get()
            );
            change(format!("tracing = \"json\"\n{config}{tunnel}"))
        });
        gate.ready();
        Self { gate, port: port.get() }
    }

    /// A client that shows this key of the kit.
    pub fn tunnels(&self, key: &str, resource: &str, token: &str) -> Tunnels {
        let identity = Identity::from_key(&secret(key), "a client", &[]).unwrap();
        self.tunnels_as(&identity, resource, token)
    }

    pub fn tunnels_as(&self, identity: &Identity, resource: &str, token: &str) -> Tunnels {
        Tunnels::new(&format!("127.0.0.1:{}", self.port), vec![Self::pin()], identity, resource, token)
            .unwrap()
    }

    /// What the gate is known by.
    pub fn pin() -> Digest {
        Digest::of(&P256PublicKey::try_from(&secret(VERIFIER).public_key()).unwrap().spki_der())
    }

    pub fn open(&self, key: &str, token: &str) -> Result<Tunnel, TunnelError> {
        wait(self.tunnels(key, RESOURCE, token).open())
    }

    /// Waits until as many connections are open.
    pub fn has_open(&self, count: u32) {
        wait_for(&format!("{count} open tunnels"), DEADLINE, || {
            (self.gate.metric("breakglass_gate_tunnels") == i64::from(count)).then_some(())
        });
    }

    /// The log line about the end of a connection, once it is there.
    pub fn ended(&self, reason: &str) -> serde_json::Value {
        wait_for(&format!("the log to say {reason}"), DEADLINE, || {
            self.gate.process.log().lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                let fields = line.get("fields").unwrap_or(&line);
                let message = fields["message"].as_str()?;
                (message.starts_with("tunnel.") && fields["reason"] == reason).then(|| fields.clone())
            })
        })
    }
}

/// Whatever connects gets back what it sends.
pub fn echo() -> String {
    let listener = wait(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    wait(async {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
    });
    address
}

/// Sends a word and waits for it to come back.
pub fn ping(tunnel: &mut Tunnel, word: &str) -> std::io::Result<()> {
    wait(async {
        let mut back = vec![0; word.len()];
        tunnel.write_all(word.as_bytes()).await?;
        tunnel.flush().await?;
        tunnel.read_exact(&mut back).await?;
        assert_eq!(back, word.as_bytes());
        Ok(())
    })
}

/// Waits until the tunnel is cut, which is no end: an error, or an end that TLS did not announce.
pub fn is_cut(tunnel: &mut Tunnel) {
    let read = wait(async {
        let mut rest = Vec::new();
        tokio::time::timeout(DEADLINE, tunnel.read_to_end(&mut rest)).await.unwrap()
    });
    assert!(read.is_err(), "it was closed as if the target had ended it");
}
