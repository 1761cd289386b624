//! The operator's listener: is the process alive, does it want traffic, what does it count; and below `/api/v1` all that
//! an operator may look at or change.

mod access;
mod api_result;
mod applying;
mod audit;
mod audit_log;
mod caches;
mod certificates;
mod configuration;
mod connections;
mod explain;
mod history;
mod logs;
mod operators;
mod page;
mod panel;
mod plugins;
mod purge;
mod router;
mod routes;
mod scrape;
mod stats;
mod tails;
mod unix_time;
mod upstreams;

use std::{convert::Infallible, io, net::SocketAddr, net::TcpListener as StdListener, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

pub(super) use applying::{Applied, ApplyOptions, NotApplied};
pub(super) use history::Origin;
pub(super) use operators::Rules;
pub(super) use panel::Panel;

use connections::{ConnectionState, Connections, Ending, Noting};
use operators::Peer;

/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection may be used for so long; then it finishes the response under way, for which it has `HEAD_TIMEOUT`.
/// So none of the few connections is held for ever, not even by a client that reads nothing.
const LIFETIME: Duration = Duration::from_secs(300);
/// When another process has taken over: for a request that the client may be sending on a connection that is at rest.
const LINGER: Duration = Duration::from_secs(2);

/// Says by its end, which is the sender's, that another process has taken over.
type Ends = watch::Receiver<()>;

pub(super) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = StdListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves until the sender of `ends` is dropped. From then on each response is the last one on its connection, and says so. Must be
/// called within a `LocalSet`.
pub(super) async fn serve(socket: StdListener, panel: Arc<Panel>, mut ends: Ends) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let connections = Connections::new();
    let router = router::router(panel.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ends.changed() => return Ok(()),
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an admin connection");
                // Running out of descriptors passes, and is not to be asked for again and again meanwhile.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), panel.rules().tls.clone());
        let (place, ends) = (connections.enter(), ends.clone());
        tokio::task::spawn_local(async move {
            let (state, stream) = (place.state(), place.noting(stream));
            let serving = async {
                match tls {
                    None => connection(stream, Peer::plain(address), state, router, ends).await,
                    Some(config) => secured(stream, address, state, TlsAcceptor::from(config), router, ends).await,
                }
            };
            let served = tokio::select! {
                served = serving => served,
                () = place.given_up() => Err("another one took its place".into()),
            };
            if let Err(error) = served {
                tracing::debug!(error = &*error, "admin connection ended");
            }
        });
        // Otherwise many that come at once would take each other's places before any of them was looked at.
        tokio::task::yield_now().await;
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

async fn secured(
    stream: Noting<TcpStream>,
    address: SocketAddr,
    state: Arc<ConnectionState>,
    acceptor: TlsAcceptor,
    router: Router,
    ends: Ends,
) -> Ended {
    let stream = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await??;
    let peer = Peer::secured(address, stream.get_ref().1);
    connection(stream, peer, state, router, ends).await
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    state: Arc<ConnectionState>,
    router: Router,
    mut ends: Ends,
) -> Ended {
    let ended = ends.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        state.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(state.clone());
        let (router, state, ended) = (router.clone(), state.clone(), ended.clone());
        async move {
            let mut response = router.oneshot(request).await?;
            // The sender is gone.
            if ended.has_changed().is_err() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Ending::new(body, state)))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(LIFETIME) => {}
            _ = ends.changed() => tokio::time::sleep(LINGER).await,
        }
    };
    tokio::select! {
        served = connection.as_mut() => return Ok(served?),
        () = over => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(tokio::time::timeout(HEAD_TIMEOUT, connection).await??)
}
