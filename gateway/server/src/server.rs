//! What one worker knows of its client connections as a whole: how many are open, which a drain has to reach, whether it drains.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
};

use gateway_core::model::ProxyProtocol;
use gateway_proxy::{Tunnel, Worker};
use tokio::sync::Notify;

use super::tls::Termination;

/// The serving side of one worker.
pub struct Server {
    pub worker: Rc<Worker>,
    connections: RefCell<Vec<Option<Weak<dyn Reachable>>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    draining: Cell<bool>,
    /// Connections have released their buffers since the last check.
    pub(super) slumbered: Cell<bool>,
    at_rest: Notify,
}

/// A connection, as far as a drain has to reach it.
pub(super) trait Reachable {
    /// Its task looks at the state of the server.
    fn wake(&self);

    /// The tunnel that it was to become, if that has not begun.
    fn take_tunnel(&self) -> Option<Box<Tunnel>>;
}

/// What connections to a listener begin with.
#[derive(Clone, Default)]
pub struct Beginning {
    /// The listener's name.
    pub listener: Arc<str>,
    pub proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub tls: Option<Arc<Termination>>,
}

impl Server {
    pub fn new(worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            connections: RefCell::default(),
            free: RefCell::default(),
            open: Cell::new(0),
            draining: Cell::new(false),
            slumbered: Cell::new(false),
            at_rest: Notify::new(),
        })
    }

    /// Asks clients to leave, and serves them until they do: HTTP/1.1 responses carry `Connection: close`, HTTP/2 connections that
    /// have carried a request get a GOAWAY. New connections are served too.
    pub fn go_away(&self) {
        self.worker.go_away();
        self.wake_all();
    }

    /// The same, and closes connections that carry no request.
    pub fn drain(&self) {
        self.draining.set(true);
        self.go_away();
    }

    fn wake_all(&self) {
        let connections: Vec<_> = self.connections.borrow().iter().flatten().filter_map(Weak::upgrade).collect();
        connections.iter().for_each(|connection| connection.wake());
    }

    pub fn is_going_away(&self) -> bool {
        self.worker.is_going_away()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether connections have given back their buffers since the last time that this was asked.
    pub fn have_slumbered(&self) -> bool {
        self.slumbered.take()
    }

    /// Ends when no connection is open any more.
    pub async fn at_rest(&self) {
        while self.open.get() > 0 {
            self.at_rest.notified().await;
        }
    }

    /// A connection has been accepted.
    pub(super) fn arrive(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(self.clone())
    }

    /// A drain reaches this connection until what is returned is dropped.
    pub(super) fn register(self: &Rc<Self>, connection: Weak<dyn Reachable>) -> Registered {
        let mut connections = self.connections.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        connections[index] = Some(connection);
        Registered { server: self.clone(), index }
    }
}

/// A connection that a drain waits for, from its acceptance on until this is dropped.
pub(super) struct Open(Rc<Server>);

impl Open {
    pub(super) fn server(&self) -> Rc<Server> {
        self.0.clone()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let server = &self.0;
        server.open.set(server.open.get() - 1);
        if server.open.get() == 0 {
            server.at_rest.notify_waiters();
            server.at_rest.notify_one();
        }
    }
}

/// A connection's place in the list of those that a drain must reach.
pub(super) struct Registered {
    server: Rc<Server>,
    index: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let state = self.server.connections.borrow_mut()[self.index].take();
        // A tunnel that was not run would keep itself: its exchange knows the connection.
        drop(state.and_then(|state| state.upgrade()?.take_tunnel()));
        self.server.free.borrow_mut().push(self.index);
    }
}
