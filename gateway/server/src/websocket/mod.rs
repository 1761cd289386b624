//! A WebSocket whose messages plugins want (RFC 6455). Each side talks to the gateway: its frames are read, its messages pass the
//! plugins, and what they become is framed anew. Without such plugins a connection is a tunnel, which copies bytes (`tunnel`).
//!
//! Modules use those to their right: `carry` → `decode`, `outlet`.

use bytes::BytesMut;

mod carry;
mod decode;
mod outlet;

pub(super) use carry::carry;
pub use decode::{Decoder, Incoming, Violation};

/// Opcodes (RFC 6455 §5.2).
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// Writes an unfragmented frame, masked with the key if there is one.
pub fn encode(opcode: u8, payload: &[u8], key: Option<[u8; 4]>, to: &mut BytesMut) {
    let masked = if key.is_some() { 0x80 } else { 0 };
    to.reserve(14 + payload.len());
    match payload.len() {
        length @ 0..126 => to.extend_from_slice(&[0x80 | opcode, masked | length as u8]),
        length @ 126..0x1_0000 => {
            to.extend_from_slice(&[0x80 | opcode, masked | 126]);
            to.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            to.extend_from_slice(&[0x80 | opcode, masked | 127]);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        to.extend_from_slice(&key);
    }
    let begin = to.len();
    to.extend_from_slice(payload);
    if let Some(key) = key {
        mask(&mut to[begin..], key);
    }
}

/// Masks a payload, or takes the mask away (RFC 6455 §5.3).
fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}
