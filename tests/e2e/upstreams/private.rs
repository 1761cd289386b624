//! Authentication of connections (NTLM, Negotiate): what a client has authenticated serves nobody else.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Response;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::{balanced, configured};
use crate::support::{
    Client, TestGateway, Upstream,
    client::Request,
    eventually,
    strict::{Kind, RawClient, Reader},
};

/// A service whose connections are their users': `NTLM` takes two steps, `Negotiate` one, and then no credentials are needed.
struct Service {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let open = Arc::<AtomicUsize>::default();
        let count = open.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    serve(stream).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let mut reader = Reader::new(stream);
    let (mut user, mut challenged) = (None, false);
    while let Ok(request) = reader.message(Kind::Request).await {
        match request.value("authorization").split_once(' ') {
            Some(("NTLM", "hello")) => challenged = true,
            Some(("NTLM", name)) if challenged => user = Some(name.to_owned()),
            Some(("Negotiate", name)) => user = Some(name.to_owned()),
            _ => {}
        }
        let response = match &user {
            Some(name) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()),
            None if challenged => {
                "HTTP/1.1 401 Who\r\nwww-authenticate: NTLM go-on\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            None => {
                "HTTP/1.1 401 Who\r\nwww-authenticate: Basic realm=\"a\", NTLM\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
        };
        if reader.stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The status, and who the service takes the client for.
async fn ask(client: &mut RawClient, fields: &str) -> (u16, String) {
    let response = client.say(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await.response().await;
    (response.status(), response.text())
}

fn user(name: &str) -> (u16, String) {
    (200, name.to_owned())
}

fn nobody() -> (u16, String) {
    (401, String::new())
}

#[tokio::test]
async fn an_upstream_connection_that_a_client_authenticated_serves_this_client_only() {
    let service = Service::start().await;
    let gateway = TestGateway::start(&balanced(&[service.address], "")).await;
    let (mut alice, mut bob) =
        (RawClient::connect(gateway.address()).await, RawClient::connect(gateway.address()).await);
    assert_eq!(ask(&mut alice, "").await, nobody());
    assert_eq!(ask(&mut alice, "Authorization: NTLM hello\r\n").await, nobody());
    assert_eq!(ask(&mut bob, "").await, nobody(), "between the steps of a handshake");
    assert_eq!(ask(&mut alice, "Authorization: NTLM alice\r\n").await, user("alice"));
    for _ in 0..5 {
        assert_eq!(ask(&mut bob, "").await, nobody());
        assert_eq!(ask(&mut alice, "").await, user("alice"), "the connection stays hers");
        assert_eq!(ask(&mut RawClient::connect(gateway.address()).await, "").await, nobody());
    }
    assert_eq!(ask(&mut bob, "Authorization: negotiate ignored\r\n").await, nobody());
    assert_eq!(ask(&mut bob, "Authorization: Negotiate bob\r\n").await, user("bob"));
    assert_eq!((ask(&mut alice, "").await, ask(&mut bob, "").await), (user("alice"), user("bob")));
    drop((alice, bob));
    eventually("the connections closing with their clients", async || service.open() == 0).await;
}

#[tokio::test]
async fn with_several_endpoints_a_client_stays_where_it_is_authenticated() {
    let (a, b, c) = (Service::start().await, Service::start().await, Service::start().await);
    let gateway = TestGateway::start(&balanced(&[a.address, b.address, c.address], "")).await;
    let mut alice = RawClient::connect(gateway.address()).await;
    assert_eq!(ask(&mut alice, "Authorization: NTLM hello\r\n").await, nobody());
    assert_eq!(ask(&mut alice, "Authorization: NTLM alice\r\n").await, user("alice"));
    for _ in 0..6 {
        assert_eq!(ask(&mut alice, "").await, user("alice"));
    }
}

/// One connection of a proxy, or of HTTP/2, may carry requests that do not belong together.
#[tokio::test]
async fn where_a_client_connection_is_not_one_users_an_authenticated_one_is_not_used_again() {
    let service = Service::start().await;
    let trusting = format!("{}trusted-proxies: ['127.0.0.0/8']\n", balanced(&[service.address], ""));
    let gateway = TestGateway::start(&trusting).await;
    let mut proxy = RawClient::connect(gateway.address()).await;
    assert_eq!(ask(&mut proxy, "Authorization: Negotiate alice\r\n").await, user("alice"));
    assert_eq!(ask(&mut proxy, "").await, nobody());

    let gateway = TestGateway::start(&balanced(&[service.address], "")).await;
    let mut client = Client::connect_http2(gateway.address()).await;
    let alice = client.send(Request::get("/").header("authorization", "Negotiate alice")).await;
    assert_eq!(alice.text(), "alice");
    assert_eq!(client.send(Request::get("/")).await.status, 401);
    assert_eq!(gateway.get("/").await.status, 401);
}

#[tokio::test]
async fn idle_connections_of_one_client_make_room_for_others() {
    let service = Service::start().await;
    let gateway = TestGateway::start(&balanced(&[service.address], "limits: { connections: 1 }")).await;
    let mut alice = RawClient::connect(gateway.address()).await;
    assert_eq!(ask(&mut alice, "Authorization: Negotiate alice\r\n").await, user("alice"));
    assert_eq!(ask(&mut RawClient::connect(gateway.address()).await, "").await, nobody());
}

#[tokio::test]
async fn a_request_that_authenticates_its_connection_shares_none_of_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                let user = Arc::new(Mutex::new("nobody".to_owned()));
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let mut user = user.lock().expect("no panic");
                    if let Some(name) = request.headers().get("authorization") {
                        *user = name.to_str().expect("ascii").to_owned();
                    }
                    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
                        let _ = stream.send_data(bytes::Bytes::from(user.clone()), true);
                    }
                }
            });
        }
    });
    let gateway =
        TestGateway::start(&configured(&format!("'http://{address}'"), "protocol: http2, limits: { connections: 2 }"))
            .await;
    assert_eq!(gateway.get("/").await.text(), "nobody");
    for _ in 0..3 {
        let alice = gateway.send(Request::get("/").header("authorization", "Negotiate alice")).await;
        assert_eq!(alice.text(), "Negotiate alice");
        assert_eq!(gateway.get("/").await.text(), "nobody");
    }
}

#[tokio::test]
async fn a_call_by_a_plugin_that_authenticates_its_connection_leaves_it_to_no_other() {
    let (service, upstream) = (Service::start().await, Upstream::named("passed").await);
    let config = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
upstreams: {{ authorizer: {{ endpoints: ['http://{}'] }}, it: {{ endpoints: ['http://{}'] }} }}
plugins: {{ ext-auth: {{ grants: {{ upstreams: [authorizer] }} }} }}
routes:
  - {{ name: all, plugins: [{{ name: ext-auth, config: {{ upstream: authorizer, path: /check }} }}], upstream: it }}
",
        service.address,
        upstream.address()
    );
    let gateway = TestGateway::start(&config).await;
    for _ in 0..3 {
        let alice = gateway.send(Request::get("/").header("authorization", "Negotiate alice")).await;
        assert_eq!(alice.text(), "passed");
        assert_eq!(gateway.get("/").await.status, 401);
    }
}
