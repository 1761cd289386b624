//! HTTP/1.1 exactly as RFC 9112 writes it and nothing else: what the gateway sends, either way, is read by
//! these rules, so that nothing ambiguous passes a test unnoticed.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::in_time;

/// A message as it was on the wire, less the chunks' framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub start: String,
    /// In their order, names as they were spelled.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The connection closed between two messages.
    Closed,
    /// The connection closed within a message, of which this came.
    CutOff(String),
    /// Broke a rule.
    NotHttp(String),
}

/// Which rule tells where a body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    ResponseToHead,
}

/// Takes messages from a connection, one after another.
pub struct Reader<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn message(&mut self, kind: Kind) -> Result<Message, End> {
        let head = self.head().await?;
        match self.rest(&head, kind).await {
            Err(End::CutOff(rest)) => Err(End::CutOff(format!("{head}\r\n\r\n…{rest}"))),
            result => result,
        }
    }

    async fn rest(&mut self, head: &str, kind: Kind) -> Result<Message, End> {
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut message = Message { start, fields: fields(lines)?, body: Vec::new(), trailers: Vec::new() };
        let lengths = message.values("content-length");
        let codings = message.values("transfer-encoding");
        match (kind, &lengths[..], &codings[..]) {
            (Kind::ResponseToHead, ..) => {}
            (Kind::Response, ..) if [" 204", " 304"].iter().any(|code| message.start.contains(code)) => {}
            (Kind::Response, ..) if message.start.starts_with("HTTP/1.1 1") => {}
            (_, [], ["chunked"]) => self.chunked(&mut message).await?,
            (_, [length], []) => {
                let length = length.parse().map_err(|_| End::NotHttp(head.to_owned()))?;
                message.body = self.exactly(length).await?;
            }
            (Kind::Request, [], []) => {}
            (Kind::Response, [], []) => {
                while self.more().await {}
                message.body = std::mem::take(&mut self.buffer);
            }
            _ => return Err(End::NotHttp(format!("ambiguous framing: {head}"))),
        }
        Ok(message)
    }

    async fn head(&mut self) -> Result<String, End> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.more().await {
                let rest = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(if rest.is_empty() { End::Closed } else { End::CutOff(rest) });
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).take(end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let plain = head.replace("\r\n", "");
        if plain.contains(|c: char| c.is_control() && c != '\t') {
            return Err(End::NotHttp(head));
        }
        Ok(head)
    }

    async fn chunked(&mut self, message: &mut Message) -> Result<(), End> {
        loop {
            let line = self.line().await?;
            // No extension, no sign, no white space.
            let hex = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| hex);
            let size = size.ok_or_else(|| End::NotHttp(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            let data = self.exactly(size).await;
            message.body.extend(data?);
            if self.exactly(2).await? != b"\r\n" {
                return Err(End::NotHttp("a chunk is longer than it says".into()));
            }
        }
        let mut lines = Vec::new();
        loop {
            match self.line().await? {
                line if line.is_empty() => break,
                line => lines.push(line),
            }
        }
        message.trailers = fields(lines.iter().map(String::as_str))?;
        Ok(())
    }

    async fn line(&mut self) -> Result<String, End> {
        let end = loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            self.more_or_cut_off().await?;
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn exactly(&mut self, n: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < n {
            self.more_or_cut_off().await?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    async fn more_or_cut_off(&mut self) -> Result<(), End> {
        if self.more().await {
            return Ok(());
        }
        Err(End::CutOff(String::from_utf8_lossy(&self.buffer).into_owned()))
    }

    /// A reset counts as closing.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(n @ 1..) => {
                self.buffer.extend_from_slice(&buffer[..n]);
                true
            }
            _ => false,
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, End> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| End::NotHttp(format!("field line {line:?}")))?;
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(End::NotHttp(format!("field name {name:?}")));
            }
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

impl Message {
    /// Every value of a field, in any case of its name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }

    /// The one value of a field; empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        match self.values(name)[..] {
            [] => "",
            [value] => value,
            ref many => panic!("{name} came as {many:?}"),
        }
    }

    /// Of a response.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Less the fields of these names.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.fields.retain(|(name, _)| !names.contains(&&*name.to_ascii_lowercase()));
        self
    }
}

/// With `\n` for line ends; trailers follow the body.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.start)?;
        for (name, value) in &self.fields {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", self.text())?;
        for (name, value) in &self.trailers {
            write!(f, "\n{name}: {value}")?;
        }
        Ok(())
    }
}

/// A client's connection, for saying what no client library says.
pub struct RawClient(pub Reader<TcpStream>);

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(Reader::new(TcpStream::connect(address).await.expect("a connection")))
    }

    /// The gateway may have closed already: then what it said is what counts.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = in_time("taking the bytes", self.0.stream.write_all(bytes.as_ref())).await;
        self
    }

    /// The next response, which is not an interim one.
    pub async fn response(&mut self) -> Message {
        self.try_response().await.expect("a response")
    }

    pub async fn try_response(&mut self) -> Result<Message, End> {
        in_time("a response", self.0.message(Kind::Response)).await
    }

    pub async fn response_to_head(&mut self) -> Message {
        in_time("a response", self.0.message(Kind::ResponseToHead)).await.expect("a response")
    }

    /// Waits for the end of the connection; nothing may come before it.
    pub async fn is_closed(&mut self) {
        let end = in_time("closing", self.0.message(Kind::Response)).await;
        assert_eq!(end, Err(End::Closed));
    }
}

/// An upstream that is as strict as can be, answers each request, once it has come whole, with `200` and
/// `ok`, and keeps what it got.
pub struct StrictUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Result<Message, End>>>>,
    task: JoinHandle<()>,
}

impl StrictUpstream {
    pub async fn start() -> Self {
        Self::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
    }

    pub async fn answering(response: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = shared.clone();
                tokio::spawn(async move {
                    let mut reader = Reader::new(stream);
                    loop {
                        let message = reader.message(Kind::Request).await;
                        let failed = message.is_err();
                        if message != Err(End::Closed) {
                            seen.lock().expect("no panic").push(message);
                        }
                        if failed || reader.stream.write_all(response).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come since the last call, in the order of arrival.
    pub fn take_seen(&self) -> Vec<Result<Message, End>> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

impl Drop for StrictUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
