//! A service that answers every request with what it saw.

use std::{convert::Infallible, io, net::SocketAddr, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

/// What it takes of a body.
const MAX_BODY: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Ends when dropped.
pub struct EchoUpstream {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl EchoUpstream {
    /// Listens there; port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("demo-upstream".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    result = serve(socket) => {
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

async fn serve(socket: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The gateway left before it was accepted, or descriptors ran out, which passes.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::task::spawn_local(async move {
            // Connection errors are handled by the gateway.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)).await;
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: serde_json::Map<_, _> =
        head.headers.iter().map(|(name, value)| (name.to_string(), text(value).into())).collect();
    let seen = serde_json::json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = Response::new(Full::from(format!("{seen:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-powered-by", HeaderValue::from_static("an echo service"));
    Ok(response)
}
