//! What clients can make the gateway keep, in file descriptors and in memory.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Client, Process, TestGateway, Upstream,
    client::Request,
    counted::{failed, failures},
    eventually,
    frames::{END_HEADERS, END_STREAM, Frames, HEADERS},
    in_time,
};

fn yaml(upstream: SocketAddr) -> String {
    format!(
        "workers: 2
listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, upstream: it }}]
"
    )
}

/// A gateway with limits of file descriptors, as `ulimit` sets them.
fn limited(folder: &TempDir, upstream: SocketAddr, ulimit: &str) -> Process {
    fs::write(folder.path().join("gateway.yaml"), yaml(upstream)).unwrap();
    let mut command = tokio::process::Command::new("sh");
    let script = format!("{ulimit}; exec \"$0\" run -c gateway.yaml");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_gateway"));
    Process::of(folder.path(), command, std::process::Stdio::null())
}

#[tokio::test]
async fn the_soft_limit_of_file_descriptors_is_raised_to_the_hard_one() {
    let (upstream, folder) = (Upstream::echo().await, TempDir::new().unwrap());
    let mut gateway = limited(&folder, upstream.address(), "ulimit -S -n 200; ulimit -H -n 700");
    gateway.addresses().await;
    assert_eq!(gateway.open_files(), (700, 700));
}

#[tokio::test]
async fn clients_cannot_take_the_file_descriptors_that_upstreams_need() {
    let (upstream, folder) = (Upstream::echo().await, TempDir::new().unwrap());
    let mut gateway = limited(&folder, upstream.address(), "ulimit -n 300");
    let warning = gateway.logged("`limits.connections` is 16384").await;
    assert!(warning.contains("of 300 file descriptors only 109 are for clients"), "{warning}");
    let address = gateway.addresses().await[0];
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(address).await;
        // Accepted before the idle ones: each worker has a queue of its own.
        assert_eq!(client.send(Request::get("/")).await.status, 200);
        clients.push(client);
    }
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    // Those over the limit are told so, and closed.
    let last = idle.last_mut().unwrap();
    let mut refusal = String::new();
    in_time("being refused", last.read_to_string(&mut refusal)).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal:?}");
    // Each of the others can be served, all of them at a time.
    let asking: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.send(Request::get("/")).await.status }))
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

/// A service that reads what comes and answers nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {}
            });
        }
    });
    address
}

const STREAMS: u32 = 128;
const CONNECTIONS: usize = 4;
/// The dynamic table takes an entry of 4096 bytes, 32 of which are no text (RFC 7541 §4.1).
const ENTRY: usize = 4000;
/// So many of them are just within the limit for a request's headers.
const REFERENCES: usize = 15;

/// A block that begins a request for `/`, to which fields can be added.
fn request() -> Vec<u8> {
    // `:method: GET`, `:scheme: http`, `:path: /`, and `:authority: a` by the name's index.
    vec![0x82, 0x86, 0x84, 0x01, 1, b'a']
}

/// A field that enters the dynamic table (RFC 7541 §6.2.1): after that, one byte is enough for it.
fn entering(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40, name.len() as u8];
    block.extend(name.as_bytes());
    let mut rest = value.len() - 127;
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
    block.extend(value.as_bytes());
    block
}

/// The newest entry of the dynamic table.
const NEWEST: u8 = 0x80 | 62;

/// Most memory that a gateway has had when all streams of all connections had a request under way.
async fn memory_with(references: usize) -> u64 {
    let (upstream, folder) = (silent().await, TempDir::new().unwrap());
    fs::write(folder.path().join("gateway.yaml"), yaml(upstream)).unwrap();
    let mut gateway = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
    let admin = gateway.admin().await;
    let address = gateway.addresses().await[0];
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Frames::connect(address).await;
        for number in 0..STREAMS {
            let mut block = request();
            match number {
                0 => block.extend(entering("x-large", &"x".repeat(ENTRY))),
                _ => block.extend(vec![NEWEST; references]),
            }
            client.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block).await;
        }
        connections.push(client);
    }
    let open = format!("gateway_upstream_connections{{upstream=\"it\"}} {}\n", CONNECTIONS * STREAMS as usize);
    eventually("every request reaching the service", async || {
        Client::connect(admin).await.send(Request::get("/metrics")).await.text().contains(&open)
    })
    .await;
    gateway.memory("VmRSS")
}

#[tokio::test]
async fn fields_that_a_client_sends_once_are_not_held_once_for_each_request() {
    let small = memory_with(1).await;
    let large = memory_with(REFERENCES).await;
    // Written out they are 30 MB more.
    let held = large.saturating_sub(small) >> 20;
    assert!(held < 14, "{held} MiB more");
}

#[tokio::test]
async fn cookies_that_are_joined_are_bounded_for_each_connection() {
    let upstream = silent().await;
    let gateway = TestGateway::start(&format!(
        "upstreams: {{ it: {{ endpoints: ['http://{upstream}'] }} }}
routes: [{{ name: all, upstream: it }}]
"
    ))
    .await;
    // The same ones, as browsers send them: one copy is enough for all.
    let mut client = Frames::connect(gateway.address()).await;
    for number in 0..STREAMS {
        let mut block = request();
        match number {
            0 => block.extend(entering("cookie", &format!("a={}", "x".repeat(ENTRY)))),
            _ => block.extend(vec![NEWEST; REFERENCES]),
        }
        client.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block).await;
    }
    eventually("every request reaching the service", async || {
        let open = format!("gateway_upstream_connections{{upstream=\"it\"}} {STREAMS}\n");
        gateway.metrics().await.contains(&open)
    })
    .await;
    assert_eq!(failures(&gateway, "head-too-large").await, 0);

    // Different ones for each request are copies.
    let mut client = Frames::connect(gateway.address()).await;
    for number in 0..STREAMS {
        let mut block = request();
        match number {
            0 => block.extend(entering("cookie", &format!("a={}", "x".repeat(ENTRY)))),
            _ => {
                block.extend(vec![NEWEST; REFERENCES - 1]);
                let last = format!("n={number}");
                block.extend([0, 6]);
                block.extend(b"cookie");
                block.push(last.len() as u8);
                block.extend(last.as_bytes());
            }
        }
        client.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block).await;
    }
    // Nine of 56 KB are within 512 KiB; the first request has one cookie only.
    failed(&gateway, "head-too-large", u64::from(STREAMS) - 10).await;
}
