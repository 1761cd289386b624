//! The operators' connections, of which there are few: a client that sends nothing, or that takes nothing, does not keep
//! others waiting.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep},
};

/// When there are so many, a new one takes the place of another.
const MAX_CONNECTIONS: usize = 64;
/// A client that takes nothing for so long is not waited for.
const STALL: Duration = Duration::from_secs(30);

/// All connections that are open.
pub(super) struct Connections {
    began: Instant,
    states: Mutex<Vec<Arc<ConnectionState>>>,
}

/// One of them.
pub(super) struct ConnectionState {
    /// When a byte moved last, in milliseconds.
    moved: AtomicU64,
    doing: AtomicU8,
    given_up: Notify,
}

/// What a connection is about, the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// No request is under way: its head is not there yet.
    Nothing = 0,
    /// A request that is not authenticated yet.
    Anything = 1,
    /// A request of an operator.
    Operating = 2,
}

impl Connections {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), states: Mutex::default() })
    }

    /// A place for a new connection. If there is none left, the least important one that has waited longest loses its own.
    pub(super) fn enter(self: &Arc<Self>) -> ConnectionSlot {
        let now = self.now();
        let state = Arc::new(ConnectionState {
            moved: AtomicU64::new(now),
            doing: AtomicU8::default(),
            given_up: Notify::new(),
        });
        let mut states = self.states();
        if states.len() >= MAX_CONNECTIONS {
            let rank = |state: &ConnectionState| (state.doing.load(Relaxed), state.moved.load(Relaxed));
            if let Some((at, _)) = states.iter().enumerate().min_by_key(|(_, state)| rank(state)) {
                states.remove(at).given_up.notify_one();
            }
        }
        states.push(state.clone());
        ConnectionSlot { state, connections: self.clone() }
    }

    fn states(&self) -> MutexGuard<'_, Vec<Arc<ConnectionState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// A connection's place, until it is dropped.
pub(super) struct ConnectionSlot {
    state: Arc<ConnectionState>,
    connections: Arc<Connections>,
}

impl ConnectionSlot {
    pub(super) fn state(&self) -> Arc<ConnectionState> {
        self.state.clone()
    }

    /// Ends when another connection has taken the place.
    pub(super) async fn given_up(&self) {
        self.state.given_up.notified().await;
    }

    /// The connection's stream, whose progress is noted.
    pub(super) fn noting<S>(&self, stream: S) -> Noting<S> {
        Noting { stream, state: self.state.clone(), connections: self.connections.clone(), stalled: None }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.states().retain(|state| !Arc::ptr_eq(state, &self.state));
    }
}

impl ConnectionState {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.doing.store(Doing::Anything as u8, Relaxed);
    }

    /// It is an operator's.
    pub(super) fn known(&self) {
        self.doing.store(Doing::Operating as u8, Relaxed);
    }
}

/// A response's body. With its end the request is over.
pub(super) struct Ending<B> {
    body: B,
    state: Arc<ConnectionState>,
}

impl<B> Ending<B> {
    pub(super) fn new(body: B, state: Arc<ConnectionState>) -> Self {
        Self { body, state }
    }
}

impl<B> Drop for Ending<B> {
    fn drop(&mut self) {
        self.state.doing.store(Doing::Nothing as u8, Relaxed);
    }
}

impl<B: Body + Unpin> Body for Ending<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails when the client takes nothing for `STALL`.
pub(super) struct Noting<S> {
    stream: S,
    state: Arc<ConnectionState>,
    connections: Arc<Connections>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Noting<S> {
    fn moved(&mut self) {
        self.stalled = None;
        self.state.moved.store(self.connections.now(), Relaxed);
    }

    /// What is written cannot go on.
    fn stalls<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.state.moved.store(self.connections.now(), Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.moved();
                Poll::Ready(written)
            }
            Poll::Pending => self.stalls(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_place_of_the_least_important_one_that_waited_longest_is_taken() {
        let connections = Connections::new();
        let mut places = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            places.push(connections.enter());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        places[0].state.begin();
        places[1].state.known();
        // The one of a request that is over is as good as any.
        places[2].state.begin();
        drop(Ending::new((), places[2].state()));
        let _noting = places[3].noting(());
        places[3].state.moved.store(connections.now(), Relaxed);
        let _new = [connections.enter(), connections.enter()];
        for (at, given_up) in [(0, false), (1, false), (2, true), (3, false), (4, true), (5, false)] {
            let soon = tokio::time::timeout(Duration::ZERO, places[at].given_up()).await;
            assert_eq!(soon.is_ok(), given_up, "{at}");
        }
        assert_eq!(connections.states().len(), MAX_CONNECTIONS);
        drop(places);
        assert_eq!(connections.states().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_not_waited_for() {
        use tokio::io::AsyncWriteExt;
        let place = Connections::new().enter();
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut noting = place.noting(ours);
        noting.write_all(b"12345678").await.unwrap();
        assert_eq!(noting.write_all(b"9").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
