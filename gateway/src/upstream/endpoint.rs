//! One endpoint and its unused connections.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use http::HeaderValue;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::{connect::Address, tls::ClientTls};
use crate::{config::model, http::body::Body};

pub(super) struct Endpoint {
    pub(super) address: Address,
    /// What `Host` names it by.
    pub(super) authority: HeaderValue,
    /// The longest unused in front.
    idle: RefCell<VecDeque<Idle>>,
    capacity: usize,
}

struct Idle {
    sender: SendRequest<Body>,
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
    pub(super) fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.borrow_mut();
        let mut index = idle.len();
        while index > 0 {
            index -= 1;
            if idle[index].sender.is_ready() {
                return idle.remove(index).map(|idle| idle.sender);
            }
            if idle[index].sender.is_closed() {
                idle.remove(index);
            }
            // Neither ready nor closed: its task has not yet seen the end of the last response.
        }
        None
    }

    pub(super) fn put_idle(&self, sender: SendRequest<Body>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.capacity {
            idle.pop_front();
        }
        if self.capacity > 0 {
            idle.push_back(Idle { sender, since: Instant::now() });
        }
    }

    pub(super) fn close_idle(&self, after: Duration) {
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < after && !idle.sender.is_closed());
    }
}
