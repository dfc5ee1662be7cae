//! Free TCP ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

/// A port that was free a moment ago. Another process may take it in between: who starts a server should retry.
///
/// # Panics
/// If the loopback interface has no free port.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
