//! The operator's listener: is the process alive, does it want traffic, what does it count; and below `/api/v1` all that
//! an operator may look at or change.

mod access;
mod answer;
mod applying;
mod audit;
mod caches;
mod certificates;
mod configuration;
mod connections;
mod explain;
mod history;
mod logs;
mod page;
mod panel;
mod plugins;
mod purge;
mod router;
mod routes;
mod scrape;
mod stats;
mod tails;
mod upstreams;

use std::{convert::Infallible, io, net::SocketAddr, net::TcpListener as StdListener, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

pub(super) use access::Rules;
pub(super) use applying::{Applied, NotApplied, Terms};
pub(super) use history::Origin;
pub(super) use panel::Panel;

use access::Peer;
use connections::{Connections, Ending, Noting, Seat};

/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection may be used for so long; then it finishes the response under way, for which it has `HEAD_TIMEOUT`.
/// So none of the few connections is held for ever, not even by a client that reads nothing.
const LIFETIME: Duration = Duration::from_secs(300);

pub(super) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = StdListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves until the task is aborted. Must be called within a `LocalSet`.
pub(super) async fn serve(socket: StdListener, panel: Arc<Panel>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let connections = Connections::new();
    let router = router::router(panel.clone());
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator's connection");
                // Running out of descriptors passes, and is not to be asked for again and again meanwhile.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), panel.rules().tls.clone());
        let place = connections.enter();
        tokio::task::spawn_local(async move {
            let (seat, stream) = (place.seat(), place.noting(stream));
            let serving = async {
                match tls {
                    None => connection(stream, Peer::plain(address), seat, router).await,
                    Some(config) => secured(stream, address, seat, TlsAcceptor::from(config), router).await,
                }
            };
            let served = tokio::select! {
                served = serving => served,
                () = place.given_up() => Err("another one took its place".into()),
            };
            if let Err(error) = served {
                tracing::debug!(error = &*error, "operator's connection ended");
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
    seat: Arc<Seat>,
    acceptor: TlsAcceptor,
    router: Router,
) -> Ended {
    let stream = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await??;
    let peer = Peer::secured(address, stream.get_ref().1);
    connection(stream, peer, seat, router).await
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    seat: Arc<Seat>,
    router: Router,
) -> Ended {
    let service = service_fn(move |request: Request<Incoming>| {
        seat.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(seat.clone());
        let (router, seat) = (router.clone(), seat.clone());
        async move {
            let response = router.oneshot(request).await;
            response.map(|response| response.map(|body| Ending::new(body, seat))).map_err(|never: Infallible| never)
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    match tokio::time::timeout(LIFETIME, connection.as_mut()).await {
        Ok(served) => Ok(served?),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            Ok(tokio::time::timeout(HEAD_TIMEOUT, connection).await??)
        }
    }
}
