//! HTTP/2 towards upstreams (RFC 9113): one connection carries many requests at a time.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_http::{
    body::{Body, BodyError},
    resets::{Observed, Resets},
};
use http::{Request, response::Parts};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use super::{
    broken::{Broken, MAX_HEAD, Malformed},
    io::Io,
    permits::{Counted, Open},
};

/// Requests at a time on one connection, where the upstream allows more.
const MOST_STREAMS: usize = 100;
/// What may be under way to us, of one response and of all on a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of a request's body, what the upstream has not yet taken.
const SEND_BUFFER: usize = 64 * 1024;
/// Consecutive requests without a response after which the connection is considered down: nothing else
/// would detect that before TCP does.
const UNANSWERED: u32 = 3;
/// A client that leaves after this time has waited for long.
const LONG: Duration = Duration::from_secs(1);
/// How long an upstream may take no requests on a new connection.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
/// What was cancelled, and may still be on its way to us: so many streams for so long. What comes for one that h2 has forgotten
/// it takes for an error, and after so many of them over its life it ends the connection with all that is under way. Long before
/// that, another connection takes its place.
const RESET_STREAMS: usize = 4096;
const RESET_DURATION: Duration = Duration::from_secs(3);
const MOST_ERRORS: usize = 8 * 1024;
const RETIRED_AFTER: u32 = 1024;

/// A connection that requests share.
pub(crate) struct Mux {
    sender: RefCell<SendRequest<Body>>,
    /// Requests under way.
    streams: Cell<usize>,
    /// How many the upstream takes at a time, as of the last look.
    most: Rc<Cell<usize>>,
    /// Has it looked at again.
    look: Rc<Notify>,
    looked: Rc<Notify>,
    unanswered: Cell<u32>,
    /// The upstream has done something with a request on it.
    heard: Cell<bool>,
    /// For how many looks in a row it was unused.
    quiet: Cell<u64>,
    resets: Rc<Resets>,
    open: Rc<Open>,
}

/// Permission for one request on an HTTP/2 connection.
pub(crate) struct StreamPermit {
    mux: Rc<Mux>,
    /// A request went out then, when so much had been read, and nothing has come back.
    awaits: Option<(Instant, u32)>,
}

/// The rest of a response. Dropped before its end, it cancels the request (RFC 9113 §8.7).
pub(crate) struct Stream {
    incoming: Incoming,
    _slot: StreamPermit,
}

impl Mux {
    /// Speaks first: the preface and our settings. A task of this thread drives the connection until it closes.
    pub(crate) async fn begin(io: Io, counted: Counted, open: Rc<Open>) -> io::Result<Rc<Self>> {
        let mut builder = Builder::new(Local);
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_max_send_streams(MOST_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .reset_stream_duration(RESET_DURATION)
            .max_local_error_reset_streams(MOST_ERRORS);
        let resets = Resets::of_client();
        let io = TokioIo::new(Observed::new(io, resets.clone()));
        let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let most = Rc::new(Cell::new(MOST_STREAMS));
        let allowed = most.clone();
        let (look, looked) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let (asked, answered) = (look.clone(), looked.clone());
        tokio::task::spawn_local(async move {
            let mut connection = std::pin::pin!(connection);
            let mut look = std::pin::pin!(asked.notified());
            let ended = std::future::poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                allowed.set(connection.current_max_send_streams().min(MOST_STREAMS));
                while look.as_mut().poll(cx).is_ready() {
                    look.set(asked.notified());
                    answered.notify_waiters();
                }
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
            look,
            looked,
            unanswered: Cell::new(0),
            heard: Cell::new(false),
            quiet: Cell::new(0),
            resets,
            open,
        }))
    }

    /// Room for a request, if there is any.
    pub(crate) fn slot(self: &Rc<Self>) -> Option<StreamPermit> {
        if self.streams.get() >= self.most.get() || self.is_over() {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        Some(StreamPermit { mux: self.clone(), awaits: None })
    }

    /// No further request will go on it. Those in flight may end well.
    ///
    /// A connection is retired by refusing it further requests, never by closing it: it carries the requests of up to a hundred
    /// clients, and closing it for the sake of one fails all of them. It closes by itself with its last stream. There are three
    /// reasons to retire it.
    ///
    /// - It seems to be dead. HTTP/1.1 notices that by the time limit of a single request, which takes its connection with it. Here
    ///   the time limit only cancels a stream, the connection stays, and every following request would wait for its own time
    ///   limit. So requests that are given up are counted (`StreamPermit::drop`), but only if no byte has come for any stream meanwhile.
    ///   Without that condition one slow resource would retire a connection that works, and with a new handshake for each
    ///   retirement a slow upstream would get slower.
    /// - It approaches the number of stream errors after which h2 closes a connection with everything on it. Clients that cancel
    ///   cause such errors, so the number must not be reached: at `RETIRED_AFTER` a new connection takes over. It has to stay
    ///   well below `MOST_ERRORS`, since streams that are in flight at that moment can still add errors.
    /// - The upstream has sent GOAWAY or closed it.
    pub(crate) fn is_over(&self) -> bool {
        self.unanswered.get() >= UNANSWERED
            || self.resets.errors_sent() >= RETIRED_AFTER
            || self.sender.borrow().is_closed()
    }

    /// A look at whether it is used: for how many looks in a row it was not.
    pub(crate) fn look(&self) -> u64 {
        let quiet = if self.is_idle() { self.quiet.get() + 1 } else { 0 };
        self.quiet.set(quiet);
        quiet
    }

    fn has_been_heard(&self) {
        self.unanswered.set(0);
        self.heard.set(true);
    }

    /// Ends when a new connection is one that takes no requests at all (RFC 9113 §6.5.2 allows a server to say so for a short
    /// time). How many it takes is known only some time after the first request has been handed over.
    async fn takes_none(&self) {
        tokio::time::sleep(SETTINGS_TIMEOUT).await;
        // Hyper does not say by itself when that has changed.
        self.look.notify_one();
        self.looked.notified().await;
        if self.most.get() > 0 {
            // Should it take none later, this request is not one of those that wait.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }
}

impl StreamPermit {
    /// Sends a request and waits for the head of its response. The body is given back where nothing of it was sent.
    pub(crate) async fn send(mut self, request: Request<Body>, unsent: &mut Body) -> Result<(Parts, Stream), Broken> {
        let response = self.mux.sender.borrow_mut().try_send_request(request);
        self.awaits = Some((Instant::now(), self.mux.resets.reads()));
        let response = match self.mux.heard.get() {
            true => response.await,
            false => {
                tokio::select! {
                    biased;
                    response = response => response,
                    () = self.mux.takes_none() => {
                        // Nothing was sent, and will not be on this connection.
                        self.mux.unanswered.set(UNANSWERED);
                        return Err(Broken::Busy);
                    }
                }
            }
        };
        self.awaits = None;
        match response {
            Ok(response) => {
                self.mux.has_been_heard();
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

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mux = &self.mux;
        if let Some((since, reads)) = self.awaits {
            // Given up. That a client has left soon says nothing about the connection.
            let is_long = mux.open.timed_out.get() || since.elapsed() >= LONG;
            if is_long && mux.resets.reads() == reads {
                mux.unanswered.set(mux.unanswered.get() + 1);
            }
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
        mux.has_been_heard();
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
            Malformed::Http2(error).into()
        }
        _ => Broken::Closed(io::Error::other(error)),
    }
}

impl Stream {
    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            // Hyper takes RST_STREAM with NO_ERROR for an end; it is none if the upstream did not say END_STREAM.
            None if !self.incoming.is_end_stream() => Some(Err(BodyError::Withdrawn)),
            frame => frame.map(|frame| frame.map_err(|error| BodyError::Interrupted(error.into()))),
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
