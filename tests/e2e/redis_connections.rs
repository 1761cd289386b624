//! A connection to Redis is given up for what happens on it, and for nothing else.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::support::{Client, TestGateway, Upstream, client::Request, eventually, in_time, redis::Redis};

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    Nothing,
    Everything,
    /// All that follows, from where the gateway has sent this on.
    From(&'static [u8]),
}

/// A network between the gateway and Redis that can hold back what the gateway sends on its first connection.
struct Network {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    holds: watch::Sender<Holds>,
    /// What was held back.
    held: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Network {
    async fn to(redis: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, held) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let (holds, held_back) = watch::channel(Holds::Nothing);
        let counts = (connections.clone(), held.clone());
        let task = tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let redis = TcpStream::connect(redis).await.expect("Redis");
                let holds = (counts.0.fetch_add(1, Ordering::SeqCst) == 0).then(|| held_back.clone());
                tokio::spawn(carry(gateway, redis, holds, counts.1.clone()));
            }
        });
        Self { address, connections, holds, held, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn holds_back(&self, text: &[u8]) -> bool {
        self.held.lock().expect("no panic").windows(text.len()).any(|part| part == text)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When Redis closes, so does this.
async fn carry(gateway: TcpStream, redis: TcpStream, holds: Option<watch::Receiver<Holds>>, held: Arc<Mutex<Vec<u8>>>) {
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    let (mut from_redis, mut to_redis) = redis.into_split();
    let there = async {
        let mut buffer = [0; 16 * 1024];
        let Some(mut holds) = holds else {
            let _ = copy(&mut from_gateway, &mut to_redis).await;
            return;
        };
        loop {
            let sent = tokio::select! {
                read = from_gateway.read(&mut buffer) => match read {
                    Ok(read @ 1..) => &buffer[..read],
                    _ => return,
                },
                _ = holds.changed() => &[],
            };
            let carried = {
                let mut held = held.lock().expect("no panic");
                held.extend_from_slice(sent);
                let goes = match *holds.borrow_and_update() {
                    Holds::Nothing => true,
                    Holds::Everything => false,
                    Holds::From(text) => !held.windows(text.len()).any(|part| part == text),
                };
                if goes { std::mem::take(&mut *held) } else { Vec::new() }
            };
            if to_redis.write_all(&carried).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = copy(&mut from_redis, &mut to_gateway) => {}
    }
}

fn yaml(url: &str) -> String {
    format!(
        "state: {{ backend: {{ redis: {{ url: '{url}', timeout: 10s }} }} }}
routes:
  - name: all
    plugins: [{{ name: rate-limit, config: {{ limit: 1000000, per: 1h, on-store-failure: deny }} }}]
    respond: {{ status: 204 }}
"
    )
}

async fn status(address: SocketAddr) -> u16 {
    Client::connect(address).await.send(Request::get("/")).await.status.as_u16()
}

/// The identifiers of the gateway's connections, as Redis lists them.
async fn identifiers(redis: &Redis) -> Vec<String> {
    let mut stream = TcpStream::connect(redis.address()).await.expect("Redis");
    stream.write_all(b"CLIENT LIST\r\nQUIT\r\n").await.expect("sent");
    let mut text = String::new();
    in_time("the list", stream.read_to_string(&mut text)).await.expect("text");
    let of_gateway = text.lines().filter(|line| line.contains("cmd=") && !line.contains("cmd=client"));
    of_gateway.filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("id="))).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_request_on_a_connection_that_was_given_up_does_not_take_the_next_one_with_it() {
    let redis = Redis::start().await;
    let network = Network::to(redis.address()).await;
    let gateway = TestGateway::start(&yaml(&format!("redis://{}", network.address))).await;
    let address = gateway.address();
    eventually("being counted", async || status(address).await == 204).await;
    let old = identifiers(&redis).await;
    assert_eq!((network.connections(), old.len()), (1, 1), "{old:?}");

    network.holds.send_replace(Holds::Everything);
    let late = tokio::spawn(status(address));
    eventually("the request on its way", async || network.holds_back(b":q:{")).await;
    // Its probe tells the gateway that the connection is of no use, long before the request is given up.
    eventually("another connection", async || network.connections() == 2).await;
    eventually("being counted again", async || status(address).await == 204).await;
    assert!(!late.is_finished());
    assert_eq!(redis.ask(&format!("CLIENT KILL ID {}", old[0])).await, ":1");
    assert_eq!(in_time("the late request", late).await.unwrap(), 503);
    for _ in 0..20 {
        assert_eq!(status(address).await, 204);
    }
    assert_eq!(network.connections(), 2);
}

#[tokio::test]
async fn connections_that_redis_closes_are_opened_anew() {
    let redis = Redis::start().await;
    let gateway = TestGateway::start(&yaml(&redis.url())).await;
    let address = gateway.address();
    eventually("being counted", async || status(address).await == 204).await;
    for _ in 0..3 {
        let old = identifiers(&redis).await;
        assert_eq!(redis.ask(&format!("CLIENT KILL ID {}", old[0])).await, ":1");
        eventually("another connection", async || {
            let now = identifiers(&redis).await;
            now.len() == 1 && now != old && status(address).await == 204
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_concerns_its_request_and_not_the_connection() {
    let redis = Redis::start().await;
    // It is no number, which makes a script of the gateway return a list that is too short.
    assert_eq!(redis.ask("SET gateway:{.forgotten}:count x").await, "+OK");
    let gateway = TestGateway::start(&yaml(&redis.url())).await;
    let address = gateway.address();
    eventually("being counted", async || status(address).await == 204).await;
    let before = identifiers(&redis).await;
    for _ in 0..100 {
        assert_eq!(status(address).await, 204);
    }
    assert_eq!(identifiers(&redis).await, before);
}

/// With a place for one request.
fn with_places(url: &str, upstream: SocketAddr) -> String {
    format!(
        "state: {{ backend: {{ redis: {{ url: '{url}', timeout: 10s }} }} }}
upstreams: {{ up: {{ endpoints: ['http://{upstream}'] }} }}
routes:
  - {{ name: warm, match: {{ path: /warm }}, plugins: [{{ name: rate-limit, config: {{ limit: 1000000, per: 1h, on-store-failure: deny }} }}], respond: {{ status: 204 }} }}
  - {{ name: all, plugins: [{{ name: concurrency, config: {{ limit: 1, key: route, lease-ttl: 1h }} }}], upstream: up }}
"
    )
}

#[tokio::test]
async fn a_lease_whose_script_has_to_be_loaded_is_not_held_after_its_client_has_left() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let network = Network::to(redis.address()).await;
    let yaml = with_places(&format!("redis://{}", network.address), upstream.address());
    let gateway = TestGateway::start(&yaml).await;
    eventually("being counted", async || gateway.get("/warm").await.status == 204).await;
    // Redis does not know the script, and the gateway is about to send it.
    network.holds.send_replace(Holds::From(b"LOAD"));
    let mut stream = TcpStream::connect(gateway.address()).await.expect("the gateway");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    eventually("the script on its way", async || network.holds_back(b"LOAD")).await;
    drop(stream);
    eventually("the release behind it", async || network.holds_back(b"ZREM")).await;
    network.holds.send_replace(Holds::Nothing);
    let added = "string.match(redis.call('INFO', 'commandstats'), 'cmdstat_zadd:calls=(%d+)')";
    let added = format!("EVAL \"return {added} or '0'\" 0");
    eventually("the acquisition", async || redis.bulk(&added).await != "0").await;
    let key = "gateway:concurrency:l:{.route=all/all}";
    eventually("the release", async || redis.ask(&format!("ZCARD {key}")).await == ":0").await;
}
