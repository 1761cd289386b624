//! Client connections of one worker: accepting, counting, draining.

mod batch;
mod connection;
mod frames;
mod http2;
mod interim;
pub mod listener;
mod proxy_header;
mod rewind;
mod state;
pub mod tls;
mod tunnel;
mod wire;

use std::{
    cell::{Cell, RefCell},
    os::fd::{AsFd, OwnedFd},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use gateway_core::model::ProxyProtocol;
use gateway_proxy::Worker;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::AbortHandle,
};

use state::ConnectionState;
use tls::Termination;

/// After an accept that failed for want of something that connections in flight will free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The serving side of one worker.
pub struct Server {
    pub worker: Rc<Worker>,
    connections: RefCell<Vec<Option<Weak<ConnectionState>>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    draining: Cell<bool>,
    /// Connections have given back their buffers since somebody last looked.
    slumbered: Cell<bool>,
    at_rest: Notify,
}

/// What connections to a listener begin with.
#[derive(Clone, Default)]
pub struct Beginning {
    pub proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub tls: Option<Arc<Termination>>,
}

/// A listening socket being served. What its connections begin with can change under way; dropping it stops
/// accepting.
pub struct Listening {
    listener: Rc<TcpListener>,
    server: Rc<Server>,
    beginning: Rc<RefCell<Beginning>>,
    task: AbortHandle,
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

    /// Accepts connections from now on, from a socket that is registered with the worker's event loop. Must be called within the
    /// worker's `LocalSet`.
    pub fn listen(self: &Rc<Self>, socket: TcpListener, beginning: Beginning) -> Listening {
        let listener = Rc::new(socket);
        let beginning = Rc::new(RefCell::new(beginning));
        let task = tokio::task::spawn_local(accept(self.clone(), listener.clone(), beginning.clone())).abort_handle();
        Listening { listener, server: self.clone(), beginning, task }
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
    fn arrive(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(self.clone())
    }

    fn register(self: &Rc<Self>, state: &Rc<ConnectionState>) -> Registered {
        let mut connections = self.connections.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        connections[index] = Some(Rc::downgrade(state));
        Registered { server: self.clone(), index }
    }
}

impl Listening {
    /// A copy of the socket: what is waiting in its queue can be accepted by either.
    pub fn socket(&self) -> std::io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// For the connections to come.
    pub fn set_beginning(&self, beginning: Beginning) {
        *self.beginning.borrow_mut() = beginning;
    }
}

impl Drop for Listening {
    /// Clients whose connections the kernel has set up already are served: closing the socket would reset them.
    fn drop(&mut self) {
        self.task.abort();
        let socket = SockRef::from(&*self.listener);
        // The socket does not block, so this ends when no client is waiting, and after a full backlog at the latest.
        for (stream, peer) in std::iter::from_fn(|| socket.accept().ok()).take(listener::BACKLOG) {
            let Some(peer) = peer.as_socket() else { continue };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream.into()));
            if let Ok(stream) = stream {
                let beginning = self.beginning.borrow().clone();
                tokio::task::spawn_local(connection::serve(self.server.arrive(), stream, peer, beginning));
            }
        }
    }
}

/// A connection that a drain waits for, from its acceptance on until this is dropped.
struct Open(Rc<Server>);

impl Open {
    fn server(&self) -> Rc<Server> {
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
struct Registered {
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

async fn accept(server: Rc<Server>, listener: Rc<TcpListener>, beginning: Rc<RefCell<Beginning>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let beginning = beginning.borrow().clone();
                tokio::task::spawn_local(connection::serve(server.arrive(), stream, peer, beginning));
            }
            Err(error) => {
                // A client that left between SYN and accept is nothing; running out of descriptors passes.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
