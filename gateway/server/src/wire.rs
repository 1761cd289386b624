//! What lies between a socket and hyper: it notes when bytes move, so that time-outs know what they wait for,
//! it percent-encodes what hyper refuses in a request target (`http/target.rs`), and it rewrites the one kind of
//! response that hyper makes by itself, that to a request which it cannot parse, into the gateway's own form.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gateway_core::error::Failure;
use gateway_http::target::RequestLine;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{batch::Batch, state::ConnectionState};

/// How much is read at once of a request that ends a long silence.
const EARLY: usize = 1024;

/// How much is thrown away at a time.
const DISCARD: usize = 4096;

/// A socket, or TLS over one, as hyper sees it.
pub(super) struct Wire<S> {
    io: TokioIo<S>,
    state: Rc<ConnectionState>,
    /// What is written with what follows it.
    batch: Option<Batch>,
    /// What hyper reads before anything else.
    early: Bytes,
    request_line: RequestLine,
    /// Nothing has been read yet: what comes is a head, also where its first bytes have been looked at.
    unused: bool,
    /// A response of ours that is on its way out instead of hyper's.
    substitute: Option<Substitute>,
    /// Nothing more will be written.
    shut_down: bool,
}

struct Substitute {
    bytes: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(io: S, state: Rc<ConnectionState>) -> Self {
        Self {
            io: TokioIo::new(io),
            unused: !state.is_multiplexed(),
            state,
            batch: None,
            early: Bytes::new(),
            request_line: RequestLine::default(),
            substitute: None,
            shut_down: false,
        }
    }

    /// One on which many responses are written at a time.
    pub(super) fn batching(io: S, state: Rc<ConnectionState>) -> Self {
        Self { batch: Some(Batch::default()), ..Self::new(io, state) }
    }

    /// Ready when no interim response waits to be written any more, as nearly always at once.
    #[inline]
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.interims.is_waiting() { self.poll_waiting_interim(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_waiting_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.state.interims.is_waiting() {
            let io = Pin::new(&mut self.io);
            let written = ready!(self.state.interims.write(|bytes| match io.poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => (0, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => (written, Poll::Ready(Ok(()))),
                Poll::Ready(Err(error)) => (0, Poll::Ready(Err(error))),
                Poll::Pending => (0, Poll::Pending),
            }));
            written?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when nothing waits to be written any more, as always without a batch.
    #[inline]
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.is_some() { self.poll_waiting_batch(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_waiting_batch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(batch) = self.batch.as_mut().filter(|batch| !batch.is_empty()) else { return Poll::Ready(Ok(())) };
        let result = batch.poll_send(&mut self.io, cx);
        self.state.on_write(result.is_ready());
        ready!(result)?;
        self.state.on_flush();
        Poll::Ready(Ok(()))
    }

    /// Takes what is to be written into the batch, if there is one and it is not too much for that.
    fn poll_put(&mut self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let length = parts.iter().map(|part| part.len()).sum();
        if self.batch.as_ref().is_none_or(|batch| !batch.fits(length)) {
            ready!(self.poll_batch(cx))?;
        }
        Poll::Ready(Ok(match &mut self.batch {
            Some(batch) if batch.fits(length) => {
                batch.push(parts);
                Some(length)
            }
            _ => None,
        }))
    }

    /// Hyper, or h2, has tried to write.
    fn noted(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.state.on_write(result.is_ready());
        if let Poll::Ready(Ok(written)) = &result {
            self.state.interims.wrote(*written);
        }
        result
    }

    /// What is below, when HTTP is over, and what hyper has not read of what was taken from it.
    pub(super) fn into_inner(self) -> (S, Bytes) {
        (self.io.into_inner(), self.early)
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Puts back what hyper read and did not take; `false` if that is nothing.
    pub(super) fn unread(&mut self, bytes: Bytes) -> bool {
        // Bytes that are used up still keep the buffer that they were in.
        self.early = if bytes.is_empty() { Bytes::new() } else { bytes };
        !self.early.is_empty()
    }

    /// Waits for the beginning of a request, which hyper gets to read later. `false` if nothing more will come.
    pub(super) fn poll_awakened(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [MaybeUninit::uninit(); EARLY];
        let mut buf = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut self.io).poll_read(cx, buf.unfilled())) {
            Ok(()) if !buf.filled().is_empty() => {
                let encoded = self.request_line.read(buf.filled(), true);
                self.early = encoded.map_or_else(|| Bytes::copy_from_slice(buf.filled()), Bytes::from);
                self.state.on_read();
                Poll::Ready(true)
            }
            _ => Poll::Ready(false),
        }
    }

    /// Reads the beginning of a head, or more of its first line.
    fn poll_request_line(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        begins: bool,
    ) -> Poll<io::Result<()>> {
        // SAFETY: the memory is only written to, by way of `ReadBuf`, which never makes it uninitialised.
        let mut read = ReadBuf::uninit(unsafe { buf.as_mut() });
        ready!(Pin::new(&mut self.io).poll_read(cx, read.unfilled()))?;
        let length = read.filled().len();
        self.unused &= length == 0;
        match self.request_line.read(read.filled(), begins) {
            // SAFETY: so many bytes have just been read into it.
            None => unsafe { buf.advance(length) },
            Some(encoded) => {
                self.early = encoded.into();
                self.put_early(&mut buf);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn put_early(&mut self, buf: &mut ReadBufCursor<'_>) {
        let length = self.early.len().min(buf.remaining());
        let early = self.early.split_to(length);
        buf.put_slice(&early);
    }

    /// Takes what the client still sends, until it closes too. The connection's timer limits this.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); DISCARD];
        loop {
            let mut buf = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, buf.unfilled())) {
                Ok(()) if !buf.filled().is_empty() => {}
                // A reset is an end, too.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes a response of the gateway's own, once, however often it is polled.
    fn poll_problem(&mut self, failure: Failure, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &self.state;
        let substitute =
            self.substitute.get_or_insert_with(|| Substitute { bytes: state.problem(failure), written: 0 });
        while substitute.written < substitute.bytes.len() {
            let rest = &substitute.bytes[substitute.written..];
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            substitute.written += n;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.state.head_timed_out() {
            // Hyper has nothing of its own to write: it has had no request since its last response.
            ready!(self.poll_problem(Failure::HeadTimeout, cx))?;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !self.early.is_empty() {
            self.put_early(&mut buf);
            return Poll::Ready(Ok(()));
        }
        // Everyone has had a turn since it was put off.
        let (Poll::Pending | Poll::Ready(Ok(()))) = self.poll_batch(cx) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let begins = self.unused || self.state.expects_head();
        if begins || self.request_line.is_open() {
            ready!(self.poll_request_line(cx, buf, begins))?;
        } else {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        }
        self.state.on_read();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.state.between_exchanges() {
            ready!(self.poll_problem(failure_of(buf), cx))?;
            return Poll::Ready(Ok(buf.len()));
        }
        if self.batch.is_some()
            && let Some(taken) = ready!(self.poll_put(&[IoSlice::new(buf)], cx))?
        {
            return Poll::Ready(Ok(taken));
        }
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.state.between_exchanges() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            ready!(self.poll_problem(failure_of(first), cx))?;
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if self.batch.is_some()
            && let Some(taken) = ready!(self.poll_put(bufs, cx))?
        {
            return Poll::Ready(Ok(taken));
        }
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noted(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.as_mut().is_some_and(|batch| batch.put_off(cx)) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_batch(cx))?;
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.io).poll_flush(cx);
        // TLS takes more than it can send on: whether the client takes it shows only here.
        self.state.on_write(result.is_ready());
        ready!(result)?;
        self.state.on_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_batch(cx))?;
        if !self.shut_down {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut_down = true;
            self.state.last_words();
        }
        if self.state.leaves_unread() { self.poll_discard(cx) } else { Poll::Ready(Ok(())) }
    }
}

/// Hyper says why it refuses a head only by the status line of its own response.
fn failure_of(head: &[u8]) -> Failure {
    match head.get(9..12) {
        Some(b"414") => Failure::UriTooLong,
        Some(b"431") => Failure::HeadTooLarge,
        _ => Failure::MalformedRequest,
    }
}
