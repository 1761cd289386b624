//! Where a client connection is between its requests, and how long it may stay there.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use gateway_core::{error::Failure, model::Timeouts, timers::Timer};
use gateway_http::{interim::Interim, reply};
use gateway_proxy as proxy;
use gateway_proxy::{Delivery, Lifeline, ListenerName, Tunnel};

use super::{
    interim::Interims,
    server::{Reachable, Server},
};

/// A stream of HTTP/2, as the exchange on it has it.
pub(super) trait Delivering: Interim {
    /// By which the client has to take each part of the response.
    fn timer(&self) -> &Rc<Timer>;
}

/// Shared by a connection's task, its wire, and the exchanges on it; all on one worker.
pub(super) struct ConnectionState {
    pub(super) server: Rc<Server>,
    pub(super) listener: ListenerName,
    /// The client, where a PROXY protocol header says who that is.
    pub(super) peer: Cell<SocketAddr>,
    timeouts: Timeouts,
    timer: Timer,
    stage: Cell<Stage>,
    /// The timer is armed for less than `idle`.
    wakeful: Cell<bool>,
    /// Exchanges under way: at most one on HTTP/1.1.
    exchanges: Cell<usize>,
    /// The client takes nothing.
    blocked: Cell<bool>,
    /// It took nothing for too long.
    stalled: Cell<bool>,
    multiplexed: Cell<bool>,
    /// Part of what the client sends will not be read.
    unread: Cell<bool>,
    /// Nothing more will be said; only the end of the connection is awaited.
    closing: Cell<bool>,
    /// The client may still send when the gateway has closed: a request behind its last one, or frames of HTTP/2.
    lingers: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// What the connection becomes once hyper has no more to send.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// The HTTP/2 stream which is polled just now.
    stream: RefCell<Option<Rc<dyn Delivering>>>,
    /// What is written before a response of HTTP/1.1.
    pub(super) interims: Rc<Interims>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// All that was said has been sent; the client's turn.
    Idle,
    /// Part of a head has come.
    Head,
    /// A request is being answered.
    Exchange,
    /// The response is complete, but not all of it has been flushed.
    Flushing,
    /// The head did not come in time.
    HeadTimedOut,
}

/// After so long without a request hyper's buffers are given back: they are most of what a silent connection costs.
const WAKEFUL: Duration = Duration::from_secs(5);

/// How long a connection may take to close. In a drain also how long a client may take that has just connected or has just been
/// answered: it may be sending its next request, which would be lost if its connection were closed at once (RFC 9112 §9.5). That
/// request is answered with `Connection: close`. nginx has `keepalive_min_timeout` for this.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection that has been silent for too long deserves.
pub(super) enum Expired {
    /// Not for long enough to be closed: it can go on without buffers.
    Drowsy,
    /// Nothing was asked: it is closed without a word.
    Idle,
    /// Part of a head came: 408.
    Head,
    /// The client does not take its response.
    Blocked,
    /// The client had its moment to see that the connection is closing.
    Closed,
}

impl ConnectionState {
    pub(super) fn new(server: Rc<Server>, listener: ListenerName, peer: SocketAddr, timeouts: Timeouts) -> Rc<Self> {
        let timer = server.worker.timers.timer();
        timer.arm(timeouts.idle);
        Rc::new(Self {
            server,
            listener,
            peer: Cell::new(peer),
            timeouts,
            timer,
            stage: Cell::new(Stage::Idle),
            wakeful: Cell::new(false),
            exchanges: Cell::new(0),
            blocked: Cell::new(false),
            stalled: Cell::new(false),
            multiplexed: Cell::new(false),
            unread: Cell::new(false),
            closing: Cell::new(false),
            lingers: Cell::new(false),
            waker: RefCell::new(None),
            tunnel: RefCell::new(None),
            stream: RefCell::new(None),
            interims: Rc::default(),
        })
    }

    /// The connection speaks HTTP/2: hyper answers what it cannot parse with frames of its own.
    pub(super) fn set_multiplexed(&self) {
        self.multiplexed.set(true);
        self.rest();
    }

    pub(super) fn on_read(&self) {
        // After an early response, what comes is the rest of its request.
        let expects_head = self.stage.get() == Stage::Idle && !self.unread.get();
        if expects_head && !self.multiplexed.get() {
            self.stage.set(Stage::Head);
            self.time_stage();
        }
    }

    /// The client takes what it is sent, or for now it does not.
    pub(super) fn on_write(&self, progress: bool) {
        if progress {
            if self.blocked.replace(false) {
                self.time_stage();
            }
        } else if !self.blocked.replace(true) {
            self.timer.arm(self.timeouts.body);
        }
    }

    pub(super) fn on_flush(&self) {
        if self.stage.get() == Stage::Flushing {
            self.rest();
        }
    }

    fn rest(&self) {
        self.stage.set(Stage::Idle);
        if !self.blocked.get() {
            self.time_stage();
        }
    }

    /// Arms the timer for what is waited for, where it is not the client's taking.
    fn time_stage(&self) {
        match self.stage.get() {
            Stage::Idle if self.closing.get() || self.server.is_draining() => self.timer.arm(LINGER),
            Stage::Idle if self.multiplexed.get() || self.timeouts.idle <= WAKEFUL => {
                self.timer.arm(self.timeouts.idle)
            }
            Stage::Idle => {
                self.wakeful.set(true);
                self.timer.arm(WAKEFUL);
            }
            Stage::Head if self.server.is_draining() => self.timer.arm(self.timeouts.header_read.min(LINGER)),
            Stage::Head => self.timer.arm(self.timeouts.header_read),
            Stage::HeadTimedOut => self.timer.arm(LINGER),
            Stage::Exchange | Stage::Flushing => self.timer.disarm(),
        }
    }

    /// The server goes down: a client that has not sent a whole head is waited for only for `LINGER`.
    pub(super) fn begin_drain(&self) {
        if matches!(self.stage.get(), Stage::Idle | Stage::Head) && !self.blocked.get() {
            self.time_stage();
        }
    }

    /// When the gateway closes, what the client still sends is read until it closes too.
    pub(super) fn linger(&self) {
        self.lingers.set(true);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// Whether what the client sends now is the beginning of a head.
    pub(super) fn expects_head(&self) -> bool {
        matches!(self.stage.get(), Stage::Idle | Stage::Flushing) && !self.unread.get() && !self.multiplexed.get()
    }

    /// Whatever hyper writes now is a response that it made by itself.
    pub(super) fn between_exchanges(&self) -> bool {
        matches!(self.stage.get(), Stage::Idle | Stage::Head) && !self.multiplexed.get()
    }

    pub(super) fn head_timed_out(&self) -> bool {
        self.stage.get() == Stage::HeadTimedOut
    }

    /// Ready when the connection has been silent for too long.
    pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Expired> {
        self.timer.poll_expired(cx).map(|()| {
            self.timer.disarm();
            if self.closing.get() {
                return Expired::Closed;
            }
            if self.blocked.get() {
                self.stalled.set(true);
                return Expired::Blocked;
            }
            if self.stage.get() == Stage::Head {
                self.stage.set(Stage::HeadTimedOut);
                // The client may not take the answer either.
                self.timer.arm(LINGER);
                return Expired::Head;
            }
            // A drain has armed the timer for something else.
            if self.wakeful.replace(false) && self.stage.get() == Stage::Idle && !self.server.is_draining() {
                self.timer.arm(self.timeouts.idle - WAKEFUL);
                return Expired::Drowsy;
            }
            Expired::Idle
        })
    }

    /// The client gets a moment to see that the connection is closing.
    pub(super) fn last_words(&self) {
        if !self.closing.replace(true) {
            self.timer.arm(LINGER);
        }
    }

    /// Whether the client may still be sending what is not read. Closing then is a reset, which takes the response away
    /// from a client that has not read it yet (RFC 9112 §9.6).
    pub(super) fn leaves_unread(&self) -> bool {
        self.lingers.get() || self.unread.get() && !self.multiplexed.get()
    }

    /// Runs a future until it is done or the connection has been silent for too long, which in a drain is `LINGER`.
    pub(super) async fn until_expired<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            self.register(cx.waker());
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.server.is_draining() && !self.closing.replace(true) {
                self.timer.arm(LINGER);
            }
            self.poll_expired(cx).map(Err)
        })
        .await
    }

    /// A complete HTTP/1.1 response for a request that hyper or a time-out refused.
    pub(super) fn problem(&self, failure: Failure) -> Vec<u8> {
        self.unread.set(true);
        let id = self.server.worker.request_ids.next();
        proxy::refused_by_parser(&self.server.worker, self.peer.get().ip(), failure, &id);
        reply::problem_http1(failure, &id)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// An exchange that begins while this runs belongs to this stream.
    pub(super) fn during<T>(&self, stream: &Rc<impl Delivering + 'static>, poll: impl FnOnce() -> T) -> T {
        self.stream.replace(Some(stream.clone()));
        let result = poll();
        self.stream.take();
        result
    }

    /// The connection becomes the tunnel's when the head of the response has been sent.
    pub(super) fn switch(&self, tunnel: Box<Tunnel>) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    /// Lets `wake` reach the connection's task.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

impl Reachable for ConnectionState {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.borrow_mut().take()
    }
}

impl Lifeline for ConnectionState {
    /// Hyper has parsed a request.
    fn begin_exchange(&self) -> Delivery {
        self.exchanges.set(self.exchanges.get() + 1);
        let before = self.stage.replace(Stage::Exchange);
        self.unread.set(false);
        if !self.blocked.get() {
            self.timer.disarm();
        }
        match &*self.stream.borrow() {
            Some(stream) => Delivery { timer: Some(stream.timer().clone()), interim: stream.clone() },
            None => {
                self.interims.begin(before != Stage::Flushing);
                Delivery { timer: None, interim: self.interims.clone() }
            }
        }
    }

    /// Hyper has let go of a response's body.
    fn end_exchange(&self, request_is_whole: bool) {
        self.unread.set(!request_is_whole);
        if self.server.is_going_away() {
            // The response has said so, unless its head was sent before.
            self.lingers.set(true);
        }
        let left = self.exchanges.get().saturating_sub(1);
        self.exchanges.set(left);
        if left > 0 {
            return;
        }
        if self.multiplexed.get() { self.rest() } else { self.stage.set(Stage::Flushing) }
    }

    fn is_stalled(&self) -> bool {
        self.stalled.get()
    }
}
