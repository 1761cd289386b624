//! Where the buckets of a case are: in the gateway's memory, in a Redis, or nowhere.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream as StdStream},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{Instant, sleep_until},
};

use super::{
    answers::StoreFault,
    cases::{Case, Cases},
    service::refusing,
};

/// For a reply of Redis that no case delays.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pieces of replies that wait for their delay.
const MOST_PIECES: usize = 1024;

/// The state backend of a case.
pub(super) struct Store {
    /// What the gateway's configuration says about it; none for its memory.
    pub(super) backend: Option<Value>,
    /// Steps begin when the gateway is connected.
    pub(super) is_reachable: bool,
    /// What the case leaves there is removed.
    _used: Option<Used>,
    _refusing: Option<socket2::Socket>,
    _stop: Option<oneshot::Sender<()>>,
}

/// A Redis by its URL, `redis://HOST:PORT/DATABASE`, and how the case's keys begin.
struct Used {
    host: String,
    database: u32,
    prefix: String,
}

impl Store {
    pub(super) fn start(cases: &Cases, case: &Case) -> io::Result<Self> {
        let memory = Self { backend: None, is_reachable: false, _used: None, _refusing: None, _stop: None };
        let timeout = format!("{}ms", (TIMEOUT + case.delay_of_store()).as_millis());
        let backend = |url: &str, prefix: &str| {
            Some(json!({ "backend": { "redis": { "url": url, "prefix": prefix, "timeout": timeout } } }))
        };
        if let Some(StoreFault::Unavailable) = case.store {
            let (socket, address) = refusing()?;
            return Ok(Self {
                backend: backend(&format!("redis://{address}"), "gateway:"),
                _refusing: Some(socket),
                ..memory
            });
        }
        let Some(url) = &cases.redis else {
            return match case.store {
                Some(_) => Err(io::Error::other(format!(
                    "case `{}`: only a store in Redis can be slow: give `redis` in the file, or --redis URL",
                    case.name
                ))),
                None => Ok(memory),
            };
        };
        let used = Used::of(url)?;
        let (proxy, stop) = slow(used.host.clone(), case.delay_of_store())?;
        let url = format!("redis://{proxy}/{}", used.database);
        let backend = backend(&url, &used.prefix);
        Ok(Self { backend, is_reachable: true, _used: Some(used), _refusing: None, _stop: Some(stop) })
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        // What cannot be removed has a prefix that no other case has.
        let _ = self.clean();
    }
}

impl Used {
    fn of(url: &str) -> io::Result<Self> {
        let wrong = || io::Error::other(format!("`{url}` is not the URL of a Redis such as redis://127.0.0.1:6379"));
        let rest = url.strip_prefix("redis://").ok_or_else(wrong)?;
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| wrong())? };
        if host.is_empty() || host.contains('@') {
            return Err(wrong());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port { host.to_owned() } else { format!("{host}:6379") };
        Ok(Self { host, database, prefix: format!("gateway-test-{:016x}:", fastrand::u64(..)) })
    }

    /// Removes the keys of the case.
    fn clean(&self) -> io::Result<()> {
        const CLEAN: &str = "for _, key in ipairs(redis.call('keys', ARGV[1])) do redis.call('del', key) end";
        let mut stream = StdStream::connect(&self.host)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let pattern = format!("*{}*", self.prefix);
        let database = self.database.to_string();
        let commands: [&[&str]; 2] = [&["SELECT", &database], &["EVAL", CLEAN, "0", &pattern]];
        for command in commands {
            let words = command.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>();
            write!(stream, "*{}\r\n{words}", command.len())?;
        }
        let mut replies = BufReader::new(stream);
        let mut line = String::new();
        for _ in commands {
            replies.read_line(&mut line)?;
        }
        Ok(())
    }
}

/// A proxy whose replies come late. It ends when the sender is dropped.
fn slow(target: String, delay: Duration) -> io::Result<(SocketAddr, oneshot::Sender<()>)> {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    thread::Builder::new().name("store".into()).spawn(move || {
        LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                _ = stopped => {}
                _ = accept(socket, target, delay) => {}
            }
        });
    })?;
    Ok((address, stop))
}

async fn accept(socket: std::net::TcpListener, target: String, delay: Duration) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (client, _) = listener.accept().await?;
        let target = target.clone();
        tokio::task::spawn_local(async move {
            // If Redis cannot be reached, the gateway's connection ends.
            let Ok(server) = TcpStream::connect(&target).await else { return };
            let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
            let ((mut from_client, to_client), (from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let (pieces, late) = mpsc::channel(MOST_PIECES);
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                _ = read(from_server, pieces, delay) => {}
                _ = write(to_client, late) => {}
            }
        });
    }
}

/// Says of each piece when it is due.
async fn read(mut from: OwnedReadHalf, pieces: mpsc::Sender<(Instant, Vec<u8>)>, delay: Duration) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        let piece = buffer.get(..count).unwrap_or_default().to_vec();
        if piece.is_empty() || pieces.send((Instant::now() + delay, piece)).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        to.write_all(&piece).await?;
    }
    Ok(())
}
