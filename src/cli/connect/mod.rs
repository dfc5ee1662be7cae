//! `breakglass connect`: a local port that leads, through a gate, to what an issued request gives access to.
//!
//! ```text
//! psql ──TCP──▶ 127.0.0.1:PORT ──TLS, the token──▶ breakglass-gate ──TCP──▶ PostgreSQL
//! ```
//!
//! Invariants: only this user's programs get through the local port; the token is on no disk and in no argument, and goes only
//! to a gate whose key the charter pins. `choose` says which request and which gate, `serve` listens, `local` says who it is
//! that connects.

mod choose;
mod local;
mod serve;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Session, clock, exit::Problem, id::IdArg, keyring::Keyring, redeem, setup::Setup, statement::FileKey,
    text,
};
use crate::{
    client::tunnel::{Open, Tunnels},
    domain::{
        detail::Word,
        grant::{Confirmation, Grant},
        id::RequestId,
    },
    grpc::tls::Identity,
};

/// How long an authorized request is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reach a database or host with an issued request, through a gate, on a local port
///
/// Finds your issued request that names the resource, redeems it, and listens on 127.0.0.1. Every connection there is
/// carried to the resource by breakglass-gate for as long as the token lives; a kill cuts it within seconds, and then
/// this command ends and says why. Programs of other users of this machine are not let through.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass connect postgres/prod/orders --gate gate.example:9444
  breakglass connect postgres/prod/orders --gate gate.example:9444 --local 5433
  psql -h 127.0.0.1 -p 5433 orders                                    (in another terminal)

It runs until you end it (Ctrl-C: exit code 0) or the access ends (1: killed or expired; the
message says which, and the gate's log has the same). With --json: one document per line, the
first when it listens, then one for each connection that ends.")]
pub(crate) struct Args {
    /// The resource, as the request names it among its locations
    #[arg(value_name = "RESOURCE", value_parser = |text: &str| Word::try_from(text.to_owned()))]
    resource: Word,
    /// The request, or the beginning of its id [default: your newest issued one that names the resource]
    #[arg(long, value_name = "ID")]
    request: Option<IdArg>,
    /// The port to listen on; 0 takes any free one, and says which
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    local: u16,
    /// Where the gate takes tunnels; whoever answers there has to have a key that the charter gives the verifier
    #[arg(long, value_name = "HOST:PORT")]
    gate: Option<String>,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let keyring = Keyring::new(&setup.config.state_dir);
    let daemon = setup.connect()?;
    let id = choose::request(args, &keyring, &daemon)?;
    let grant = keyring.grant(&id)?;
    let gate = choose::gate(args.gate.as_deref(), &setup.charter, &grant.aud)?;
    let identity = identity(&keyring, &id, &grant)?;
    let (token, accepted) = redeem::fetch(&setup, &daemon, id, PATIENCE)?;
    // The daemon may go away from here on.
    drop(daemon);
    let resource = args.resource.to_string();
    let tunnels = Tunnels::new(&gate.address, gate.pins, &identity, &resource, &token)?;
    drop(token);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("no runtime for the network could be started")?;
    let ended = runtime.block_on(async {
        let open = tunnels.ask().await.with_context(|| format!("there is no way to {resource}"))?;
        let listener = serve::Listener::bind(args.local).await?;
        let expires_at = accepted.claims.exp.min(open.expires_at);
        let told = json!({
            "event": "listening",
            "request_id": id,
            "resource": resource,
            "address": "127.0.0.1",
            "port": listener.port(),
            "protocol": open.protocol,
            "gate": gate.address,
            "expires_at": expires_at,
        });
        session.out.item(&told, || listening(&open, listener.port(), expires_at))?;
        serve::serve(listener, Arc::new(tunnels), &resource, expires_at, &mut session.out).await
    });
    // What is still open is cut; nothing waits for it.
    runtime.shutdown_background();
    ended
}

/// The certificate of the key that the token is bound to, made on the fly.
fn identity(keyring: &Keyring, id: &RequestId, grant: &Grant) -> Result<Identity> {
    if let Confirmation::Certificate(_) = grant.cnf {
        let message = format!("the token of {id} is bound to a client certificate that is not kept here");
        return Err(Problem::refused("BOUND_TO_CERTIFICATE", message).into());
    }
    let key = FileKey::read(&keyring.cnf_path(id))?;
    Identity::from_key(key.secret(), "breakglass connect", &[])
        .context("the key of the request cannot be used for TLS")
}

/// What is open, until when, and what to type next.
fn listening(open: &Open, port: u16, expires_at: i64) -> String {
    let next = match open.protocol.as_deref() {
        Some("postgresql") => format!("psql -h 127.0.0.1 -p {port}"),
        Some("ssh") => format!("ssh -p {port} 127.0.0.1"),
        _ => format!("point your program at 127.0.0.1 port {port}"),
    };
    format!(
        "{} is at 127.0.0.1 port {port} until {}\nNext, in another terminal:  {next}\nCtrl-C ends it.",
        open.resource,
        text::until(expires_at, clock::now()),
    )
}
