//! Plugins that read, change, drop, add and answer the messages of WebSockets and the events of event streams.

mod events;
mod websockets;

use std::{fs, net::SocketAddr};

use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{
    support::{TestGateway, eventually, guests},
    websocket,
};

const CALLS: &str = "gateway_wasm_calls_total";

/// A gateway whose route has these plugins, and whose plugin `messenger` has these settings besides its sink.
async fn gateway(upstream: SocketAddr, settings: &str, plugins: &str, more: &str) -> TestGateway {
    gateway_with(upstream, &format!("grants: {{ sinks: [log] }}{settings}"), plugins, more).await
}

/// The same, with all settings of the plugin.
async fn gateway_with(upstream: SocketAddr, settings: &str, plugins: &str, more: &str) -> TestGateway {
    TestGateway::start_in(guests::folder(), &config(upstream, settings, plugins, more)).await
}

fn config(upstream: SocketAddr, settings: &str, plugins: &str, more: &str) -> String {
    format!(
        "workers: 1
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
sinks: {{ log: {{ file: messages.log }} }}
plugins:
  messenger: {{ component: messenger.wasm, {settings} }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - name: filtered
    upstream: it
    upgrades: [websocket]
    plugins: [{plugins}]
{more}
"
    )
}

/// `messenger` by this name, with more of its configuration.
fn messenger(name: &str, more: &str) -> String {
    format!("{{ name: messenger, config: {{ name: {name}, sink: log{more} }} }}")
}

async fn logged(gateway: &TestGateway, text: &str) {
    let file = gateway.folder().join("messages.log");
    eventually(text, async || fs::read_to_string(&file).is_ok_and(|log| log.contains(text))).await;
}

type Socket = WebSocketStream<tokio::net::TcpStream>;

async fn open(gateway: &TestGateway) -> Socket {
    websocket::open(gateway, "/").await.expect("a WebSocket").0
}

async fn say(socket: &mut Socket, text: &str) {
    futures_util::SinkExt::send(socket, Message::text(text)).await.expect("taken");
}

async fn hears(socket: &mut Socket, text: &str) {
    assert_eq!(websocket::next(socket).await, Some(Message::text(text)));
}
