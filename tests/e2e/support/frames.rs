//! HTTP/2 frame by frame (RFC 9113 §4.1), for what client libraries hide or do not let one do.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::in_time;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A client that has sent its preface. It acknowledges what must be, and shows every frame.
pub struct Frames {
    stream: TcpStream,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered(u16),
    Reset,
    /// The whole connection was given up.
    Ended,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frames {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("a connection")).await
    }

    /// On a connection of the test's making.
    pub async fn over(mut stream: TcpStream) -> Self {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface is taken");
        let mut frames = Self { stream };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.stream.write_all(&frame(kind, flags, stream, payload)).await.expect("the frame is taken");
    }

    /// Sends several frames at once; `false` if the gateway has given up, which shows when reading.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        in_time("taking frames", self.stream.write_all(bytes)).await.is_ok()
    }

    /// A GET of `/` with further fields, by the static table and literals that are not indexed (RFC 7541 §6.2.2).
    pub async fn get(&mut self, stream: u32, authority: &str, fields: &[(&str, &str)]) {
        // `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` by the name's index.
        let mut block = vec![0x82, 0x86, 0x84, 0x01];
        push_string(&mut block, authority);
        for (name, value) in fields {
            block.push(0);
            push_string(&mut block, name);
            push_string(&mut block, value);
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block).await;
    }

    /// The next frame; none at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = in_time("a frame", self.read()).await?;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => _ = self.try_send(&self::frame(SETTINGS, ACK, 0, &[])).await,
            PING if frame.flags & ACK == 0 => _ = self.try_send(&self::frame(PING, ACK, 0, &frame.payload)).await,
            _ => {}
        }
        Some(frame)
    }

    /// Skips to the next frame of a kind.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            match self.next().await {
                Some(frame) if frame.kind == kind => return frame,
                Some(_) => {}
                None => panic!("the connection ended before a frame of type {kind}"),
            }
        }
    }

    /// Waits for what becomes of a stream.
    pub async fn fate(&mut self, stream: u32) -> Fate {
        loop {
            match self.next().await {
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => {
                    return Fate::Answered(status(&frame.payload));
                }
                Some(frame) if frame.kind == RST_STREAM && frame.stream == stream => return Fate::Reset,
                Some(frame) if frame.kind == GOAWAY && frame.error() != 0 => return Fate::Ended,
                Some(_) => {}
                None => return Fate::Ended,
            }
        }
    }

    /// Reads until the gateway closes.
    pub async fn is_ended(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

impl Frame {
    /// Whether it is the last one of its stream.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of RST_STREAM, and of GOAWAY behind the last stream.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.number(at)
    }

    /// The four bytes from `at` on.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// What SETTINGS says about a parameter.
    pub fn setting(&self, parameter: u16) -> Option<u32> {
        let mut settings = self.payload.chunks_exact(6);
        let found = settings.find(|setting| setting[..2] == parameter.to_be_bytes())?;
        Some(u32::from_be_bytes(found[2..].try_into().expect("four bytes")))
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A whole header section in one frame.
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// RST_STREAM with CANCEL.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Literals that are not indexed (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    block
}

/// Not Huffman-coded; the length as RFC 7541 §5.1 has it.
fn push_string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128 + 128) as u8);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(text.as_bytes());
}

/// The status comes first: from the static table (RFC 7541, appendix A), or as a literal with its name from it.
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // Three digits in Huffman coding are two or three bytes.
        [_, 0x82, a, b, ..] => digits(u32::from_be_bytes([*a, *b, 0, 0])),
        [_, 0x83, a, b, c, ..] => digits(u32::from_be_bytes([*a, *b, *c, 0])),
        _ => panic!("no status in {block:?}"),
    }
}

/// Three digits from the top bits: 0 to 2 are five bits, the others six (RFC 7541, appendix B).
fn digits(mut bits: u32) -> u16 {
    let mut number = 0;
    for _ in 0..3 {
        let short = bits >> 27;
        let (digit, used) = if short < 3 { (short, 5) } else { ((bits >> 26) - 0b01_1001 + 3, 6) };
        number = number * 10 + digit as u16;
        bits <<= used;
    }
    number
}
