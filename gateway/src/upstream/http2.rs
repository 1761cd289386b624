//! HTTP/2 towards upstreams (RFC 9113): one connection carries many requests at a time.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, response::Parts};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::TokioIo;

use super::{
    http1::{Broken, Counted, MAX_HEAD},
    io::Io,
    pass::Open,
};
use crate::http::body::{Body, BodyError};

/// Requests at a time on one connection, where the upstream allows more.
const MOST_STREAMS: usize = 100;
/// What may be under way to us, of one response and of all on a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of a request's body, what the upstream has not yet taken.
const SEND_BUFFER: usize = 64 * 1024;
/// So many requests in a row given up without an answer, and the connection is taken to be dead: nobody else would notice that
/// before TCP does.
const UNANSWERED: u32 = 3;

/// A connection that requests share.
pub(super) struct Mux {
    sender: RefCell<SendRequest<Body>>,
    /// Requests under way.
    streams: Cell<usize>,
    /// How many the upstream takes at a time.
    most: Rc<Cell<usize>>,
    unanswered: Cell<u32>,
    /// For how many looks in a row it was unused.
    quiet: Cell<u64>,
    open: Rc<Open>,
}

/// A place for one request on a connection.
pub(super) struct Slot {
    mux: Rc<Mux>,
    /// A request went out, and nothing has come back.
    awaits: bool,
}

/// The rest of a response. Dropped before its end, it cancels the request (RFC 9113 §8.7).
pub(super) struct Stream {
    incoming: Incoming,
    _slot: Slot,
}

impl Mux {
    /// Speaks first: the preface and our settings. A task of this thread drives the connection until it closes.
    pub(super) async fn begin(io: Io, counted: Counted, open: Rc<Open>) -> io::Result<Rc<Self>> {
        let mut builder = Builder::new(Local);
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_max_send_streams(MOST_STREAMS)
            .max_send_buf_size(SEND_BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        let most = Rc::new(Cell::new(MOST_STREAMS));
        let allowed = most.clone();
        tokio::task::spawn_local(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = std::future::poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                allowed.set(connection.current_max_send_streams().min(MOST_STREAMS));
                ended
            });
            // What goes wrong also reaches the requests that were under way, which report it.
            if let Err(error) = ended.await {
                tracing::debug!(%error, "upstream connection ended");
            }
            drop(counted);
        });
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            most,
            unanswered: Cell::new(0),
            quiet: Cell::new(0),
            open,
        }))
    }

    /// Room for a request, if there is any.
    pub(super) fn slot(self: &Rc<Self>) -> Option<Slot> {
        if self.streams.get() >= self.most.get().max(1) || self.is_over() {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        Some(Slot { mux: self.clone(), awaits: false })
    }

    /// No further request will go on it. Those under way may end well.
    pub(super) fn is_over(&self) -> bool {
        self.unanswered.get() >= UNANSWERED || self.sender.borrow().is_closed()
    }

    /// A look at whether it is used: for how many looks in a row it was not.
    pub(super) fn look(&self) -> u64 {
        let quiet = if self.is_idle() { self.quiet.get() + 1 } else { 0 };
        self.quiet.set(quiet);
        quiet
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }
}

impl Slot {
    /// Sends a request and waits for the head of its response. The body is given back where nothing of it was sent.
    pub(super) async fn send(mut self, request: Request<Body>, unsent: &mut Body) -> Result<(Parts, Stream), Broken> {
        let response = self.mux.sender.borrow_mut().try_send_request(request);
        self.awaits = true;
        let response = response.await;
        self.awaits = false;
        match response {
            Ok(response) => {
                self.mux.unanswered.set(0);
                let (head, incoming) = response.into_parts();
                Ok((head, Stream { incoming, _slot: self }))
            }
            Err(mut error) => {
                let message = error.take_message();
                let error = error.into_error();
                if let Some(request) = message {
                    *unsent = request.into_body();
                    return Err(Broken::Unsent(io::Error::other(error)));
                }
                Err(broken(error, &self.mux))
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mux = &self.mux;
        if self.awaits {
            // Given up.
            mux.unanswered.set(mux.unanswered.get() + 1);
        }
        mux.streams.set(mux.streams.get() - 1);
        mux.quiet.set(0);
        mux.open.has_room();
    }
}

/// Why there is no response.
fn broken(error: hyper::Error, mux: &Mux) -> Broken {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let Some(cause) = cause else { return Broken::Closed(io::Error::other(error)) };
    if cause.is_reset() {
        // It spoke, if only to say no.
        mux.unanswered.set(0);
    }
    match cause.reason() {
        // RFC 9113 §8.7: nothing has been done for it, whatever its method.
        Some(h2::Reason::REFUSED_STREAM) => Broken::Unprocessed(io::Error::other(error)),
        // It goes away, and this one came after the last that it looks at (§6.8).
        Some(h2::Reason::NO_ERROR) if cause.is_go_away() && cause.is_remote() => {
            Broken::Unprocessed(io::Error::other(error))
        }
        Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR | h2::Reason::COMPRESSION_ERROR)
            if cause.is_library() =>
        {
            Broken::Malformed(cause.to_string())
        }
        _ => Broken::Closed(io::Error::other(error)),
    }
}

impl Stream {
    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            // Hyper takes RST_STREAM with NO_ERROR for an end; it is none if the upstream did not say END_STREAM.
            None if !self.incoming.is_end_stream() => Some(Err(BodyError::Withdrawn)),
            frame => frame.map(|frame| frame.map_err(BodyError::Interrupted)),
        })
    }
}

/// Everything of a worker stays on its thread.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        // It is large, and would be copied whole at each of the steps to a running task.
        let future = Box::pin(future);
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
