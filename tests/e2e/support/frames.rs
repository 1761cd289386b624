//! HTTP/2 frame by frame, for what no client library sends.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::in_time;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A connection on which the prefaces have been exchanged.
pub struct FrameClient {
    stream: TcpStream,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered(u16),
    Reset,
    /// The whole connection was given up.
    Ended,
}

impl FrameClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut client = Self { stream, open: true };
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    /// The gateway may have given up already; that shows when reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        if self.open {
            self.open = in_time("taking frames", self.stream.write_all(bytes)).await.is_ok();
        }
    }

    /// Whether the gateway still takes what is sent.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The next frame; settings are acknowledged on the way. `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        in_time("a frame", self.stream.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        in_time("a frame's payload", self.stream.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame_ = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame_.kind == SETTINGS && frame_.flags == 0 {
            self.send(&frame(SETTINGS, 1, 0, &[])).await;
        }
        Some(frame_)
    }

    /// Waits for what becomes of a stream.
    pub async fn fate(&mut self, stream: u32) -> Fate {
        loop {
            match self.next().await {
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => {
                    return Fate::Answered(status(&frame.payload));
                }
                Some(frame) if frame.kind == RST_STREAM && frame.stream == stream => return Fate::Reset,
                Some(frame) if frame.kind == GOAWAY && frame.payload[4..8] != [0; 4] => return Fate::Ended,
                Some(_) => {}
                None => return Fate::Ended,
            }
        }
    }

    /// Reads until the gateway closes.
    pub async fn is_ended(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// RFC 9113 §4.1.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of sane size").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A whole header section in one frame.
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

pub fn reset(stream: u32) -> Vec<u8> {
    // CANCEL
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// RFC 7541 §6.2.2: literals without indexing and without Huffman coding.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

fn length(bytes: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        return bytes.push(n as u8);
    }
    bytes.push(127);
    n -= 127;
    while n >= 128 {
        bytes.push((n % 128 + 128) as u8);
        n /= 128;
    }
    bytes.push(n as u8);
}

/// The status comes first: from the static table (RFC 7541, appendix A), or as a literal with its name from it.
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        // Three digits are shorter in Huffman coding (§5.2): 0 is 00000, 1 00001, 2 00010, 3 to 9 six bits from 011001.
        [_, 0x82, a, b, ..] => huffman_digits(u16::from_be_bytes([*a, *b])),
        [_, 0x83, a, b, c, ..] => huffman_digits_long(u32::from_be_bytes([0, *a, *b, *c])),
        _ => 0,
    }
}

fn huffman_digits(bits: u16) -> u16 {
    digits(u32::from(bits) << 16)
}

fn huffman_digits_long(bits: u32) -> u16 {
    digits(bits << 8)
}

/// Three digits from the top bits.
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
