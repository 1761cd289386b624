//! TLS termination: certificates by name, versions, protocols, what goes wrong in a handshake, reload.

use std::{net::SocketAddr, path::Path, time::Duration};

use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Authority, Client, Gate, TestGateway, Upstream, certs::handshake, client::Request, eventually, in_time, raw,
};

const NAME: &str = "api.example.com";

/// One TLS listener, and everything to one upstream.
fn https(upstream: SocketAddr, files: &[&str], settings: &str) -> String {
    let certificates: Vec<_> = files.iter().map(|file| format!("{{ cert: {file}.pem, key: {file}.key }}")).collect();
    format!(
        "workers: 2
listeners:
  - address: 127.0.0.1:0
    tls: {{ certificates: [{}] {settings} }}
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ header-read: 500ms }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: echo }}]
",
        certificates.join(", ")
    )
}

/// A gateway with one certificate, for `NAME`.
async fn gateway_of(authority: &Authority, upstream: SocketAddr, settings: &str) -> TestGateway {
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "api", &[NAME]);
    TestGateway::start_in(folder, &https(upstream, &["api"], settings)).await
}

#[tokio::test]
async fn each_server_name_gets_its_own_certificate() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    let first = authority.issue(folder.path(), "first", &["127.0.0.1", "first.test"]);
    let exact = authority.issue(folder.path(), "exact", &["api.example.com", "other.example.com"]);
    let wildcard = authority.issue(folder.path(), "wildcard", &["*.example.com"]);
    let upstream = Upstream::echo().await;
    let config = https(upstream.address(), &["first", "wildcard", "exact"], "");
    let gateway = TestGateway::start_in(folder, &config).await;
    let cases = [
        ("first.test", &first),
        ("api.example.com", &exact),
        ("API.Example.COM", &exact),
        ("other.example.com", &exact),
        ("anything.example.com", &wildcard),
        // No SNI is sent for an address: the first in the file answers.
        ("127.0.0.1", &first),
    ];
    for (name, expected) in cases {
        let stream = handshake(gateway.address(), name, authority.client(&[])).await.unwrap();
        let presented = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert!(presented == expected, "{name} got another certificate");
    }
}

#[tokio::test]
async fn an_unknown_server_name_gets_the_first_certificate_and_a_wildcard_stands_for_one_label() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "first", &["first.test"]);
    authority.issue(folder.path(), "wildcard", &["*.example.com"]);
    let upstream = Upstream::echo().await;
    let gateway = TestGateway::start_in(folder, &https(upstream.address(), &["first", "wildcard"], "")).await;
    for name in ["unknown.test", "a.b.example.com", "example.com"] {
        // The client refuses what it is shown, and says what that was.
        let error = handshake(gateway.address(), name, authority.client(&[])).await.unwrap_err();
        assert!(error.to_string().contains("first.test"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_whose_kind_of_key_it_takes() {
    use rustls::{SignatureScheme as Scheme, crypto::aws_lc_rs::cipher_suite as suite};
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    let ecdsa = authority.issue(folder.path(), "ecdsa", &[NAME, "127.0.0.1"]);
    let rsa = authority.issue_rsa(folder.path(), "rsa", &[NAME, "127.0.0.1"]);
    // The authority's own key is an ECDSA one, so that clients verify such a signature in any case.
    let all = [Scheme::ECDSA_NISTP256_SHA256, Scheme::RSA_PSS_SHA256, Scheme::RSA_PKCS1_SHA256];
    let (only_ecdsa, only_rsa) = (&all[..1], &all[1..]);
    let (ecdsa12, rsa12) =
        (suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    let tls13 = suite::TLS13_AES_128_GCM_SHA256;
    let cases = [
        ("all of TLS 1.3", authority.client_of_keys(&all, &[tls13], &[&TLS13]), &ecdsa),
        ("RSA of TLS 1.3", authority.client_of_keys(only_rsa, &[tls13], &[&TLS13]), &rsa),
        ("ECDSA of TLS 1.3", authority.client_of_keys(only_ecdsa, &[tls13], &[&TLS13]), &ecdsa),
        ("all of TLS 1.2", authority.client_of_keys(&all, &[ecdsa12, rsa12], &[&TLS12]), &ecdsa),
        ("ECDSA suites of TLS 1.2", authority.client_of_keys(&all, &[ecdsa12], &[&TLS12]), &ecdsa),
        ("RSA suites of TLS 1.2", authority.client_of_keys(&all, &[rsa12], &[&TLS12]), &rsa),
        ("RSA schemes of TLS 1.2", authority.client_of_keys(only_rsa, &[ecdsa12, rsa12], &[&TLS12]), &rsa),
    ];
    let upstream = Upstream::echo().await;
    let file = |name: &str| folder.path().join(name).display().to_string();
    for order in [["ecdsa", "rsa"], ["rsa", "ecdsa"]] {
        let files = order.map(file);
        let files = [&*files[0], &*files[1]];
        let gateway = TestGateway::start_in(TempDir::new().unwrap(), &https(upstream.address(), &files, "")).await;
        for (client, config, expected) in &cases {
            let stream = handshake(gateway.address(), NAME, config.clone()).await;
            let stream = stream.unwrap_or_else(|error| panic!("{client}, {order:?}: {error}"));
            let presented = &stream.get_ref().1.peer_certificates().unwrap()[0];
            assert!(presented == *expected, "{client} got the other certificate of {order:?}");
            // Without SNI, too.
            assert!(handshake(gateway.address(), "127.0.0.1", config.clone()).await.is_ok(), "{client}, {order:?}");
        }
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = authority.client_of_versions(&[], &[version]);
        let stream = handshake(gateway.address(), NAME, config.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let mut client = Client::connect_tls(gateway.address(), NAME, config).await.unwrap();
        assert_eq!(client.send(Request::get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn min_version_1_3_refuses_1_2() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), ", min-version: '1.3'").await;
    let old = authority.client_of_versions(&[], &[&TLS12]);
    let error = handshake(gateway.address(), NAME, old).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let new = authority.client_of_versions(&[], &[&TLS13]);
    let mut client = Client::connect_tls(gateway.address(), NAME, new).await.unwrap();
    assert_eq!(client.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn alpn_settles_the_protocol_and_http2_is_preferred() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    let cases: [(&[&str], http::Version); 4] = [
        (&["h2"], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&["http/1.1", "h2"], http::Version::HTTP_2),
        (&[], http::Version::HTTP_11),
    ];
    for (offered, expected) in cases {
        let mut client = Client::connect_tls(gateway.address(), NAME, authority.client(offered)).await.unwrap();
        let response = client.send(Request::post("/x", "hello")).await;
        assert_eq!(response.version, expected, "{offered:?}");
        assert_eq!(response.json()["body"], "hello");
    }
    // RFC 7301 §3.2: nothing in common is a fatal alert.
    let error = handshake(gateway.address(), NAME, authority.client(&["spdy/3"])).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn the_upstream_is_told_that_the_client_spoke_https() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    for alpn in ["h2", "http/1.1"] {
        let mut client = Client::connect_tls(gateway.address(), NAME, authority.client(&[alpn])).await.unwrap();
        let seen = client.send(Request::get("/")).await.text();
        assert!(seen.contains(r#"["x-forwarded-proto","https"]"#), "{seen}");
        assert!(seen.contains(r#"proto=https"#), "{seen}");
        assert!(seen.contains(r#"["x-forwarded-host","api.example.com"]"#), "{seen}");
    }
}

#[tokio::test]
async fn curl_agrees_with_every_protocol_and_version() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    let ca = gateway.folder().join("ca.pem");
    authority.write(&ca);
    let cases: [(&[&str], &str); 4] = [
        (&["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "200 1.1"),
        (&["--http1.1", "--tlsv1.3"], "200 1.1"),
        (&["--http2", "--tlsv1.2", "--tls-max", "1.2"], "200 2"),
        (&["--http2", "--tlsv1.3"], "200 2"),
    ];
    for (options, expected) in cases {
        let Some((answer, summary)) = curl(&ca, gateway.address(), options).await else {
            return eprintln!("skipped: there is no curl");
        };
        assert_eq!(summary, expected, "{options:?}");
        assert!(answer.contains(r#""body":"from curl""#), "{options:?}: {answer}");
    }
}

/// What the echo answered, and status and protocol; none where curl is not installed.
async fn curl(ca: &Path, address: SocketAddr, options: &[&str]) -> Option<(String, String)> {
    let port = address.port();
    let running = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--data", "from curl"])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .arg("--cacert")
        .arg(ca)
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .args(options)
        .arg(format!("https://{NAME}:{port}/some/path"))
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .env("NO_PROXY", "*")
        .output();
    let output = match in_time("curl", running).await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("curl: {error}"),
    };
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, summary) = text.rsplit_once('\n')?;
    Some((answer.to_owned(), summary.to_owned()))
}

#[tokio::test]
async fn clear_text_on_the_tls_port_is_refused_and_disturbs_nobody() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    let mut client = Client::connect_tls(gateway.address(), NAME, authority.client(&["h2"])).await.unwrap();
    for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\n\r\n\r\n"] {
        let answer = gateway.raw(bytes).await;
        assert!(!answer.contains("HTTP/"), "{answer:?}");
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(client.send(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn half_a_handshake_is_given_up_in_time() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    // A record that announces a ClientHello of 512 bytes and has four of them; and silence.
    let beginnings: [&[u8]; 2] = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], &[]];
    let mut streams = Vec::new();
    for beginning in beginnings {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        let started = std::time::Instant::now();
        assert!(!raw::read_to_close(&mut stream).await.contains("HTTP/"));
        assert!(started.elapsed() < Duration::from_secs(10), "not by the time-out that was configured");
    }
    eventually("no connection is left", async || {
        gateway.metrics().await.lines().any(|line| line == "gateway_connections 0")
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_replaced_by_a_reload_without_dropping_what_is_in_flight() {
    let authority = Authority::new();
    let upstream = Gate::answering("done").await;
    let folder = TempDir::new().unwrap();
    let old = authority.issue(folder.path(), "api", &[NAME]);
    let config = https(upstream.address(), &["api"], "");
    let mut gateway = TestGateway::start_in(folder, &config).await;
    let mut in_flight = Vec::new();
    for alpn in ["h2", "http/1.1"] {
        let mut client = Client::connect_tls(gateway.address(), NAME, authority.client(&[alpn])).await.unwrap();
        in_flight.push(tokio::spawn(async move {
            let response = client.send(Request::get("/")).await;
            (client, response)
        }));
    }
    upstream.arrivals(2).await;

    let new = authority.issue(gateway.folder(), "api", &[NAME]);
    gateway.reload(&config).await.unwrap();
    assert!(old != new);
    let stream = handshake(gateway.address(), NAME, authority.client(&[])).await.unwrap();
    assert!(stream.get_ref().1.peer_certificates().unwrap()[0] == new, "the old certificate is shown");

    upstream.release(4);
    for exchange in in_flight {
        let (mut client, response) = exchange.await.unwrap();
        assert_eq!(response.text(), "done");
        // And the connection goes on.
        assert_eq!(client.send(Request::get("/")).await.text(), "done");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one() {
    let authority = Authority::new();
    let upstream = Upstream::echo().await;
    let folder = TempDir::new().unwrap();
    let old = authority.issue(folder.path(), "api", &[NAME]);
    let config = https(upstream.address(), &["api"], "");
    let mut gateway = TestGateway::start_in(folder, &config).await;
    // Another key under the old certificate, as when files are replaced one by one.
    authority.issue(gateway.folder(), "other", &[NAME]);
    std::fs::copy(gateway.folder().join("other.key"), gateway.folder().join("api.key")).unwrap();
    let error = gateway.reload(&config).await.unwrap_err().to_string();
    assert!(error.contains("api.key"), "{error}");
    let stream = handshake(gateway.address(), NAME, authority.client(&[])).await.unwrap();
    assert!(stream.get_ref().1.peer_certificates().unwrap()[0] == old);
}

#[tokio::test]
async fn the_end_of_a_connection_is_announced_so_that_it_cannot_be_forged() {
    let authority = Authority::new();
    let upstream = Gate::answering("done").await;
    let gateway = gateway_of(&authority, upstream.address(), "").await;
    let mut stream = handshake(gateway.address(), NAME, authority.client(&["http/1.1"])).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n").await.unwrap();
    upstream.arrivals(1).await;
    upstream.release(1);
    let mut answer = Vec::new();
    in_time("the response", stream.read_to_end(&mut answer)).await.expect("close_notify before the end");
    assert!(answer.ends_with(b"done"), "{:?}", String::from_utf8_lossy(&answer));
}
