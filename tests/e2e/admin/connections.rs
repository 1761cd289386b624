//! What clients do to the admin listener that send nothing, or take nothing.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::ask;
use crate::support::{TestGateway, client::Request};

const ROUTES: &str = "routes: [{ name: all, respond: { status: 204 } }]\n";
/// An idle connection is closed after ten seconds: whoever waits for that comes too late.
const BEFORE_IDLE_ONES_CLOSE: Duration = Duration::from_secs(7);

async fn is_healthy(gateway: &TestGateway) {
    let answer = tokio::time::timeout(BEFORE_IDLE_ONES_CLOSE, ask(gateway, Request::get("/healthz"))).await;
    assert_eq!(answer.expect("it is answered while the other connections are open").status, 200);
}

#[tokio::test]
async fn idle_connections_do_not_keep_a_health_check_waiting() {
    let gateway = TestGateway::start(ROUTES).await;
    let mut idle = Vec::new();
    // More than there are places; some have begun a request.
    for number in 0..100 {
        let mut stream = TcpStream::connect(gateway.admin()).await.expect("a connection");
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a").await.expect("it takes some bytes");
        }
        idle.push(stream);
    }
    is_healthy(&gateway).await;
}

#[tokio::test]
async fn clients_that_never_read_do_not_keep_a_health_check_waiting() {
    let gateway = TestGateway::start(ROUTES).await;
    let mut slow = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(gateway.admin()).await.expect("a connection");
        // Far more than fits into the buffers in between.
        let requests = "GET /dashboard.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        stream.write_all(requests.as_bytes()).await.expect("it takes some bytes");
        slow.push(stream);
    }
    is_healthy(&gateway).await;
}
