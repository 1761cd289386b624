//! What is said in logs is what an operator has to know, and lines that are lost are counted as lost.

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    Client, Process, RawUpstream, TestGateway, Upstream,
    client::Request,
    eventually,
    frames::{self, Fate, Frames},
    guests, nobody,
};

#[tokio::test]
async fn a_line_for_which_the_disk_has_no_room_is_counted_as_lost() {
    let upstream = Upstream::echo().await;
    let full = json!({ "sink": "full", "format": "json" });
    let kept = json!({ "sink": "kept", "format": "json" });
    let yaml = format!(
        "sinks: {{ full: {{ file: /dev/full }}, kept: {{ file: access.log }} }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }} }}
global-plugins: [{{ name: access-log, config: {full} }}, {{ name: access-log, config: {kept} }}]
routes: [{{ name: all, upstream: echo }}]
",
        upstream.address()
    );
    let gateway = TestGateway::start(&yaml).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let lines = async |sink: &str, result: &str| {
        gateway.metric("gateway_sink_lines_total", &[("sink", sink), ("result", result)]).await
    };
    eventually("all are counted", async || {
        lines("full", "error").await == Some(3) && lines("kept", "written").await == Some(3)
    })
    .await;
    assert_eq!((lines("full", "written").await, lines("kept", "error").await), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_client_that_leaves_is_no_warning() {
    let upstream = Upstream::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let edits = json!({ "request": { "remove": ["/a"] } });
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ echo: {{ endpoints: ['http://{}'] }}, nobody: {{ endpoints: ['http://{}'] }} }}
routes:
  - {{ name: all, upstream: echo }}
  - {{ name: read, match: {{ path: /read }}, plugins: [{{ name: json-body, config: {edits} }}], upstream: echo }}
  - {{ name: nobody, match: {{ path: /nobody }}, upstream: nobody }}
",
        upstream.address(),
        nobody()
    );
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let (address, admin) = (process.addresses().await[0], process.admin().await);
    for path in ["/", "/read"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\nbegun"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        drop(stream);
        let mut client = Frames::connect(address).await;
        let request = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a"),
            ("content-type", "application/json"),
        ];
        client.try_send(&frames::headers(1, 0, &request)).await;
        client.try_send(&frames::frame(frames::DATA, 0, 1, b"begun")).await;
        // When the next one is answered, the first is under way.
        client.get(3, "a", &[]).await;
        assert_eq!(client.fate(3).await, Fate::Answered(200));
    }
    let left = async || {
        let page = Client::connect(admin).await.send(Request::get("/metrics")).await.text();
        let count =
            page.lines().find_map(|line| line.strip_prefix("gateway_failures_total{reason=\"client-closed\"} "));
        count == Some("4")
    };
    eventually("all have ended", left).await;
    assert!(!process.log().contains("WARN"), "{}", process.log());
    // An upstream that is not there is one.
    assert_eq!(Client::connect(address).await.send(Request::get("/nobody")).await.status, 502);
    assert!(process.logged("cannot connect").await.contains("WARN"));
}

#[tokio::test]
async fn the_log_names_the_time_out_that_was_hit() {
    let silent = RawUpstream::answering(b"").await;
    let half = RawUpstream::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let folder = guests::folder();
    let waits = "plugins: [{ name: waiter, config: { do: call-upstream, upstream: silent, timeout-ms: 60000 } }]";
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
timeouts: {{ request: 1h, body: 1h }}
plugins: {{ {waiter} }}
upstreams:
  silent: {{ endpoints: ['http://{silent}'] }}
  impatient: {{ endpoints: ['http://{silent}'], timeouts: {{ response: 100ms }} }}
  half: {{ endpoints: ['http://{half}'], timeouts: {{ body: 100ms }} }}
  slow: {{ endpoints: ['http://{half}'] }}
routes:
  - {{ name: request, match: {{ path: /request }}, upstream: silent, timeouts: {{ request: 100ms }} }}
  - {{ name: plugin, match: {{ path: /plugin }}, upstream: silent, timeouts: {{ request: 100ms }}, {waits} }}
  - {{ name: response, match: {{ path: /response }}, upstream: impatient }}
  - {{ name: head, match: {{ path: /head }}, upstream: silent, timeouts: {{ total: 100ms }} }}
  - {{ name: body, match: {{ path: /body }}, upstream: half }}
  - {{ name: whole, match: {{ path: /whole }}, upstream: slow, timeouts: {{ total: 100ms }} }}
",
        waiter = guests::waiter("upstreams: [silent]", "limits: { time: 10s }"),
        silent = silent.address(),
        half = half.address(),
    );
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let address = process.addresses().await[0];
    for (path, limit) in [
        ("/request", "no response after"),
        ("/plugin", "it waited until `timeouts.request` was over"),
        ("/response", "the upstream's `timeouts.response`"),
        ("/head", "(`timeouts.total`)"),
        ("/body", "within `timeouts.body`"),
        ("/whole", "within `timeouts.total`"),
    ] {
        let _ = Client::connect(address).await.try_send(Request::get(path)).await;
        let line = process.logged(limit).await;
        assert!(path != "/request" || line.contains("(`timeouts.request`)"), "{line}");
    }
}
