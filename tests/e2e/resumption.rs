//! TLS sessions that are resumed: by tickets and by identifiers, on every worker, on their own listener only.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion,
    client::{Resumption, Tls12Resumption},
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Authority, TestGateway, Upstream, certs::handshake, in_time};

const NAME: &str = "api.example.com";

/// Two listeners with the same certificate, of which the second one asks clients for theirs.
fn listeners(upstream: SocketAddr) -> String {
    let tls = "certificates: [{ cert: api.pem, key: api.key }]";
    format!(
        "workers: 4
listeners:
  - {{ address: '127.0.0.1:0', tls: {{ {tls} }} }}
  - {{ address: '127.0.0.1:0', tls: {{ {tls}, client-certificates: {{ ca: [clients.pem], mode: optional }} }} }}
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - name: all
    plugins: [{{ name: transform, config: {{ request: {{ set-headers: {{ x-subject: '{{attribute.tls.client.subject}}' }} }} }} }}]
    upstream: echo
"
    )
}

async fn start(authority: &Authority, clients: &Authority, upstream: &Upstream) -> TestGateway {
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "api", &[NAME]);
    clients.write(&folder.path().join("clients.pem"));
    TestGateway::start_in(folder, &listeners(upstream.address())).await
}

/// A connection for one request; how its handshake went, and the answer.
async fn visit(address: SocketAddr, config: &ClientConfig) -> (HandshakeKind, String) {
    let mut stream = handshake(address, NAME, config.clone()).await.expect("a handshake");
    let request = b"GET / HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("the request is taken");
    let mut answer = Vec::new();
    in_time("the response", stream.read_to_end(&mut answer)).await.expect("a whole response");
    let kind = stream.get_ref().1.handshake_kind().expect("a handshake that is over");
    (kind, String::from_utf8(answer).expect("text"))
}

async fn is_resumed(address: SocketAddr, config: &ClientConfig) -> bool {
    visit(address, config).await.0 == HandshakeKind::Resumed
}

fn versions() -> [(&'static str, &'static SupportedProtocolVersion); 2] {
    [("1.2", &TLS12), ("1.3", &TLS13)]
}

#[tokio::test]
async fn a_session_is_resumed_by_whichever_worker_is_asked() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, &Authority::new(), &upstream).await;
    for (version, of) in versions() {
        let config = authority.client_of_versions(&[], &[of]);
        assert!(!is_resumed(gateway.address(), &config).await);
        for _ in 0..12 {
            assert!(is_resumed(gateway.address(), &config).await, "TLS {version}");
        }
        let counted = async |resumed| {
            gateway.metric("gateway_tls_handshakes_total", &[("version", version), ("resumed", resumed)]).await
        };
        assert_eq!((counted("false").await, counted("true").await), (Some(1), Some(12)));
    }
    let mut no_tickets = authority.client_of_versions(&[], &[&TLS12]);
    no_tickets.resumption = Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    assert!(!is_resumed(gateway.address(), &no_tickets).await);
    for _ in 0..12 {
        assert!(is_resumed(gateway.address(), &no_tickets).await, "by its identifier");
    }
}

#[tokio::test]
async fn a_resumed_session_still_knows_its_client() {
    let (authority, clients, upstream) = (Authority::new(), Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, &clients, &upstream).await;
    let anna = clients.identify("anna", Vec::new());
    for (version, of) in versions() {
        let config = authority.client_as(Some(&anna), &[], &[of]);
        for resumed in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (kind, answer) = visit(gateway.addresses()[1], &config).await;
            assert_eq!(kind, resumed, "TLS {version}");
            assert!(answer.contains(r#"["x-subject","CN=anna"]"#), "TLS {version}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_session_of_one_listener_is_none_of_another() {
    let (authority, clients, upstream) = (Authority::new(), Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, &clients, &upstream).await;
    for (version, of) in versions() {
        let config = authority.client_of_versions(&[], &[of]);
        // Believed to be one server by the client, which offers its sessions to both.
        for address in [0, 1, 0, 1].map(|at| gateway.addresses()[at]) {
            assert!(!is_resumed(address, &config).await, "TLS {version}");
        }
    }
}

#[tokio::test]
async fn a_session_outlives_a_reload() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let mut gateway = start(&authority, &Authority::new(), &upstream).await;
    let config = authority.client(&[]);
    assert!(!is_resumed(gateway.address(), &config).await);
    gateway.reload(&listeners(upstream.address())).await.unwrap();
    assert!(is_resumed(gateway.address(), &config).await);
}

#[tokio::test]
async fn no_session_allows_early_data() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = start(&authority, &Authority::new(), &upstream).await;
    let mut config = authority.client_of_versions(&[], ALL_VERSIONS);
    config.enable_early_data = true;
    visit(gateway.address(), &config).await;
    let name = ServerName::try_from(NAME).expect("a server name");
    let mut again = ClientConnection::new(Arc::new(config), name).expect("a connection");
    assert!(again.early_data().is_none());
}
