//! What is to be sent to one side. Whole frames are added to it, so those of several sources never mix.

use std::cell::{Cell, RefCell};

use aws_lc_rs::rand;
use bytes::{Bytes, BytesMut};
use gateway_proxy::{Close, Message};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use super::{encode, opcode};

/// A source waits while more than this has not been written.
const HIGH_WATER: usize = 64 * 1024;

/// The frames on their way to one side.
pub(super) struct Outlet {
    /// A server's frames are not masked, a client's are, each with a new key (RFC 6455 §5.3).
    masks: bool,
    waiting: RefCell<BytesMut>,
    /// Bytes that have not been written, including those that are being written.
    unwritten: Cell<usize>,
    /// A close frame is among them: no data follows it (RFC 6455 §5.5.1).
    is_closed: Cell<bool>,
    /// When all is written, the connection is shut down.
    ends: Cell<bool>,
    changed: Notify,
    has_room: Notify,
}

impl Outlet {
    pub(super) fn new(masks: bool) -> Self {
        Self {
            masks,
            waiting: RefCell::default(),
            unwritten: Cell::new(0),
            is_closed: Cell::new(false),
            ends: Cell::new(false),
            changed: Notify::new(),
            has_room: Notify::new(),
        }
    }

    /// Whether a close frame has been sent, or is going to be.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Sends a message when there is room for it. After a close frame it is dropped.
    pub(super) async fn send(&self, message: &Message) {
        let opcode = match message {
            Message::Text(_) => opcode::TEXT,
            Message::Binary(_) => opcode::BINARY,
        };
        self.send_frame(opcode, message.bytes()).await;
    }

    /// Sends a ping or a pong when there is room for it.
    pub(super) async fn send_frame(&self, opcode: u8, payload: &Bytes) {
        loop {
            let room = self.has_room.notified();
            if self.is_closed() || self.unwritten.get() < HIGH_WATER {
                return self.add(opcode, payload);
            }
            room.await;
        }
    }

    /// Sends a close frame, the first time.
    pub(super) fn close(&self, payload: &[u8]) {
        self.add(opcode::CLOSE, payload);
        self.is_closed.set(true);
        self.has_room.notify_waiters();
    }

    /// As a plugin, or the gateway, wants it.
    pub(super) fn close_with(&self, close: &Close) {
        let mut payload = close.code.to_be_bytes().to_vec();
        payload.extend_from_slice(close.reason.as_bytes());
        self.close(&payload);
    }

    /// Ends the connection when all is written.
    pub(super) fn end(&self) {
        self.ends.set(true);
        self.changed.notify_one();
    }

    fn add(&self, opcode: u8, payload: &[u8]) {
        if self.is_closed() {
            return;
        }
        let mask = self.masks.then(|| {
            let mut key = [0; 4];
            // It never fails: the library aborts if the system has no randomness.
            let _ = rand::fill(&mut key);
            key
        });
        let mut waiting = self.waiting.borrow_mut();
        let before = waiting.len();
        encode(opcode, payload, mask, &mut waiting);
        self.unwritten.set(self.unwritten.get() + waiting.len() - before);
        self.changed.notify_one();
    }

    /// Writes what is added until the connection ends. `wrote` gets the numbers of bytes.
    pub(super) async fn write(&self, mut to: impl AsyncWrite + Unpin, wrote: impl Fn(usize)) -> std::io::Result<()> {
        loop {
            let changed = self.changed.notified();
            let mut part = self.waiting.take();
            if part.is_empty() {
                if self.ends.get() {
                    return to.shutdown().await;
                }
                changed.await;
                continue;
            }
            while !part.is_empty() {
                let written = to.write_buf(&mut part).await?;
                if written == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                wrote(written);
                self.unwritten.set(self.unwritten.get() - written);
                if self.unwritten.get() < HIGH_WATER {
                    self.has_room.notify_waiters();
                }
            }
            to.flush().await?;
        }
    }
}
