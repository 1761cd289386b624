//! Interim responses on HTTP/1.1 (RFC 9110 §15.2). Hyper's server writes none but `100 Continue`, so they are written beneath it:
//! only where it is certain that nothing of another response lies in between.

use std::cell::{Cell, RefCell};

use bytes::{Buf, BytesMut};
use gateway_http::interim::Interim;
use http::{HeaderMap, StatusCode};

/// What hyper writes by itself before a response.
const CONTINUE: usize = b"HTTP/1.1 100 Continue\r\n\r\n".len();
/// What may wait to be written. An upstream that sends more hints than the client takes has the rest dropped.
const MOST: usize = 16 * 1024;

/// Those of one client connection.
#[derive(Default)]
pub(super) struct Interims {
    waiting: RefCell<BytesMut>,
    is_waiting: Cell<bool>,
    /// All of the responses before this exchange's has been sent.
    may_begin: Cell<bool>,
    /// What hyper has written in this exchange.
    written: Cell<usize>,
}

impl Interims {
    /// An exchange begins; `clean` if nothing of the one before waits in hyper.
    pub(super) fn begin(&self, clean: bool) {
        self.may_begin.set(clean);
        self.written.set(0);
    }

    /// Hyper has written so much.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get().saturating_add(bytes));
    }

    /// Whether there is something to be written before hyper's next byte.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    /// Lets some of it be written.
    pub(super) fn write<T>(&self, write: impl FnOnce(&[u8]) -> (usize, T)) -> T {
        let mut waiting = self.waiting.borrow_mut();
        let (written, result) = write(&waiting);
        waiting.advance(written);
        self.is_waiting.set(!waiting.is_empty());
        result
    }
}

impl Interim for Interims {
    fn send(&self, status: StatusCode, fields: &HeaderMap) {
        // Nothing of the response has been written; or `100 Continue`, whole, which nothing else begins like that is written
        // before an exchange has its response.
        if !self.may_begin.get() || !matches!(self.written.get(), 0 | CONTINUE) {
            return;
        }
        let mut head =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default()).into_bytes();
        for (name, value) in fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + head.len() <= MOST {
            waiting.extend_from_slice(&head);
            self.is_waiting.set(true);
        }
    }
}
