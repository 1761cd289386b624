//! One client connection from its first byte to its last: TLS, the choice between HTTP/1.1 and HTTP/2, and
//! hyper under our own time-outs and drain.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Poll, ready},
    time::Duration,
};

use gateway_core::{error::Failure, model::ProxyHeaderMode};
use gateway_http::{from_client::FromClient, reply, secured::Secured};
use gateway_proxy as proxy;
use gateway_proxy::{Client, ListenerName};
use gateway_telemetry::metrics::ConnectionFailure;
use hyper::{Request, body::Incoming, rt::Write, server::conn::http1, service::service_fn};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    http2::Http2,
    proxy_header,
    rewind::Rewind,
    server::{Beginning, Open, Reachable, Server},
    state::{ConnectionState, Expired},
    tls::{self, Termination},
    tunnel,
    wire::Wire,
};

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So many fields hyper parses without allocating for it; fewer are counted when the request is admitted.
const FIELDS_INLINE: usize = 100;
/// What hyper reads of an HTTP/1.1 message at most before it is taken, if it is not told otherwise.
const READ_BUFFER: usize = 8192 + 4096 * 100;

/// Serves a connection until it ends. Whatever goes wrong on it concerns no other connection.
pub(super) async fn serve(
    open: Open,
    stream: TcpStream,
    peer: SocketAddr,
    listener: ListenerName,
    beginning: Beginning,
) {
    let server = open.server();
    let Beginning { proxy_protocol, tls, .. } = beginning;
    let site = server.worker.site();
    if site.metrics.connections() >= site.config.limits.connections as u64 {
        return refuse(&server, stream, peer, tls.is_some()).await;
    }
    let metrics = site.metrics.clone();
    let _open = metrics.connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection lost");
        return;
    }
    let timeouts = site.config.timeouts.clone();
    drop(site);
    let state = ConnectionState::new(server.clone(), listener, peer, timeouts.clone());
    let _registered = server.register(Rc::downgrade(&state) as Weak<dyn Reachable>);
    let stream = match proxy_protocol.filter(|proxy_protocol| proxy_protocol.trusts(peer.ip())) {
        None => Rewind::new(Vec::new(), stream),
        Some(proxy_protocol) => {
            match Box::pin(forwarded(stream, proxy_protocol.mode, timeouts.header_read, &state)).await {
                Ok(stream) => stream,
                Err(error) => {
                    metrics.connection_failed(ConnectionFailure::ProxyProtocol);
                    return tracing::debug!(%peer, error, "connection refused");
                }
            }
        }
    };
    let served = match tls {
        None => match sniff(stream, &state).await {
            Ok(Some((stream, true))) => Box::pin(serve_http2(stream, state, None)).await,
            Ok(Some((stream, false))) => Box::pin(serve_http1(stream, state, None)).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Some(termination) => match Box::pin(handshake(stream, &termination, timeouts.header_read, &state)).await {
            Ok(stream) => {
                let connection = stream.get_ref().1;
                let secured = Some(Rc::new(tls::secured(connection)));
                let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
                metrics.handshake(secured.as_ref().map_or("", |secured| secured.version), resumed);
                match connection.alpn_protocol() {
                    Some(b"h2") => Box::pin(serve_http2(stream, state, secured)).await,
                    _ => Box::pin(serve_http1(stream, state, secured)).await,
                }
            }
            Err((failure, error)) => {
                metrics.connection_failed(failure);
                Err(error)
            }
        },
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

type Served = Result<(), Error>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Reads what a load balancer says about the client, who is the peer from here on.
async fn forwarded(
    stream: TcpStream,
    mode: ProxyHeaderMode,
    header_timeout: Duration,
    state: &ConnectionState,
) -> Result<Rewind<TcpStream>, Error> {
    let header = tokio::time::timeout(header_timeout, proxy_header::read(stream, mode));
    match state.until_expired(header).await {
        Ok(Ok(read)) => {
            let (stream, client) = read?;
            if let Some(client) = client {
                state.peer.set(client);
            }
            Ok(stream)
        }
        Ok(Err(_)) | Err(_) => Err("no PROXY protocol header in time".into()),
    }
}

async fn handshake(
    stream: Rewind<TcpStream>,
    termination: &Termination,
    header_timeout: Duration,
    state: &ConnectionState,
) -> Result<TlsStream<Rewind<TcpStream>>, (ConnectionFailure, Error)> {
    let handshake = TlsAcceptor::from(termination.config.clone()).accept(stream);
    match state.until_expired(tokio::time::timeout(header_timeout, handshake)).await {
        Ok(Ok(Ok(stream))) => Ok(stream),
        Ok(Ok(Err(error))) => Err((tls::failure_of(&error), error.into())),
        Ok(Err(_)) | Err(_) => Err((ConnectionFailure::TlsHandshake, "no TLS handshake in time".into())),
    }
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes, which are kept for the parser.
/// `None` if they do not come.
async fn sniff(
    mut stream: Rewind<TcpStream>,
    state: &ConnectionState,
) -> io::Result<Option<(Rewind<TcpStream>, bool)>> {
    let mut start = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < PREFACE.len() && PREFACE.starts_with(&start[..filled]) {
        match state.until_expired(stream.read(&mut start[filled..])).await {
            Ok(read) => match read? {
                0 => break,
                n => {
                    filled += n;
                    state.on_read();
                }
            },
            Err(expired) => {
                let problem = || state.problem(Failure::HeadTimeout);
                if matches!(expired, Expired::Head) && stream.get_ref().try_write(&problem()).is_ok() {
                    stream.shutdown().await?;
                }
                return Ok(None);
            }
        }
    }
    let start = &start[..filled];
    stream.unread(start);
    Ok(Some((stream, start == PREFACE)))
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: Rc<ConnectionState>,
    secured: Option<Rc<Secured>>,
) -> Served {
    let limits = state.server.worker.site().config.limits.clone();
    let wire = Wire::new(stream, state.clone());
    let client = client(&state, secured);
    let service = service_fn({
        let state = state.clone();
        move |request: Request<Incoming>| {
            let (client, state) = (client.clone(), state.clone());
            // `handle` is called within, because its future is large and would be copied whole.
            async move {
                let mut response = proxy::handle(client, request.map(FromClient::http1)).await?;
                if let Some(tunnel) = response.body_mut().take_tunnel() {
                    state.switch(tunnel);
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut builder = http1::Builder::new();
    // The request line is part of what hyper counts.
    let head_bytes = limits.header_bytes + limits.uri_bytes;
    builder.max_header_size(head_bytes).max_buf_size(head_bytes.max(READ_BUFFER));
    if limits.header_count > FIELDS_INLINE {
        builder.max_headers(limits.header_count);
    }
    let mut wire = wire;
    loop {
        // Boxed, so that a connection that slumbers does not keep its place.
        let mut connection = Box::new(builder.serve_connection(wire, service.clone()));
        let served = drive(Pin::new(&mut *connection), http1::Connection::graceful_shutdown, &state).await;
        let tunnel = state.take_tunnel();
        let ended = served?;
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        wire = io;
        if let (Ended::Drowsy, None) = (ended, &tunnel) {
            // Given away before anything is waited for: it keeps a buffer of 16 KiB alive, although there is nothing in it.
            if wire.unread(read_buf) || slumber(&mut wire, &state).await {
                continue;
            }
        } else if let Some(tunnel) = tunnel {
            let (stream, early) = wire.into_inner();
            let read = if early.is_empty() { read_buf } else { [read_buf, early].concat().into() };
            Box::pin(tunnel::run(tunnel, stream, read, &state)).await;
            return Ok(());
        }
        end(wire, &state).await;
        return Ok(());
    }
}

/// Waits without hyper until the client asks again; `false` if that is over.
async fn slumber<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, state: &ConnectionState) -> bool {
    state.server.slumbered.set(true);
    std::future::poll_fn(|cx| {
        state.register(cx.waker());
        if let Poll::Ready(awakened) = wire.poll_awakened(cx) {
            return Poll::Ready(awakened);
        }
        // Its last request is long ago: that the next one comes just now is not to be expected.
        if state.server.is_draining() { Poll::Ready(false) } else { state.poll_expired(cx).map(|_| false) }
    })
    .await
}

/// Closes in good order what hyper left open: it does so where the client asked for another protocol, got an
/// ordinary response, and closes.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>, state: &ConnectionState) {
    if !wire.is_shut_down() && !state.is_closing() {
        state.last_words();
        let closed = std::future::poll_fn(|cx| Pin::new(&mut wire).poll_shutdown(cx));
        let _ = state.until_expired(closed).await;
    }
}

async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: Rc<ConnectionState>,
    secured: Option<Rc<Secured>>,
) -> Served {
    let limits = state.server.worker.site().config.limits.clone();
    state.set_multiplexed();
    let wire = Wire::batching(stream, state.clone());
    let client = client(&state, secured);
    drive(pin!(Http2::new(wire, &limits, state.clone(), client)), Http2::close, &state).await.map(drop)
}

/// Why hyper's side of a connection is over.
enum Ended {
    Closed,
    /// Nothing is under way, and has not been for a while.
    Drowsy,
}

/// Runs hyper's side of a connection until it ends, is silent for too long, or the gateway goes down. `close`
/// lets it finish what is under way and begin nothing.
async fn drive<C, E>(
    mut connection: Pin<&mut C>,
    close: impl Fn(Pin<&mut C>),
    state: &ConnectionState,
) -> Result<Ended, Error>
where
    C: Future<Output = Result<(), E>>,
    E: Into<Error>,
{
    let (mut draining, mut closing) = (false, false);
    std::future::poll_fn(|cx| {
        state.register(cx.waker());
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map(|()| Ended::Closed).map_err(Into::into));
            }
            // Only now: what the client had sent by then has been read, and is answered.
            if state.server.is_draining() && !draining {
                draining = true;
                state.begin_drain();
                // HTTP/1.1 cannot ask a client to stop, but for a response: the next one does, and if there is none, the timer closes.
                if state.is_multiplexed() && !closing {
                    closing = true;
                    close(connection.as_mut());
                    continue;
                }
            }
            match ready!(state.poll_expired(cx)) {
                Expired::Blocked => return Poll::Ready(Err("the client takes nothing".into())),
                // Once more: the wire answers 408 at hyper's next read.
                Expired::Head => {}
                Expired::Closed => return Poll::Ready(Ok(Ended::Closed)),
                Expired::Drowsy if !closing => return Poll::Ready(Ok(Ended::Drowsy)),
                Expired::Drowsy => {}
                Expired::Idle if closing => return Poll::Ready(Ok(Ended::Closed)),
                Expired::Idle => {
                    closing = true;
                    state.last_words();
                    close(connection.as_mut());
                }
            }
        }
    })
    .await
}

fn client(state: &Rc<ConnectionState>, secured: Option<Rc<Secured>>) -> Rc<Client> {
    let (worker, listener) = (state.server.worker.clone(), state.listener.clone());
    Rc::new(Client::new(worker, state.clone(), listener, state.peer.get().ip(), secured))
}

/// Over the limit of connections: one short answer, no reading, no waiting.
async fn refuse(server: &Server, mut stream: TcpStream, peer: SocketAddr, secure: bool) {
    tracing::debug!(%peer, "too many connections");
    let id = server.worker.request_ids.next();
    proxy::refused_by_parser(&server.worker, peer.ip(), Failure::TooManyConnections, &id);
    if !secure {
        // It fits into a new connection's send buffer; a client that does not take it has gone.
        if stream.try_write(&reply::problem_http1(Failure::TooManyConnections, &id)).is_ok() {
            let _ = stream.shutdown().await;
        }
    }
}
