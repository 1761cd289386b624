//! A service that answers as a case says, faults included, and keeps the requests that it received.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::LocalSet,
};

use super::answers::{ServiceAnswer, ServiceFault};

const BODY: usize = 64 * 1024 * 1024;
/// Requests that are kept in a step.
const MOST_REQUESTS: usize = 10_000;

/// A request that got here.
pub(super) struct Seen {
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

struct State {
    answer: ServiceAnswer,
    seen: Vec<Seen>,
    /// Handshakes of WebSockets are accepted, and the last connection is here.
    accepts: bool,
    switched: Option<OnUpgrade>,
}

struct Shared {
    state: Mutex<State>,
    /// A request has arrived, or one has ended.
    changed: Notify,
    /// Requests that have neither been answered nor given up.
    open: AtomicUsize,
}

/// Ends when dropped.
pub(super) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Where connections are refused: it is taken, so that no other program listens there.
    _refusing: Option<socket2::Socket>,
    _stop: oneshot::Sender<()>,
}

impl Service {
    pub(super) fn start(answer: ServiceAnswer) -> io::Result<Self> {
        let is_unreachable = answer.is_unreachable();
        let state = Mutex::new(State { answer, seen: Vec::new(), accepts: false, switched: None });
        let shared = Arc::new(Shared { state, changed: Notify::new(), open: AtomicUsize::new(0) });
        let (stop, stopped) = oneshot::channel::<()>();
        if is_unreachable {
            let (refusing, address) = refusing()?;
            return Ok(Self { address, shared, _refusing: Some(refusing), _stop: stop });
        }
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("service".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    _ = serve(socket, theirs) => {}
                }
            });
        })?;
        Ok(Self { address, shared, _refusing: None, _stop: stop })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub(super) fn answer(&self, answer: ServiceAnswer) {
        self.shared.state().answer = answer;
    }

    /// Whether it accepts handshakes of WebSockets from now on.
    pub(super) fn accept(&self, accepts: bool) {
        self.shared.state().accepts = accepts;
    }

    /// The connection of the last handshake that it has accepted.
    pub(super) fn switched(&self) -> Option<OnUpgrade> {
        self.shared.state().switched.take()
    }

    /// The requests since the last call.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.state().seen)
    }

    /// Waits until a request has arrived that was not taken.
    pub(super) async fn asked(&self) {
        self.shared.wait_until(|shared| !shared.state().seen.is_empty()).await;
    }

    /// Waits until no request is without an answer, or given up.
    pub(super) async fn is_idle(&self) {
        self.shared.wait_until(|shared| shared.open.load(Ordering::SeqCst) == 0).await;
    }
}

/// An address of which the system refuses connections, as long as the socket is there: it is bound and does not listen.
pub(super) fn refusing() -> io::Result<(socket2::Socket, SocketAddr)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address of IP"))?;
    Ok((socket, address))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}

/// Counts a request as open until it is dropped, also when its connection is lost.
struct Open(Arc<Shared>);

impl Open {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

async fn serve(socket: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = Arc::clone(&shared);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| reply(request, Arc::clone(&shared)));
            // Connection errors are handled by the gateway.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

/// An error closes the connection.
async fn reply(mut request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Full<Bytes>>> {
    let _open = Open::of(&shared);
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let answer = {
        let mut state = shared.state();
        if state.seen.len() < MOST_REQUESTS {
            state.seen.push(Seen { head, body });
        }
        if let Some(upgrade) = upgrade.filter(|_| state.accepts) {
            state.switched = Some(upgrade);
            let mut accepted = response(&state.answer);
            accepted.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            accepted.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            *accepted.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *accepted.body_mut() = Full::default();
            return Ok(accepted);
        }
        state.answer.clone()
    };
    shared.changed.notify_waiters();
    match answer.fault {
        Some(ServiceFault::Closed) => return Err(io::Error::other("closed as the case says")),
        // Until the gateway closes the connection.
        Some(ServiceFault::Silent) => std::future::pending().await,
        // The delay that the case asks for.
        _ => tokio::time::sleep(answer.delay).await,
    }
    Ok(response(&answer))
}

fn response(answer: &ServiceAnswer) -> Response<Full<Bytes>> {
    let content = answer.content();
    let mut response = Response::new(Full::new(content.bytes));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if content.is_json {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in answer.headers.lines() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
            if name == header::CONTENT_TYPE {
                response.headers_mut().remove(&name);
            }
            response.headers_mut().append(name, value);
        }
    }
    response
}
