//! One endpoint and its unused connections, for one worker.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    ops::Deref,
    rc::{Rc, Weak},
    sync::Arc,
};

use gateway_core::model;
use gateway_telemetry::metrics::EndpointMetrics;
use http::{HeaderValue, Uri};
use tokio::sync::Notify;

use crate::{
    cluster::{Host, HostHealth},
    connections::{
        connect::Address,
        http1::Connection,
        http2::{Mux, StreamPermit},
        incoming::Transport,
        permits::Open,
    },
};

pub(crate) struct Endpoint {
    pub(crate) url: Uri,
    pub(crate) address: Address,
    /// What `Host` names it by.
    pub(crate) authority: HeaderValue,
    pub(crate) health: Arc<HostHealth>,
    /// Also how many requests of this worker there are of which the response has not ended.
    pub(crate) metrics: Arc<EndpointMetrics>,
    /// The longest unused in front.
    idle: RefCell<VecDeque<Idle>>,
    /// Idle connections of one client each, with whom they belong to.
    private: RefCell<Vec<(Weak<Owner>, Idle)>>,
    /// Connections that requests share.
    shared: RefCell<Vec<Rc<Mux>>>,
    /// One more of them is being opened; waiters get the result.
    opening: Cell<bool>,
    opened: Notify,
    capacity: Cell<usize>,
    /// Of the whole upstream.
    open: Rc<Open>,
    /// How often idle connections were looked for, instead of a clock that each request would have to read.
    looks: Cell<u64>,
}

struct Idle {
    connection: Box<Connection>,
    /// The look for idle connections before which it was put here.
    since: u64,
}

impl Endpoint {
    pub(crate) fn new(
        upstream: &model::Upstream,
        host: &Host,
        address: Address,
        open: &Rc<Open>,
        metrics: Arc<EndpointMetrics>,
    ) -> Self {
        let url = upstream.endpoints[host.origin].url.clone();
        let authority = url.authority().map_or("", |a| a.as_str());
        Self {
            // A URL's authority has no byte that a header value may not have.
            authority: HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("")),
            url,
            address,
            health: host.health.clone(),
            metrics,
            idle: RefCell::default(),
            private: RefCell::default(),
            shared: RefCell::default(),
            opening: Cell::new(false),
            opened: Notify::new(),
            capacity: Cell::new(upstream.idle_connections),
            open: open.clone(),
            looks: Cell::new(0),
        }
    }

    /// What it is called, and where it is.
    pub(crate) fn name(&self) -> (String, SocketAddr) {
        (self.authority.to_str().unwrap_or_default().to_owned(), self.address.socket())
    }

    /// Whether its connections are those that one at this address would have.
    pub(crate) fn is_at(&self, address: &Address, health: &Arc<HostHealth>) -> bool {
        Arc::ptr_eq(&self.health, health) && self.address.is_same(address)
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.metrics.under_way() as u32
    }

    /// A connection for a request: the one used last, since it is the least likely to be closed by the upstream
    /// meanwhile. Whether it is shows when the request is sent.
    pub(crate) fn take_idle(&self) -> Option<Transport> {
        let mut shared = self.shared.borrow_mut();
        if !shared.is_empty() {
            shared.retain(|mux| !mux.is_over());
            if let Some(slot) = shared.iter().find_map(Mux::slot) {
                return Some(Transport::Http2(slot));
            }
        }
        self.idle.borrow_mut().pop_back().map(|idle| Transport::Http1(idle.connection))
    }

    /// A new connection, with a place on it for who opened it.
    pub(crate) fn share(&self, mux: Rc<Mux>) -> Option<StreamPermit> {
        let slot = mux.slot();
        self.shared.borrow_mut().push(mux);
        slot
    }

    /// When the opener has a connection, or has failed.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &str {
        self.url.scheme_str().unwrap_or("http")
    }

    pub(crate) fn put_idle(&self, connection: Box<Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.capacity.get()
            && let Some(longest) = idle.pop_front()
        {
            longest.connection.take_leave();
        }
        if self.capacity.get() > 0 {
            idle.push_back(Idle { connection, since: self.looks.get() });
            self.open.has_room();
        }
    }

    /// Whether there is a connection of this client.
    pub(crate) fn has_private(&self, owner: &Rc<Owner>) -> bool {
        self.private.borrow().iter().any(|(of, _)| std::ptr::eq(of.as_ptr(), Rc::as_ptr(owner)))
    }

    /// The connection of this client.
    pub(crate) fn take_private(&self, owner: &Rc<Owner>) -> Option<Box<Connection>> {
        let mut private = self.private.borrow_mut();
        let at = private.iter().position(|(of, _)| std::ptr::eq(of.as_ptr(), Rc::as_ptr(owner)))?;
        Some(private.swap_remove(at).1.connection)
    }

    /// A client has one at most, since it has one request at a time. Where no connections are kept, neither is this.
    pub(crate) fn put_private(&self, owner: &Rc<Owner>, connection: Box<Connection>) {
        if let Some(before) = self.take_private(owner) {
            before.take_leave();
        }
        if self.capacity.get() > 0 {
            let idle = Idle { connection, since: self.looks.get() };
            self.private.borrow_mut().push((Rc::downgrade(owner), idle));
            self.open.has_room();
        }
    }

    /// Closes the connections of clients that have gone.
    pub(crate) fn close_ownerless(&self) {
        let gone = self.private.borrow_mut().extract_if(.., |(owner, _)| owner.strong_count() == 0).collect::<Vec<_>>();
        for (_, idle) in gone {
            idle.connection.take_leave();
        }
    }

    /// Closes the private connection that was idle for longest, if there is one.
    pub(crate) fn close_longest_private(&self) -> bool {
        let mut private = self.private.borrow_mut();
        let longest = private.iter().enumerate().min_by_key(|(_, (_, idle))| idle.since).map(|(at, _)| at);
        let longest = longest.map(|at| private.swap_remove(at));
        drop(private);
        longest.map(|(_, idle)| idle.connection.take_leave()).is_some()
    }

    /// Closes what was unused for so many looks in a row, or was closed by the upstream. What stays gives back what
    /// it does not need at rest.
    pub(crate) fn close_idle(&self, looks: u64) {
        let now = self.looks.get() + 1;
        self.looks.set(now);
        self.shared.borrow_mut().retain(|mux| mux.look() <= looks && !mux.is_over());
        let rested = |mut idle: Idle| {
            if now - idle.since > looks {
                idle.connection.take_leave();
                return None;
            }
            (!idle.connection.is_closed()).then(|| {
                idle.connection.slumber();
                idle
            })
        };
        let all = std::mem::take(&mut *self.idle.borrow_mut());
        *self.idle.borrow_mut() = all.into_iter().filter_map(rested).collect();
        let all = std::mem::take(&mut *self.private.borrow_mut());
        *self.private.borrow_mut() = all.into_iter().filter_map(|(of, idle)| Some((of, rested(idle)?))).collect();
    }

    /// Closes the connection that was idle for longest, if there is one.
    pub(crate) fn close_longest_idle(&self) -> bool {
        let mut shared = self.shared.borrow_mut();
        if let Some(unused) = shared.iter().position(|mux| mux.is_idle()) {
            shared.swap_remove(unused);
            return true;
        }
        drop(shared);
        let longest = self.idle.borrow_mut().pop_front();
        longest.map(|idle| idle.connection.take_leave()).is_some() || self.close_longest_private()
    }

    /// A reload may allow more or fewer.
    pub(crate) fn keep_at_most(&self, capacity: usize) {
        self.capacity.set(capacity);
        let mut idle = self.idle.borrow_mut();
        let surplus = idle.len().saturating_sub(capacity);
        for idle in idle.drain(..surplus) {
            idle.connection.take_leave();
        }
    }
}

/// Who owns private connections, and which endpoints have one.
#[derive(Default)]
pub(crate) struct Owner(RefCell<Vec<Weak<Endpoint>>>);

impl Owner {
    /// For the client's next request to this endpoint.
    pub(crate) fn keep(self: &Rc<Self>, endpoint: &Rc<Endpoint>, connection: Box<Connection>) {
        let mut endpoints = self.0.borrow_mut();
        endpoints.retain(|known| known.strong_count() > 0);
        if !endpoints.iter().any(|known| std::ptr::eq(known.as_ptr(), Rc::as_ptr(endpoint))) {
            endpoints.push(Rc::downgrade(endpoint));
        }
        drop(endpoints);
        endpoint.put_private(self, connection);
    }
}

impl Drop for Owner {
    /// The client has gone, and so has what it was authenticated on.
    fn drop(&mut self) {
        for endpoint in self.0.take().iter().filter_map(Weak::upgrade) {
            endpoint.close_ownerless();
        }
    }
}

/// Leave to open a connection that others will share; until it is dropped, no other request opens one.
pub(crate) struct Opening(Rc<Endpoint>);

impl Opening {
    pub(crate) fn begin(endpoint: &Rc<Endpoint>) -> Option<Self> {
        (!endpoint.opening.replace(true)).then(|| Self(endpoint.clone()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

/// A request in flight at an endpoint, until dropped.
pub(crate) struct InFlight(Rc<Endpoint>);

impl InFlight {
    pub(crate) fn new(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.metrics.begin();
        Self(endpoint.clone())
    }

    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.0
    }
}

impl Deref for InFlight {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.end();
    }
}
