//! Digests.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 in hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    hex(digest(&SHA256, content).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
