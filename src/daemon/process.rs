//! The process: no core dumps, log lines, and the last word on an error.

use std::io::Write as _;

use crate::{config::TracingFormat, telemetry};

/// A core dump would hold PINs and tokens.
pub(super) fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

/// Log lines go to standard error, filtered by `RUST_LOG` if that is set.
pub(super) fn start_tracing(format: TracingFormat, level: &str) -> anyhow::Result<()> {
    let format = match format {
        TracingFormat::Plain => telemetry::Format::Plain,
        TracingFormat::Json => telemetry::Format::Json,
    };
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    Ok(telemetry::init(format, &filter)?)
}

/// Says what happened, with all causes.
pub(super) fn print_error(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "breakglassd: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "  because {cause}");
    }
}

/// Tells systemd (`NOTIFY_SOCKET`, `sd_notify(3)`) how the service is doing; silently does nothing elsewhere.
#[cfg(unix)]
pub(super) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() else { return };
    let text = path.to_string_lossy();
    let sent = match text.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| socket.send_to_addr(state.as_bytes(), &address))
        }
        None => socket.send_to(state.as_bytes(), &path),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd could not be notified");
    }
}

/// A line for the person who ran the command.
pub(super) fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
