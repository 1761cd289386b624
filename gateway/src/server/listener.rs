//! Listening sockets: each worker has its own on the same address (`SO_REUSEPORT`), so that the kernel
//! spreads connections and workers share nothing.

use std::{io, net::SocketAddr, net::TcpListener as StdListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: usize = 4096;

/// `count` sockets on one address. Port 0 is chosen by the system, the same for all.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    // With SO_REUSEPORT a second gateway would quietly take half of the connections: so the address must be
    // free for a socket without it, first.
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count).map(|_| listen(address)).collect()
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_that_the_system_chose() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|&port| port == ports[0]));
    }

    #[test]
    fn an_address_in_use_is_an_error_even_where_ports_can_be_shared() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = bind(sockets[0].local_addr().unwrap(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
