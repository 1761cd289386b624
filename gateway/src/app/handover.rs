//! Listening sockets that come from another process and go to another process, so that an address is never closed:
//! SIGUSR2 starts the program anew and hands the sockets over, as nginx does, and a service manager may have opened them
//! (sd_listen_fds(3)).
//!
//! The sockets are handed over, not opened a second time with `SO_REUSEPORT`: a connection waits in the queue of one
//! socket, and closing that socket would reset it. With the same sockets in both processes a connection is accepted by
//! whichever process asks for it, and none is lost when the old one closes its copies.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    io::Write as _,
    net::{SocketAddr, TcpListener as StdListener},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdStream,
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use socket2::SockRef;
use thiserror::Error;
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::snapshot::ListenerKey;

/// What a process tells the one that it starts: its own identifier, the descriptor that is written to when the new one
/// serves, and the sockets, each list with what it is for. `4711 12 admin=7 127.0.0.1:8080#0=8,9`
const VARIABLE: &str = "GATEWAY_HANDOVER";
/// The operator's listener, among the names of sockets.
const ADMIN: &str = "admin";
/// Written when the new process serves.
const READY: &[u8] = b"1";

/// Set by the service manager for the process that it started, and of no meaning for another one.
const OF_THE_MANAGER: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Sockets that were open when this process began, until a listener takes them.
#[derive(Default)]
pub(super) struct Inherited {
    listeners: HashMap<ListenerKey, Vec<StdListener>>,
    admin: Option<StdListener>,
    /// From a service manager, which knows addresses only.
    by_address: Vec<(SocketAddr, StdListener)>,
    ready: Option<StdStream>,
}

impl Inherited {
    /// What there is, the first time that a process asks; nothing where the environment is not ours to read.
    pub(super) fn take(is_the_process: bool) -> Self {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if !is_the_process || TAKEN.swap(true, Ordering::SeqCst) {
            return Self::default();
        }
        let mut inherited = Self::default();
        if let Some(text) = env::var(VARIABLE).ok().as_deref() {
            inherited.take_from_parent(text);
        }
        match sd_notify::listen_fds() {
            Ok(numbers) => {
                for socket in numbers.filter_map(socket) {
                    match socket.local_addr() {
                        Ok(address) => inherited.by_address.push((address, socket)),
                        Err(error) => tracing::warn!(%error, "an inherited socket has no address"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot use the sockets passed by the service manager"),
        }
        inherited
    }

    fn take_from_parent(&mut self, text: &str) {
        let mut parts = text.split(' ');
        let parent = parts.next().and_then(|text| text.parse().ok());
        // A variable that has travelled further than to the child of the process that set it names nothing of ours.
        if parent != rustix::process::getppid().map(|id| id.as_raw_nonzero().get()) {
            return;
        }
        self.ready = parts.next().and_then(|text| text.parse().ok()).and_then(open).map(StdStream::from);
        for (name, numbers) in parts.filter_map(|part| part.split_once('=')) {
            let mut sockets = numbers.split(',').filter_map(|number| socket(number.parse().ok()?));
            if name == ADMIN {
                self.admin = sockets.next();
            } else if let Some(key) = ListenerKey::parse(name) {
                self.listeners.insert(key, sockets.collect());
            }
        }
    }

    /// The sockets of a listener; none where it has to be bound.
    pub(super) fn listener(&mut self, key: ListenerKey) -> Vec<StdListener> {
        let mut sockets = self.listeners.remove(&key).unwrap_or_default();
        sockets.extend(self.at(key.address));
        sockets
    }

    /// The socket of the operator's listener.
    pub(super) fn admin(&mut self, address: SocketAddr) -> Option<StdListener> {
        let socket = self.admin.take().or_else(|| self.at(address).into_iter().next())?;
        let fits = socket.local_addr().is_ok_and(|own| own == address || address.port() == 0);
        (fits && socket.set_nonblocking(true).is_ok()).then_some(socket)
    }

    fn at(&mut self, address: SocketAddr) -> Vec<StdListener> {
        let (here, elsewhere) = self.by_address.drain(..).partition(|(own, _)| *own == address);
        self.by_address = elsewhere;
        let here: Vec<_> = here;
        here.into_iter().map(|(_, socket)| socket).collect()
    }

    /// Everything is served: the process before need not serve any more. Sockets that nothing took are closed.
    pub(super) fn serving(mut self) {
        let left = self.listeners.drain().flat_map(|(key, sockets)| sockets.into_iter().map(move |_| key.address));
        for address in left.chain(self.by_address.drain(..).map(|(address, _)| address)) {
            tracing::warn!("closing an inherited socket: no configured listener uses {address}");
        }
        if let Some(mut ready) = self.ready.take()
            && let Err(error) = ready.write_all(READY)
        {
            tracing::warn!(%error, "the previous process has exited");
        }
    }
}

/// A listening socket that this process was started with.
fn socket(number: RawFd) -> Option<StdListener> {
    let socket = StdListener::from(open(number)?);
    if !SockRef::from(&socket).is_listener().unwrap_or(false) {
        tracing::warn!("the inherited file descriptor {number} is not a listening socket");
        return None;
    }
    Some(socket)
}

/// A file descriptor that this process was started with. It is not passed on by itself.
fn open(number: RawFd) -> Option<OwnedFd> {
    if number <= io::stderr().as_raw_fd() || fs::symlink_metadata(format!("/dev/fd/{number}")).is_err() {
        tracing::warn!("the inherited file descriptor {number} is not open");
        return None;
    }
    // SAFETY: it is open, and the process that started this one opened it for the purpose that it says. Nothing else in
    // this process owns it: `Inherited::take` comes here once, for numbers that are different by contract, and what this
    // process has opened itself was given other numbers.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}

/// Sockets that another process shall have.
#[derive(Default)]
pub(super) struct Outgoing {
    admin: Option<OwnedFd>,
    listeners: HashMap<ListenerKey, Vec<OwnedFd>>,
}

impl Outgoing {
    pub(super) fn admin(&mut self, socket: impl AsFd) -> io::Result<()> {
        self.admin = Some(inheritable(socket)?);
        Ok(())
    }

    pub(super) fn listener(&mut self, key: ListenerKey, socket: impl AsFd) -> io::Result<()> {
        self.listeners.entry(key).or_default().push(inheritable(socket)?);
        Ok(())
    }

    fn describe(&self, ready: &OwnedFd) -> String {
        let mut text = format!("{} {}", std::process::id(), ready.as_raw_fd());
        // Writing to a String cannot fail.
        if let Some(admin) = &self.admin {
            let _ = write!(text, " {ADMIN}={}", admin.as_raw_fd());
        }
        for (key, sockets) in &self.listeners {
            let numbers: Vec<_> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
            let _ = write!(text, " {key}={}", numbers.join(","));
        }
        text
    }
}

/// A copy that a child process gets; this process closes it when the child has begun.
fn inheritable(socket: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::dup(socket)?)
}

/// A new process that was started to take this one's place. Dropping it ends that process.
pub(super) struct Upgrade {
    child: Option<Child>,
    ready: UnixStream,
}

/// Why the new process does not serve.
#[derive(Debug, Error)]
pub(super) enum NotUpgraded {
    #[error("it has ended")]
    Ended,
    #[error("{0}")]
    Exited(ExitStatus),
    #[error(transparent)]
    Unknown(io::Error),
}

impl Upgrade {
    /// Starts the program that this process was started with, as it is on disk now, with the same arguments.
    pub(super) fn start(sockets: &Outgoing) -> io::Result<Self> {
        let mut arguments = env::args_os();
        let program: OsString = arguments.next().ok_or_else(|| io::Error::other("the program has no name"))?;
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = inheritable(&theirs)?;
        let mut command = Command::new(program);
        command.args(arguments).env(VARIABLE, sockets.describe(&theirs)).stdin(Stdio::null());
        for name in OF_THE_MANAGER {
            command.env_remove(name);
        }
        Ok(Self { child: Some(command.spawn()?), ready: UnixStream::from_std(ours)? })
    }

    /// The new process's identifier, when it serves everything; or why it does not. Can be cancelled and called again.
    pub(super) async fn done(&mut self) -> Result<u32, NotUpgraded> {
        let read = self.ready.read(&mut [0]).await;
        let Some(mut child) = self.child.take() else { return Err(NotUpgraded::Ended) };
        match read {
            Ok(1..) => Ok(child.id()),
            _ => {
                // It has closed its end, and so it has ended or will serve nothing.
                let _ = child.kill();
                let status = tokio::task::spawn_blocking(move || child.wait()).await;
                let status = status.map_err(io::Error::from).flatten();
                Err(status.map_or_else(NotUpgraded::Unknown, NotUpgraded::Exited))
            }
        }
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_described_by_what_it_is_for() {
        let socket = StdListener::bind("127.0.0.1:0").unwrap();
        let key = ListenerKey::parse("[::1]:8443#1").unwrap();
        assert_eq!(key.to_string(), "[::1]:8443#1");
        let mut outgoing = Outgoing::default();
        outgoing.admin(&socket).unwrap();
        outgoing.listener(key, &socket).unwrap();
        outgoing.listener(key, &socket).unwrap();
        let ready = inheritable(&socket).unwrap();
        let numbers: Vec<RawFd> = outgoing.listeners[&key].iter().map(AsRawFd::as_raw_fd).collect();
        let admin = outgoing.admin.as_ref().unwrap().as_raw_fd();
        let (parent, ready_number) = (std::process::id(), ready.as_raw_fd());
        let expected = format!("{parent} {ready_number} admin={admin} [::1]:8443#1={},{}", numbers[0], numbers[1]);
        assert_eq!(outgoing.describe(&ready), expected);
    }

    #[test]
    fn a_variable_from_another_process_than_the_parent_names_nothing() {
        let mut inherited = Inherited::default();
        inherited.take_from_parent("1 3 admin=4 127.0.0.1:80#0=5");
        assert!(inherited.ready.is_none() && inherited.admin.is_none() && inherited.listeners.is_empty());
    }
}
