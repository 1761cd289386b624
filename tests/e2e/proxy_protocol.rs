//! Load balancers that say whose connection it is (PROXY protocol): who is believed, and what happens to the rest.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Authority, TestGateway, Upstream,
    certs::handshake_on,
    counted::metric,
    eventually,
    frames::{self, Fate, Frames},
    in_time, raw,
};

const NAME: &str = "api.example.com";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn config(upstream: SocketAddr, rule: &str, more: &str) -> String {
    format!(
        "workers: 2
listeners:
  - {{ address: '127.0.0.1:0', proxy-protocol: {{ {rule} }} }}
  - address: 127.0.0.1:0
    proxy-protocol: {{ {rule} }}
    tls: {{ certificates: [{{ cert: api.pem, key: api.key }}] }}
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ header-read: 1s }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
{more}
routes:
  - name: all
    plugins: [{{ name: transform, config: {{ response: {{ set-headers: {{ x-client: '{{client.address}}' }} }} }} }}]
    upstream: echo
"
    )
}

async fn gateway(authority: &Authority, upstream: &Upstream, rule: &str, more: &str) -> TestGateway {
    let folder = TempDir::new().unwrap();
    authority.issue(folder.path(), "api", &[NAME]);
    TestGateway::start_in(folder, &config(upstream.address(), rule, more)).await
}

/// Version 2 with TCP over IPv4 from 192.0.2.8, and so many bytes of type-length-values.
fn binary(more: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((12 + more).to_be_bytes());
    header.extend([192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb]);
    if let Some(value) = more.checked_sub(3) {
        header.push(4);
        header.extend(value.to_be_bytes());
        header.extend(vec![0; value.into()]);
    }
    header
}

async fn refusals(gateway: &TestGateway) -> u64 {
    metric(gateway, "gateway_connection_failures_total{reason=\"proxy-protocol\"}").await
}

#[tokio::test]
async fn the_address_in_the_header_is_the_clients_everywhere() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.0/8]", "").await;
    for (header, client) in [
        (LINE.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (binary(0), "192.0.2.8"),
        (binary(4084), "192.0.2.8"),
        // The balancer's own connections: health checks.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let answer = gateway.raw(&[&header, GET].concat()).await;
        assert!(answer.contains(&format!("x-client: {client}\r\n")), "{answer}");
        assert!(answer.contains(&format!(r#"["x-forwarded-for","{client}"]"#)), "{answer}");
    }
    assert_eq!(refusals(&gateway).await, 0);
}

#[tokio::test]
async fn tls_and_http2_follow_the_header() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.1]", "").await;
    for header in [LINE.to_vec(), binary(0)] {
        let mut stream = TcpStream::connect(gateway.addresses()[1]).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let mut stream = handshake_on(stream, NAME, authority.client(&["http/1.1"])).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let mut answer = String::new();
        in_time("the response", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.contains("x-client: 192.0.2."), "{answer}");
    }
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(LINE).await.unwrap();
    let mut client = Frames::over(stream).await;
    client.get(1, "a", &[]).await;
    assert_eq!(client.fate(1).await, Fate::Answered(200));
    let body = client.next_of(frames::DATA).await.payload;
    assert!(String::from_utf8_lossy(&body).contains(r#"["x-forwarded-for","192.0.2.7"]"#));
}

#[tokio::test]
async fn a_header_may_come_octet_by_octet() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.1]", "").await;
    for header in [LINE.to_vec(), binary(0)] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for octet in [&header, GET].concat() {
            stream.write_all(&[octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = raw::read_to_close(&mut stream).await;
        assert!(answer.contains("x-client: 192.0.2."), "{answer}");
    }
}

#[tokio::test]
async fn who_is_not_trusted_cannot_say_who_he_is() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [10.0.0.0/8, 192.0.2.0/24]", "").await;
    for header in [LINE.to_vec(), binary(0)] {
        let answer = gateway.raw(&[&header, GET].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let answer = gateway.raw(GET).await;
    assert!(answer.contains("x-client: 127.0.0.1\r\n"), "{answer}");
    assert_eq!((upstream.requests(), refusals(&gateway).await), (1, 0));
}

#[tokio::test]
async fn a_trusted_peer_without_a_whole_header_is_closed_without_a_word() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.1]", "").await;
    let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    let mut refused = 0;
    for start in [
        GET,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4 1.2.3.4.5 198.51.100.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &long,
        // These go on for ever, without an end: the time-out of heads counts.
        b"PROXY TCP4 ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ] {
        assert_eq!(gateway.raw(start).await, "", "{:?}", String::from_utf8_lossy(start));
        refused += 1;
        eventually("it is counted", async || refusals(&gateway).await == refused).await;
    }
    // A second header is the client's, and no request.
    let answer = gateway.raw(&[LINE, LINE, GET].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Who connects and leaves again, as health checks of a port do, is no failure.
    drop(TcpStream::connect(gateway.address()).await.unwrap());
    assert_eq!((upstream.requests(), refusals(&gateway).await), (0, refused));
}

#[tokio::test]
async fn an_optional_header_may_be_missing_but_not_wrong() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.1], mode: optional", "").await;
    let answer = gateway.raw(GET).await;
    assert!(answer.contains("x-client: 127.0.0.1\r\n"), "{answer}");
    let answer = gateway.raw(&[LINE, GET].concat()).await;
    assert!(answer.contains("x-client: 192.0.2.7\r\n"), "{answer}");
    // It begins as a header might, and is none.
    let answer = gateway.raw(b"PROPFIND / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains(r#""method":"PROPFIND""#), "{answer}");
    assert_eq!(gateway.raw(b"PROXY TCP4 nonsense\r\n").await, "");
    let stream = TcpStream::connect(gateway.addresses()[1]).await.unwrap();
    let mut stream = handshake_on(stream, NAME, authority.client(&["http/1.1"])).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let mut answer = String::new();
    in_time("the response", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("x-client: 127.0.0.1\r\n"), "{answer}");
}

#[tokio::test]
async fn the_address_in_the_header_is_what_trusted_proxies_are_known_by() {
    let (authority, upstream) = (Authority::new(), Upstream::echo().await);
    let gateway = gateway(&authority, &upstream, "from: [127.0.0.1]", "trusted-proxies: [192.0.2.8]").await;
    let get = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n";
    let answer = gateway.raw(&[LINE, get].concat()).await;
    assert!(answer.contains("x-client: 192.0.2.7\r\n"), "a client is not believed: {answer}");
    let answer = gateway.raw(&[&binary(0)[..], get].concat()).await;
    assert!(answer.contains("x-client: 203.0.113.9\r\n"), "a proxy behind the balancer is: {answer}");
}
