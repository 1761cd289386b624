//! Listening sockets: each worker has its own on the same address (`SO_REUSEPORT`), so that the kernel
//! spreads connections and workers share nothing.

use std::{io, net::SocketAddr, net::TcpListener as StdListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: usize = 4096;

/// The sockets of one address: for each worker, the ones that it accepts from.
pub type Shares = Vec<Vec<StdListener>>;

/// `count` sockets on one address. Port 0 is chosen by the system, the same for all.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Shares> {
    // With SO_REUSEPORT a second gateway would quietly take half of the connections: so the address must be
    // free for a socket without it, first.
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count).map(|_| listen(address).map(|socket| vec![socket])).collect()
}

/// Distributes sockets that another process opened over `count` workers.
///
/// Every socket is accepted from: each has a queue of its own in the kernel, and a connection in a queue from which
/// nobody accepts would wait until the client gives up. So with fewer workers than sockets some workers get several. With
/// more workers than sockets, further sockets are bound if the address was opened with `SO_REUSEPORT`; otherwise (a
/// service manager opens one socket without it) workers share a socket.
pub fn share(mut sockets: Vec<StdListener>, count: usize) -> io::Result<Shares> {
    let mut shares: Shares = (0..count).map(|_| Vec::new()).collect();
    let Some(first) = sockets.first() else { return Ok(shares) };
    let address = first.local_addr()?;
    if sockets.iter().all(|socket| SockRef::from(socket).reuse_port().unwrap_or(false)) {
        while sockets.len() < count {
            // Another user than the one that opened the others may not join them: then sockets are shared.
            let Ok(socket) = listen(address) else { break };
            sockets.push(socket);
        }
    }
    for index in sockets.len()..count {
        let copy = sockets[index % sockets.len()].try_clone()?;
        sockets.push(copy);
    }
    for (index, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        shares[index % count].push(socket);
    }
    Ok(shares)
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

    fn ports(shares: &Shares) -> Vec<u16> {
        shares.iter().flatten().map(|socket| socket.local_addr().unwrap().port()).collect()
    }

    #[test]
    fn workers_share_a_port_that_the_system_chose() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports = ports(&sockets);
        assert!(ports.len() == 3 && ports[0] != 0 && ports.iter().all(|&port| port == ports[0]));
    }

    #[test]
    fn an_address_in_use_is_an_error_even_where_ports_can_be_shared() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = bind(sockets[0][0].local_addr().unwrap(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn every_inherited_socket_has_a_worker_and_every_worker_a_socket() {
        for (inherited, workers) in [(2, 2), (4, 3), (1, 3)] {
            let before = bind("127.0.0.1:0".parse().unwrap(), inherited).unwrap();
            let port = ports(&before)[0];
            let shares = share(before.into_iter().flatten().collect(), workers).unwrap();
            assert_eq!(shares.len(), workers);
            assert!(shares.iter().all(|own| !own.is_empty()));
            assert_eq!(ports(&shares), vec![port; inherited.max(workers)]);
        }
    }

    #[test]
    fn a_socket_that_cannot_be_bound_again_is_shared() {
        let only = StdListener::bind("127.0.0.1:0").unwrap();
        let port = only.local_addr().unwrap().port();
        assert_eq!(ports(&share(vec![only], 3).unwrap()), [port; 3]);
    }
}
