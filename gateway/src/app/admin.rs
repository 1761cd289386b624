//! The operator's listener: is the process alive, does it want traffic, what does it count.

use std::{
    convert::Infallible, io, net::SocketAddr, net::TcpListener as StdListener, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use super::purge::Order;
use crate::state::responses::Purge;

/// Operators are few: more connections than this wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection may be used for so long; then it finishes the response under way, for which it has `HEAD_TIMEOUT`.
/// So none of the few connections is held for ever, not even by a client that reads nothing.
const LIFETIME: Duration = Duration::from_secs(300);

/// What the pages say; asked at every request.
pub(super) trait Facts: Send + Sync + 'static {
    /// Whether new traffic is welcome: false before the first configuration is in force, and in a drain.
    fn is_ready(&self) -> bool;

    /// All metrics in the Prometheus text format, with its content type.
    fn metrics(&self) -> (String, &'static str);

    /// Forgets responses that plugins keep; says how many keys.
    fn purge(&self, bucket: &str, what: &Purge<'_>) -> usize;
}

pub(super) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = StdListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves until the task is aborted. Must be called within a `LocalSet`.
pub(super) async fn serve(socket: StdListener, facts: Arc<dyn Facts>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator's connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let facts = facts.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, peer, &*facts);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service)
            );
            let mut served = tokio::time::timeout(LIFETIME, connection.as_mut()).await;
            if served.is_err() {
                connection.as_mut().graceful_shutdown();
                served = tokio::time::timeout(HEAD_TIMEOUT, connection).await;
            }
            if let Ok(Err(error)) = served {
                tracing::debug!(%error, "operator's connection ended");
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, peer: SocketAddr, facts: &dyn Facts) -> Response<Full<Bytes>> {
    if request.method() == Method::DELETE
        && let Some(order) = Order::read(request.uri().path(), request.uri().query())
    {
        return purge(order, peer, facts);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD, and DELETE of /cache/BUCKET\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" if facts.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => {
            let (body, content_type) = facts.metrics();
            let mut response = Response::new(Full::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics, and DELETE of /cache/BUCKET\n"),
    }
}

/// Whoever may read the metrics need not be one who may change something: that is for this machine alone.
fn purge(order: Result<Order, &'static str>, peer: SocketAddr, facts: &dyn Facts) -> Response<Full<Bytes>> {
    let order = match order {
        _ if !peer.ip().to_canonical().is_loopback() => {
            return text(StatusCode::FORBIDDEN, "only from this machine: by its loopback address\n");
        }
        Err(expected) => return text(StatusCode::BAD_REQUEST, expected),
        Ok(order) => order,
    };
    let purged = facts.purge(&order.bucket, &order.what());
    tracing::info!(bucket = order.bucket, what = ?order.what(), purged, "responses were purged");
    let mut response = Response::new(Full::from(format!("{{\"purged\":{purged}}}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
