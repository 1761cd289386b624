//! Accepting connections.

use std::{
    cell::RefCell,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use gateway_proxy::ListenerName;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::{
    connection, listener,
    server::{Beginning, Server},
};

/// After an accept that failed for want of something that connections in flight will free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket being served. What its connections begin with can change under way; dropping it stops
/// accepting.
pub struct Listening {
    listener: Rc<TcpListener>,
    server: Rc<Server>,
    beginning: Rc<RefCell<Beginning>>,
    name: ListenerName,
    task: AbortHandle,
}

impl Server {
    /// Accepts connections from now on, from a socket that is registered with the worker's event loop. Must be called within the
    /// worker's `LocalSet`.
    pub fn listen(self: &Rc<Self>, socket: TcpListener, beginning: Beginning) -> Listening {
        let listener = Rc::new(socket);
        let name = Rc::new(RefCell::new(beginning.listener.clone()));
        let beginning = Rc::new(RefCell::new(beginning));
        let accept = accept(self.clone(), listener.clone(), name.clone(), beginning.clone());
        let task = tokio::task::spawn_local(accept).abort_handle();
        Listening { listener, server: self.clone(), beginning, name, task }
    }
}

impl Listening {
    /// A copy of the socket: what is waiting in its queue can be accepted by either.
    pub fn socket(&self) -> std::io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// For the connections to come; the name also for those that are open.
    pub fn set_beginning(&self, beginning: Beginning) {
        *self.name.borrow_mut() = beginning.listener.clone();
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
                tokio::task::spawn_local(connection::serve(
                    self.server.arrive(),
                    stream,
                    peer,
                    self.name.clone(),
                    beginning,
                ));
            }
        }
    }
}

async fn accept(server: Rc<Server>, listener: Rc<TcpListener>, name: ListenerName, beginning: Rc<RefCell<Beginning>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let beginning = beginning.borrow().clone();
                tokio::task::spawn_local(connection::serve(server.arrive(), stream, peer, name.clone(), beginning));
            }
            Err(error) => {
                // A client that left between SYN and accept is nothing; running out of descriptors passes.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
