//! A service with configured responses, which records the last request.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

use super::cases::ServiceResponse;

const BODY: usize = 64 * 1024 * 1024;

/// A request that got here.
pub(super) struct Seen {
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

struct State {
    answer: ServiceResponse,
    seen: Option<Seen>,
}

/// Ends when dropped.
pub(super) struct Service {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: oneshot::Sender<()>,
}

impl Service {
    pub(super) fn start(answer: ServiceResponse) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let state = Arc::new(Mutex::new(State { answer, seen: None }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let theirs = state.clone();
        thread::Builder::new().name("service".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    _ = serve(socket, theirs) => {}
                }
            });
        })?;
        Ok(Self { address, state, _stop: stop })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on.
    pub(super) fn answer(&self, answer: ServiceResponse) {
        self.state().answer = answer;
    }

    /// The requests since the last call.
    pub(super) fn take(&self) -> Option<Seen> {
        self.state().seen.take()
    }
}

async fn serve(socket: std::net::TcpListener, state: Arc<Mutex<State>>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let state = state.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| reply(request, state.clone()));
            // Connection errors are handled by the gateway.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn reply(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.seen = Some(Seen { head, body });
    let answer = &state.answer;
    let content = answer.content();
    let mut response = Response::new(Full::new(content.bytes));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if content.is_json {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in answer.headers.lines() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            if name == header::CONTENT_TYPE {
                response.headers_mut().remove(&name);
            }
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}
