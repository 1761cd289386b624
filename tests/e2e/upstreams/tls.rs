//! Upstreams behind TLS: who is believed.

use std::{net::SocketAddr, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{configured, is_problem};
use crate::support::{
    Authority, TestGateway, Upstream,
    counted::failed,
    strict::{Kind, Reader},
};

#[tokio::test]
async fn a_tls_handshake_that_hangs_is_a_gateway_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = configured(&format!("'https://{address}'"), "timeouts: { connect: 200ms }");
    let gateway = TestGateway::start(&config).await;
    is_problem(&gateway.get("/").await, 504);
    failed(&gateway, "upstream-connect-timeout", 1).await;
}

/// An HTTPS server that answers `secret`, with a certificate for `localhost`.
async fn https(folder: &std::path::Path, authority: &Authority) -> SocketAddr {
    https_for(folder, authority, Arc::new(rustls::server::NoClientAuth)).await
}

async fn https_for(
    folder: &std::path::Path,
    authority: &Authority,
    clients: Arc<dyn rustls::server::danger::ClientCertVerifier>,
) -> SocketAddr {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    let certificate = authority.issue(folder, "server", &["localhost"]);
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let mut reader = Reader::new(stream);
                while reader.message(Kind::Request).await.is_ok() {
                    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
                    let _ = reader.stream.write_all(response).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_https_upstream_of_a_private_authority_is_believed_if_it_is_named() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = https(folder.path(), &authority).await.port();
    authority.write(&folder.path().join("ca.pem"));
    let named = configured(&format!("'https://localhost:{port}'"), "tls: { ca: ca.pem }");
    let by_server_name =
        configured(&format!("'https://127.0.0.1:{port}'"), "tls: { ca: ca.pem, server-name: localhost }");
    let mut gateway = TestGateway::start_in(folder, &named).await;
    assert_eq!(gateway.get("/").await.text(), "secret");
    gateway.reload(&by_server_name).await.expect("a good configuration");
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.text(), "secret");
    }
}

#[tokio::test]
async fn an_https_upstream_that_is_not_believed_is_a_bad_gateway() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = https(folder.path(), &authority).await.port();
    authority.write(&folder.path().join("ca.pem"));
    Authority::new().write(&folder.path().join("other.pem"));
    let other_authority = configured(&format!("'https://localhost:{port}'"), "tls: { ca: other.pem }");
    let other_name = configured(&format!("'https://127.0.0.1:{port}'"), "tls: { ca: ca.pem }");
    let the_systems = configured(&format!("'https://localhost:{port}'"), "");
    let mut gateway = TestGateway::start_in(folder, &other_authority).await;
    is_problem(&gateway.get("/").await, 502);
    for config in [other_name, the_systems] {
        gateway.reload(&config).await.expect("a good configuration");
        is_problem(&gateway.get("/").await, 502);
    }
}

#[tokio::test]
async fn an_upstream_without_tls_where_https_is_configured_is_a_bad_gateway() {
    let upstream = Upstream::named("plain").await;
    let gateway = TestGateway::start(&configured(&format!("'https://{}'", upstream.address()), "")).await;
    is_problem(&gateway.get("/").await, 502);
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_certificate_gets_the_one_that_is_configured() {
    let (folder, authority, clients) = (tempfile::tempdir().expect("a folder"), Authority::new(), Authority::new());
    let mut roots = rustls::RootCertStore::empty();
    clients.write(&folder.path().join("clients.pem"));
    let file = folder.path().join("clients.pem");
    let root = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_file(file);
    roots.add(root.expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let port = https_for(folder.path(), &authority, verifier.expect("a verifier")).await.port();
    authority.write(&folder.path().join("ca.pem"));
    clients.issue(folder.path(), "mine", &["gateway.example"]);
    let without = configured(&format!("'https://localhost:{port}'"), "tls: { ca: ca.pem }");
    let with = without.replace("ca.pem }", "ca.pem, certificate: { cert: mine.pem, key: mine.key } }");
    let mut gateway = TestGateway::start_in(folder, &without).await;
    is_problem(&gateway.get("/").await, 502);
    gateway.reload(&with).await.expect("a good configuration");
    assert_eq!(gateway.get("/").await.text(), "secret");
}

#[tokio::test]
async fn verification_can_be_turned_off() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = https(folder.path(), &authority).await.port();
    let config = configured(&format!("'https://127.0.0.1:{port}'"), "tls: { verify: false }");
    let mut gateway = TestGateway::start_in(folder, &config).await;
    assert_eq!(gateway.get("/").await.text(), "secret");
    // And on again, under open connections.
    gateway.reload(&config.replace("verify: false", "verify: true")).await.expect("a good configuration");
    is_problem(&gateway.get("/").await, 502);
}
