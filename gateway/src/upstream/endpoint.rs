//! One endpoint and its unused connections.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    connect::{Address, Connection},
    tls::ClientTls,
};
use crate::config::model;

pub(super) struct Endpoint {
    pub(super) address: Address,
    /// What `Host` names it by.
    pub(super) authority: HeaderValue,
    /// The longest unused in front.
    idle: RefCell<VecDeque<Idle>>,
    capacity: usize,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Endpoint {
    pub(super) fn new(endpoint: &model::Endpoint, upstream: &model::Upstream, tls: Option<&ClientTls>) -> Self {
        let authority = endpoint.url.authority().map_or("", |a| a.as_str());
        Self {
            address: Address::new(&endpoint.url, &upstream.tls, tls),
            // A URL's authority has no octet that a header value may not have.
            authority: HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("")),
            idle: RefCell::default(),
            capacity: upstream.idle_connections,
        }
    }

    pub(super) fn has_tls(&self, tls: Option<&ClientTls>) -> bool {
        match (self.address.tls(), tls) {
            (Some(mine), Some(theirs)) => mine.is_same(theirs),
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    /// A connection that can take a request at once: the one used last, since it is the least likely to be
    /// closed by the upstream meanwhile.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let mut index = idle.len();
        while index > 0 {
            index -= 1;
            if idle[index].connection.sender.is_ready() {
                return idle.remove(index).map(|idle| idle.connection);
            }
            if idle[index].connection.sender.is_closed() {
                idle.remove(index);
            }
            // Neither ready nor closed: its task has not yet seen the end of the last response, or the upstream
            // answered before it had the whole request, the rest of which is still on its way.
        }
        None
    }

    pub(super) fn put_idle(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.capacity {
            idle.pop_front();
        }
        if self.capacity > 0 {
            idle.push_back(Idle { connection, since: Instant::now() });
        }
    }

    pub(super) fn close_idle(&self, after: Duration) {
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < after && !idle.connection.sender.is_closed());
    }
}
