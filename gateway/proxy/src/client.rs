//! A client connection, as far as its exchanges care.

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

use gateway_core::model::Config;
use gateway_http::{cookies::Cookies, forwarded::Peer, secured::Secured};
use gateway_upstream::PrivateConnections;
use http::Version;

use super::{Lifeline, Worker};

/// The name of a listener in the newest configuration, for all its connections: those that were opened before a reload match
/// the routes that it brought, as new ones do.
pub type ListenerName = Rc<RefCell<Arc<str>>>;

/// Who is at the other end, for all exchanges of one connection.
pub struct Client {
    pub worker: Rc<Worker>,
    pub(super) lifeline: Rc<dyn Lifeline>,
    pub(super) listener: ListenerName,
    address: IpAddr,
    /// Present where the connection has TLS.
    pub(super) secured: Option<Rc<Secured>>,
    /// What the peer is to a configuration, since whom to trust can change under an open connection.
    peer: RefCell<Option<(Arc<Config>, Rc<Peer>)>>,
    pub(super) cookies: Cookies,
    /// Connections to upstreams on which it has authenticated itself.
    private: PrivateConnections,
}

impl Client {
    /// `secured` where the connection has TLS.
    pub fn new(
        worker: Rc<Worker>,
        lifeline: Rc<dyn Lifeline>,
        listener: ListenerName,
        address: IpAddr,
        secured: Option<Rc<Secured>>,
    ) -> Self {
        Self {
            worker,
            lifeline,
            listener,
            address,
            secured,
            peer: RefCell::new(None),
            cookies: Cookies::default(),
            private: PrivateConnections::default(),
        }
    }

    /// Where upstream connections can belong to it: if it is one user's, and has one request at a time. A trusted proxy may
    /// send many users' requests on one connection, and on HTTP/2 requests of a handshake could overtake each other.
    pub(super) fn private(&self, config: &Arc<Config>, version: Version) -> Option<&PrivateConnections> {
        (version <= Version::HTTP_11 && !self.peer(config).is_trusted()).then_some(&self.private)
    }

    pub(super) fn peer(&self, config: &Arc<Config>) -> Rc<Peer> {
        let mut known = self.peer.borrow_mut();
        match &*known {
            Some((of, peer)) if Arc::ptr_eq(of, config) => peer.clone(),
            _ => {
                let peer = Rc::new(Peer::new(self.address, self.secured.is_some(), &config.trusted_proxies));
                *known = Some((config.clone(), peer.clone()));
                peer
            }
        }
    }
}
