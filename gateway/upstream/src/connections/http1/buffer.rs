//! What was read and not yet used. Reads are as large as they have turned out to be useful.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::connections::io::Io;

/// The least that is made room for at a time, and the most.
const LEAST: usize = 8 * 1024;
const MOST: usize = 128 * 1024;

pub(super) struct Buffer {
    bytes: BytesMut,
    /// So much has been searched for the end of a head.
    searched: usize,
    /// How much to make room for.
    size: usize,
    /// The last read filled little of that.
    small: bool,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), searched: 0, size: LEAST, small: false }
    }
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// A head with the empty line that ends it, if it is here.
    pub(super) fn take_head(&mut self) -> Option<Bytes> {
        let found = end_of_fields(&self.bytes, self.searched);
        // The line that ends it may have begun at the end of what is here.
        self.searched = if found.is_some() { 0 } else { self.bytes.len().saturating_sub(2) };
        found.map(|end| self.bytes.split_to(end).freeze())
    }

    /// Up to so many bytes of what is here.
    pub(super) fn take(&mut self, most: u64) -> Bytes {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.split_to(length).freeze()
    }

    /// Reads once; nothing at the end. `useful` is what is still expected, if that is known.
    pub(super) fn poll_read(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        useful: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        let useful = useful.and_then(|useful| usize::try_from(useful).ok()).unwrap_or(usize::MAX);
        let wanted = self.size.min(useful);
        let space = self.bytes.capacity() - self.bytes.len();
        if space == 0 || space < wanted / 4 {
            // Memory whose earlier parts have been let go of is used again.
            self.bytes.reserve(wanted);
        }
        let space = self.bytes.capacity() - self.bytes.len();
        let read = ready!(pin!(io.read_buf(&mut self.bytes)).poll(cx))?;
        self.learn(read, space);
        Poll::Ready(Ok(read))
    }

    fn learn(&mut self, read: usize, space: usize) {
        if read == space {
            self.size = (self.size * 2).min(MOST);
            self.small = false;
        } else if read < self.size / 4 {
            if self.small {
                self.size = (self.size / 2).max(LEAST);
            }
            self.small = !self.small;
        } else {
            self.small = false;
        }
    }
}

/// Where the empty line after a head or a trailer section ends, looking from `from` on. RFC 9112 §2.2 allows a bare LF.
pub(super) fn end_of_fields(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', bytes.get(at..)?) {
        at += found + 1;
        match bytes.get(at..) {
            Some([b'\n', ..]) => return Some(at + 1),
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_wherever_it_is_cut() {
        for head in [&b"HTTP/1.1 200 OK\r\na: 1\r\n\r\n"[..], b"HTTP/1.1 200 OK\na: 1\n\n"] {
            for cut in 0..head.len() {
                let mut buffer = Buffer::default();
                buffer.bytes.extend_from_slice(&head[..cut]);
                assert_eq!(buffer.take_head(), None, "{cut}");
                buffer.bytes.extend_from_slice(&head[cut..]);
                buffer.bytes.extend_from_slice(b"body");
                assert_eq!(buffer.take_head().as_deref(), Some(head), "{cut}");
                assert_eq!(&buffer.bytes[..], b"body");
            }
        }
    }

    #[test]
    fn room_grows_with_reads_that_fill_it_and_shrinks_after_two_that_do_not() {
        let mut buffer = Buffer::default();
        for size in [2, 4, 8, 16, 16] {
            buffer.learn(buffer.size, buffer.size);
            assert_eq!(buffer.size, size * LEAST);
        }
        buffer.learn(100, MOST);
        assert_eq!(buffer.size, MOST);
        buffer.learn(100, MOST);
        assert_eq!(buffer.size, MOST / 2);
        buffer.learn(100, MOST);
        buffer.learn(MOST / 4, MOST);
        buffer.learn(100, MOST);
        assert_eq!(buffer.size, MOST / 2, "two in a row");
        for _ in 0..20 {
            buffer.learn(1, MOST);
        }
        assert_eq!(buffer.size, LEAST);
    }
}
