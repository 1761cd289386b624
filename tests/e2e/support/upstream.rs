//! Real servers behind the gateway: one that tells what it saw, one that does exactly what it is told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::in_time;

pub type Body = BoxBody<Bytes, std::io::Error>;

/// An HTTP/1.1 server on a port that the system chose.
pub struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers every request with JSON that tells what arrived: method, target, headers (in order), body.
    pub async fn echo() -> Self {
        Self::serving(|request: Request<Incoming>| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await;
            let trailers = body.as_ref().ok().and_then(|body| body.trailers().cloned());
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let list = |headers: &http::HeaderMap| -> Vec<[String; 2]> {
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                headers.iter().map(|(name, value)| [name.to_string(), text(value)]).collect()
            };
            let seen = serde_json::json!({
                "method": head.method.as_str(),
                "target": head.uri.to_string(),
                "headers": list(&head.headers),
                "body": String::from_utf8_lossy(&body),
                "trailers": trailers.as_ref().map(list),
            });
            let mut response = Response::new(full(seen.to_string()));
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
            response
        })
        .await
    }

    /// Answers every request with its own name: for telling upstreams apart.
    pub async fn named(name: &'static str) -> Self {
        Self::serving(move |_| async move { Response::new(full(name)) }).await
    }

    pub async fn serving<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::serving_at(([127, 0, 0, 1], 0).into(), answer).await.expect("a port")
    }

    /// At an address, unless somebody else is there.
    pub async fn serving_at<F, R>(address: SocketAddr, answer: F) -> std::io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let counts = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.0.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (answer.clone(), counts.1.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let response = answer(request);
                        async move { Ok::<_, Infallible>(response.await) }
                    });
                    // How a connection ends is what the tests are about; it is no concern of this server.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, connections, requests, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests received so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// A socket that records every byte and sends exactly what it is told.
pub struct RawUpstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    closed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl RawUpstream {
    /// Sends `response` once the head of a request has come on a connection, then goes on recording.
    pub async fn answering(response: &'static [u8]) -> Self {
        Self::on_head(move |mut stream| async move {
            let _ = stream.write_all(response).await;
            Some(stream)
        })
        .await
    }

    /// Once the head of a request has come, does as told; a stream that is returned is recorded further.
    pub async fn on_head<F, R>(act: F) -> Self
    where
        F: Fn(TcpStream) -> R + Clone + Send + 'static,
        R: Future<Output = Option<TcpStream>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(Notify::new());
        let shared = (received.clone(), closed.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (received, closed) = shared.clone();
                let act = act.clone();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    let mut buffer = [0; 16 * 1024];
                    while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                        match stream.read(&mut buffer).await {
                            Ok(n @ 1..) => {
                                seen.extend_from_slice(&buffer[..n]);
                                received.lock().expect("no panic").extend_from_slice(&buffer[..n]);
                            }
                            _ => return closed.notify_one(),
                        }
                    }
                    if let Some(mut stream) = act(stream).await {
                        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                            received.lock().expect("no panic").extend_from_slice(&buffer[..n]);
                        }
                    }
                    closed.notify_one();
                });
            }
        });
        Self { address, received, closed, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has come so far, on all connections.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().expect("no panic")).into_owned()
    }

    /// The same, byte by byte.
    pub fn received_bytes(&self) -> Vec<u8> {
        self.received.lock().expect("no panic").clone()
    }

    /// Waits until some connection of the gateway has been closed.
    pub async fn closed(&self) {
        in_time("the gateway closing its connection", self.closed.notified()).await;
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
