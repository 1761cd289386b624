//! Messages of WebSockets, as the plugin of each language changes them.

use std::{fs, path::Path};

use futures_util::SinkExt;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    support::{TestGateway, eventually},
    websocket::{Echo, closed, next, open},
};

/// What `errand` does with messages in both directions, behind it a server that sends them back.
pub(super) async fn pass_through(component: &Path) {
    let upstream = Echo::start().await;
    let folder = TempDir::new().expect("a folder");
    for name in ["key", "list"] {
        fs::write(folder.path().join(name), "a").expect("a file");
    }
    let yaml = format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
sinks: {{ audit: {{ file: audit.log }} }}
secrets: {{ key: {{ file: key }} }}
files: {{ list: list }}
plugins:
  errand:
    component: {component}
    limits: {{ time: 5s }}
    grants: {{ store: [visits], secrets: [key], files: [list], sinks: [audit], upstreams: [it] }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - name: chat
    upstream: it
    upgrades: [websocket]
    plugins:
      - name: errand
        config: {{ mark: m, count: 1, ratio: 1, loud: true, names: [], ages: {{}} }}
",
        component = component.display(),
        upstream = upstream.address,
    );
    let gateway = TestGateway::start_in(folder, &yaml).await;
    let (mut socket, _) = open(&gateway, "/chat").await.expect("a WebSocket");
    for (sent, expected) in [
        (Message::text("grüße, 世界"), vec![Message::text("grüße, 世界\nclient 1\nupstream 2")]),
        (Message::binary(vec![0, 200]), vec![Message::binary(vec![0, 200, 0, 255, 0, 255])]),
        (Message::text("reply"), vec![Message::text("reply to the client")]),
        (Message::text("drop"), vec![]),
        (Message::text("two"), vec![Message::text("1\nupstream 8"), Message::text("2\nupstream 9")]),
        (Message::text(""), vec![Message::text("\nclient 10\nupstream 11")]),
        (Message::text("close"), vec![]),
    ] {
        socket.send(sent.clone()).await.expect("taken");
        for expected in expected {
            assert_eq!(next(&mut socket).await, Some(expected), "{sent:?}");
        }
    }
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Library(4000)));
    let (mut socket, _) = open(&gateway, "/chat").await.expect("a WebSocket");
    socket.send(Message::text("fail")).await.expect("taken");
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Error));
    for text in ["/chat messages: 12", "/chat messages: 0"] {
        let file = gateway.folder().join("audit.log");
        eventually(text, async || fs::read_to_string(&file).is_ok_and(|log| log.contains(text))).await;
    }
}
