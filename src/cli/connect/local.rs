//! Who connects to the local port.
//!
//! Anybody on a machine can connect to its loopback interface. Whoever does so here would use another person's access, so the
//! kernel is asked whose socket it is (`/proc/net/tcp`), and only this user and root, who could take the key anyway, get through.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

/// Whether the socket at the other end is this user's.
pub(super) fn is_own(from: SocketAddr, own: SocketAddr) -> bool {
    let (SocketAddr::V4(from), SocketAddr::V4(own)) = (from, own) else { return false };
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    owner(&table, from, own).is_some_and(|owner| owner == user || owner == 0)
}

/// The user of the socket that is connected from `local` to `remote`, by the kernel's table (proc(5)).
fn owner(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u32> {
    let (local, remote) = (hexadecimal(local), hexadecimal(remote));
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (here, there) = (fields.next()?, fields.next()?);
        if here != local || there != remote {
            return None;
        }
        // State, queues, timer, retransmissions, then the user.
        fields.nth(4)?.parse().ok()
    })
}

/// As the table writes it: the address as the machine keeps it, then the port.
fn hexadecimal(address: SocketAddrV4) -> String {
    let ip = |ip: &Ipv4Addr| u32::from_ne_bytes(ip.octets());
    format!("{:08X}:{:04X}", ip(address.ip()), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_belongs_to_the_user_that_the_kernel_names() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1538 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            \x20  1: 0100007F:C350 0100007F:1538 01 00000000:00000000 02:00000A1F 00000000  1000        0 2 1\n";
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if cfg!(target_endian = "little") {
            assert_eq!(owner(table, at(50_000), at(5_432)), Some(1_000));
            assert_eq!(owner(table, at(5_432), at(50_000)), Some(0));
            assert_eq!(owner(table, at(50_001), at(5_432)), None);
        }
    }

    #[test]
    fn an_own_socket_is_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (_stream, from) = listener.accept().unwrap();
        assert!(is_own(from, address));
        assert!(!is_own(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), address), "of nobody");
    }
}
