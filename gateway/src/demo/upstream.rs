//! The services behind the demo.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

/// What is read of a body.
const MAX_BODY: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the shop takes for a page of its catalogue.
const SLOW_PAGE: Duration = Duration::from_millis(300);
/// An unstable service works, then fails for the rest of the period.
const PERIOD: Duration = Duration::from_secs(40);
const WORKS: Duration = Duration::from_secs(25);

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It responds with what it received.
    Echo,
    /// A shop with a slow catalogue.
    Shop,
    /// Its next version.
    Canary,
    /// The next version on a machine that fails for 15 of 40 seconds.
    Unstable,
}

/// A service in a thread of this process. It ends when it is dropped.
pub struct DemoUpstream {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl DemoUpstream {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn start(address: SocketAddr, role: Role) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("demo-upstream".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    result = serve(socket, role) => {
                        if let Err(error) = result {
                            tracing::error!(%error, "the demo's upstream ended");
                        }
                    }
                }
            });
        })?;
        Ok(Self { address, _stop: stop })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(socket: std::net::TcpListener, role: Role) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let started = Instant::now();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The gateway left before it was accepted, or descriptors ran out, which passes.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::task::spawn_local(async move {
            let respond = service_fn(move |request| respond(role, started, request));
            // Connection errors are handled by the gateway.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), respond).await;
        });
    }
}

async fn respond(
    role: Role,
    started: Instant,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match role {
        Role::Echo => echo(request).await,
        Role::Shop => {
            if request.uri().path().starts_with("/catalogue") {
                // So that the cache is seen to be faster.
                tokio::time::sleep(SLOW_PAGE).await;
            }
            shop("stable", &request)
        }
        Role::Canary => shop("canary", &request),
        Role::Unstable if fails(started.elapsed()) => failure(),
        Role::Unstable => shop("canary", &request),
    })
}

fn fails(running: Duration) -> bool {
    running.as_millis() % PERIOD.as_millis() >= WORKS.as_millis()
}

async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: serde_json::Map<_, _> =
        head.headers.iter().map(|(name, value)| (name.to_string(), text(value).into())).collect();
    let mut response = json(&serde_json::json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }));
    response.headers_mut().insert("x-powered-by", HeaderValue::from_static("an echo service"));
    response
}

fn shop(version: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    json(&serde_json::json!({ "version": version, "path": request.uri().path() }))
}

fn failure() -> Response<Full<Bytes>> {
    let mut response = json(&serde_json::json!({ "error": "this endpoint fails for 15 of 40 seconds" }));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unstable_service_works_first_and_fails_again_and_again() {
        let fails_at = |seconds| fails(Duration::from_secs(seconds));
        assert!(!fails_at(0) && !fails_at(24) && fails_at(25) && fails_at(39) && !fails_at(40) && fails_at(70));
    }
}
