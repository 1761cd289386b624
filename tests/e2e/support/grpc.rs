//! A real gRPC server and its clients (tonic), for a service of one message and all four kinds of methods.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    server::NamedService,
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// `message Message { string text = 1; uint32 count = 2; }`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

pub fn message(text: impl Into<String>, count: u32) -> Message {
    Message { text: text.into(), count }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

/// What methods do:
/// - `Unary` answers with its message, its metadata returned; `fail` fails with NOT_FOUND and a detail; `hang` never ends;
/// - `Down` sends `count` messages; `never` sends one and goes on for ever;
/// - `Up` counts what it is sent;
/// - `Both` answers each message before it waits for the next.
#[derive(Clone, Default)]
struct Echo {
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    /// Calls that were given up by their clients.
    cancelled: AtomicUsize,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

/// Counts a call that ends before its end.
struct Unfinished(Arc<Seen>, bool);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let seen = self.seen.clone();
        seen.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Message, Message>::default());
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => {
                    grpc.unary(service_fn(move |request| unary(request, seen.clone())), request).await
                }
                "/test.Echo/Down" => {
                    grpc.server_streaming(service_fn(move |request| down(request, seen.clone())), request).await
                }
                "/test.Echo/Up" => grpc.client_streaming(service_fn(up), request).await,
                "/test.Echo/Both" => grpc.streaming(service_fn(both), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn unary(request: Request<Message>, seen: Arc<Seen>) -> Result<Response<Message>, Status> {
    let mut unfinished = Unfinished(seen, false);
    if request.get_ref().text == "hang" {
        std::future::pending::<()>().await;
    }
    unfinished.1 = true;
    if request.get_ref().text == "fail" {
        return Err(Status::with_details(tonic::Code::NotFound, "no such thing", vec![1, 2, 3].into()));
    }
    let (metadata, _, message) = request.into_parts();
    let mut response = Response::new(message);
    for key in metadata.keys() {
        match key {
            tonic::metadata::KeyRef::Ascii(key) if key.as_str().starts_with("x-") => {
                response.metadata_mut().insert(key.clone(), metadata.get(key).expect("it is there").clone());
            }
            tonic::metadata::KeyRef::Binary(key) => {
                response.metadata_mut().insert_bin(key.clone(), metadata.get_bin(key).expect("it is there").clone());
            }
            tonic::metadata::KeyRef::Ascii(_) => {}
        }
    }
    Ok(response)
}

async fn down(request: Request<Message>, seen: Arc<Seen>) -> Result<Response<Messages>, Status> {
    let wanted = request.into_inner();
    let unfinished = Unfinished(seen, wanted.text != "never");
    if wanted.text == "never" {
        let first = futures_util::stream::iter([Ok(message("first", 0))]);
        let rest = futures_util::stream::pending().map(move |item| {
            let _held = &unfinished;
            item
        });
        return Ok(Response::new(Box::pin(first.chain(rest))));
    }
    let messages = (0..wanted.count).map(move |count| Ok(message(wanted.text.clone(), count)));
    Ok(Response::new(Box::pin(futures_util::stream::iter(messages))))
}

async fn up(request: Request<Streaming<Message>>) -> Result<Response<Message>, Status> {
    let (mut messages, mut count) = (request.into_inner(), 0);
    while let Some(message) = messages.next().await {
        count += message?.count;
    }
    Ok(Response::new(message("sum", count)))
}

async fn both(request: Request<Streaming<Message>>) -> Result<Response<Messages>, Status> {
    let answers =
        request.into_inner().map(|message| message.map(|Message { text, count }| Message { text, count: count + 1 }));
    Ok(Response::new(Box::pin(answers)))
}

/// A running server; ends when dropped.
pub struct GrpcServer {
    address: SocketAddr,
    seen: Arc<Seen>,
    health: tonic_health::server::HealthReporter,
    task: JoinHandle<()>,
}

impl GrpcServer {
    pub async fn start() -> Self {
        Self::start_with(None, false).await
    }

    /// One that tells its descriptors, by the protocol's present version or its older one alone.
    pub async fn start_with(descriptors: Option<&[u8]>, older: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let echo = Echo::default();
        let seen = echo.seen.clone();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<Echo>().await;
        let reflection = |descriptors| {
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(descriptors)
        };
        let present = descriptors.filter(|_| !older).map(|set| reflection(set).build_v1().expect("descriptors"));
        let older = descriptors.filter(|_| older).map(|set| reflection(set).build_v1alpha().expect("descriptors"));
        let server = Server::builder().add_service(echo).add_service(health_service);
        let server = server.add_optional_service(present).add_optional_service(older);
        let task = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Self { address, seen, health, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::SeqCst)
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }

    /// What the health protocol says of `test.Echo`.
    pub async fn set_serving(&self, serving: bool) {
        if serving {
            self.health.set_serving::<Echo>().await;
        } else {
            self.health.set_not_serving::<Echo>().await;
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client on one connection, in clear text.
pub struct GrpcClient(Grpc<Channel>);

impl GrpcClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URI");
        Self(Grpc::new(endpoint.connect().await.expect("a connection")))
    }

    /// One more, on the same connection.
    pub fn share(&self) -> Self {
        Self(self.0.clone())
    }

    async fn ready(&mut self) -> &mut Grpc<Channel> {
        self.0.ready().await.expect("the connection is open");
        &mut self.0
    }

    pub async fn unary(&mut self, request: Request<Message>) -> Result<Response<Message>, Status> {
        self.call("/test.Echo/Unary", request).await
    }

    pub async fn call(&mut self, path: &'static str, request: Request<Message>) -> Result<Response<Message>, Status> {
        self.ready().await.unary(request, path.parse().expect("a path"), ProstCodec::default()).await
    }

    pub async fn down(&mut self, message: Message) -> Result<Streaming<Message>, Status> {
        let path = "/test.Echo/Down".parse().expect("a path");
        let response = self.ready().await.server_streaming(Request::new(message), path, ProstCodec::default()).await?;
        Ok(response.into_inner())
    }

    pub async fn up(&mut self, messages: impl Stream<Item = Message> + Send + 'static) -> Result<Message, Status> {
        let path = "/test.Echo/Up".parse().expect("a path");
        let response = self.ready().await.client_streaming(Request::new(messages), path, ProstCodec::default()).await?;
        Ok(response.into_inner())
    }

    pub async fn both(
        &mut self,
        messages: impl Stream<Item = Message> + Send + 'static,
    ) -> Result<Streaming<Message>, Status> {
        let path = "/test.Echo/Both".parse().expect("a path");
        let response = self.ready().await.streaming(Request::new(messages), path, ProstCodec::default()).await?;
        Ok(response.into_inner())
    }
}
