//! The `breakglass-gate` program.

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{Gate, config::GateConfig, serve::Sockets, tunnel};
use crate::{config::TracingFormat, grpc::tls::Identity, telemetry};

/// Lets emergency access pass beside an application, and stops it within seconds of a kill
///
/// A proxy asks the gate about every request. The gate verifies the token strictly (its quorum, its grant, its claims) by the
/// chain of charters from a pinned genesis, checks that it is in the hands it is bound to, that it allows this very action on
/// this very resource, and that nothing of it was killed. It believes no daemon, and refuses when it hears none.
#[derive(Debug, Parser)]
#[command(
    name = "breakglass-gate",
    version,
    max_term_width = 100,
    after_long_help = AFTER,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    /// The configuration (TOML)
    #[arg(long, short, default_value = "/etc/breakglass/gate.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration, the chain of charters and the key, and say what the gate would do
    Check {
        /// The configuration (TOML)
        config: PathBuf,
    },
    /// Carry database and host connections for breakglass connect, and do nothing else
    ///
    /// Serves [tunnel] and control of the configuration, and no proxies. Without this command, everything that the
    /// configuration names is served.
    Tunnel {
        /// The configuration (TOML)
        config: PathBuf,
    },
}

const AFTER: &str = "\
The configuration:
  name = \"orders-1\"                this process; several gates of a verifier may share its key
  audience = \"https://db.example\"  the only audience it serves
  genesis = \"...\"                  the digest of the first charter, read aloud at its ceremony
  charter = \"chain.json\"           from breakglass charter pull; it fetches newer versions itself
  state_dir = \"/var/lib/gate\"      the newest charter and the highest kill epoch it has seen
  key = \"gate.key.pem\"             of the charter's verifier; readable by the gate alone
  certificate = \"gate.cert.pem\"    both from breakglass key new
  max_stale = 10                    seconds without a word of a daemon, then it refuses; 60 at most
  listen = \"127.0.0.1:9400\"        where proxies ask (GET /auth), or \"unix:/run/gate.sock\"
  envoy = \"127.0.0.1:9402\"         where Envoy asks over gRPC (ext_authz)
  control = \"127.0.0.1:9401\"       /healthz /readyz /status /metrics; POST /kill

  [[daemons]]                       one or more; their keys are pinned by the charter
  address = \"https://127.0.0.1:8443\"

  [proxy]
  kind = \"nginx\"                   or traefik, caddy: which headers describe the request
  trusted = [\"127.0.0.1\", \"::1\"]  nobody else is answered
  # For tokens bound to certificates: how the proxy hands them on, pem, der or xfcc
  certificate = { header = \"X-Client-Cert\", format = \"pem\" }

  [[map]]                           which requests need what; the first that matches; else none
  methods = [\"GET\", \"HEAD\"]
  path = \"/orders/{table}\"         {name}: one segment; {name**} at the end: the rest
  type = \"database\"                type, action and location of authorization_details
  action = \"read\"
  resource = \"pg/prod/{table}\"

  [tunnel]                          for breakglass connect: TCP to databases and hosts
  listen = \"0.0.0.0:9444\"           TLS 1.3 with this gate's own key
  grace = 60                        seconds that open connections outlive a view that is stale
  connections = 256                 at once
  connections_each = 8              of one token

  [[tunnel.to]]
  resource = \"pg/prod/orders\"       as a request names it, and breakglass connect
  type = \"database\"                 what a token has to allow there
  action = \"read\"
  address = \"127.0.0.1:5432\"        or \"unix:/run/postgresql/.s.PGSQL.5432\"
  protocol = \"postgresql\"           or ssh: only for what people are told to type next

  [headers]                         what the application is told, X-Breakglass-... by default
  subject = \"X-Breakglass-Subject\"

nginx, for the configuration above:
  location /orders/ {
      auth_request /gate;
      auth_request_set $breakglass_subject $upstream_http_x_breakglass_subject;
      auth_request_set $breakglass_reason $upstream_http_x_breakglass_reason;
      # This also clears what the client sent under that name.
      proxy_set_header X-Breakglass-Subject $breakglass_subject;
      add_header X-Breakglass-Reason $breakglass_reason always;
      proxy_pass http://application;
  }
  location = /gate {
      internal;
      proxy_pass http://127.0.0.1:9400/auth;
      proxy_pass_request_body off;
      proxy_set_header Content-Length \"\";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Original-Host $http_host;
      proxy_set_header X-Original-Proto $scheme;
      # With ssl_verify_client optional_no_ca: the token says which certificate it is.
      proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
  }
Whatever identity headers the application reads, the proxy has to set or clear every one of them.";

/// How long the end of the program waits for threads that are still in a file.
const LAST_THREADS: Duration = Duration::from_secs(5);

/// Runs the program; the exit code is 0, 1 on an error, 2 on wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "breakglass-gate: {error}");
            for cause in error.chain().skip(1) {
                let _ = writeln!(stderr, "  because {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// A core dump would hold the verifier's key and tokens.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    forbid_core_dumps();
    if let Some(Command::Check { config }) = &arguments.command {
        let gate = open(GateConfig::load(config)?)?;
        let document = gate.view().known().charter.document().clone();
        let line = format!(
            "The configuration is in order: gate {} for {}, charter version {} of {} persons, {} rules, {} daemons",
            gate.config.name,
            gate.config.audience,
            document.version,
            document.persons.len(),
            gate.settings.map.0.len(),
            gate.config.daemons.len()
        );
        return Ok(writeln!(std::io::stdout().lock(), "{line}")?);
    }
    let config = match arguments.command {
        Some(Command::Tunnel { config }) => {
            let loaded = GateConfig::load(&config)?;
            anyhow::ensure!(loaded.tunnel.is_some(), "{} has no [tunnel]", config.display());
            GateConfig { listen: None, ..loaded }
        }
        _ => GateConfig::load(&arguments.config)?,
    };
    let format = match config.tracing {
        TracingFormat::Plain => telemetry::Format::Plain,
        TracingFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(format, &std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()))?;
    let gate = Arc::new(open(config)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(gate));
    runtime.shutdown_timeout(LAST_THREADS);
    served
}

/// Everything that can be wrong before serving.
fn open(config: GateConfig) -> anyhow::Result<Gate> {
    let identity = Identity::from_files(&config.certificate, config.private_key()?)?;
    let gate = Gate::open(config)?;
    let known = gate.view().known();
    let (charter, config) = (&known.charter, &gate.config);
    let verifier = charter.peer(&identity.spki()).and_then(|holder| {
        charter.document().verifiers.iter().find(|verifier| verifier.id == holder.principal)
    });
    let verifier = verifier.with_context(|| {
        let path = config.certificate.display();
        format!("the key of {path} is of no verifier in version {} of the charter: have it added to verifiers[].keys, or pull a newer charter", charter.document().version)
    })?;
    anyhow::ensure!(
        verifier.aud == config.audience,
        "the charter's verifier {} is for the audience {}, and the configuration says {}",
        verifier.id,
        verifier.aud,
        config.audience
    );
    anyhow::ensure!(
        config.development || !charter.document().development,
        "the charter is marked for development: say development = true if this gate is for tests"
    );
    Ok(gate)
}

/// Serves until SIGTERM or SIGINT.
async fn serve(gate: Arc<Gate>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sockets = Sockets::bind(&gate).await?;
    let tunnels = tunnel::Sockets::bind(&gate).await?;
    let stop = watch::Sender::new(false);
    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tracing::info!(name = %gate.config.name, audience = %gate.config.audience, "breakglass-gate serves; it refuses until it hears a daemon");
    tokio::select! {
        () = Arc::clone(&gate).follow() => {}
        () = async {
            let tunnels = async {
                if let Some(tunnels) = tunnels {
                    tunnels.serve(Arc::clone(&gate), stop.subscribe()).await;
                }
            };
            tokio::join!(sockets.serve(Arc::clone(&gate), stop.subscribe()), tunnels);
        } => {}
        () = stopping => {}
    }
    Ok(())
}
