//! Keys as text: PEM (RFC 7468), and base64 (RFC 4648 §4).

use std::borrow::Cow;

use base64ct::{Base64, Encoding};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The DER of a key that may be in PEM. `None` if it begins as PEM of this label and is not.
pub(super) fn der<'a>(key: &'a [u8], label: &str) -> Option<Cow<'a, [u8]>> {
    // DER begins with the tag of a sequence, which is no dash.
    if !key.trim_ascii_start().starts_with(BEGIN.as_bytes()) {
        return Some(Cow::Borrowed(key));
    }
    let text = std::str::from_utf8(key).ok()?.trim();
    let rest = text.strip_prefix(BEGIN)?.strip_prefix(label)?.strip_prefix(DASHES)?;
    let body = rest.strip_suffix(DASHES)?.strip_suffix(label)?.strip_suffix(END)?;
    base64(body.as_bytes()).map(Cow::Owned)
}

/// What base64 with padding stands for; white space does not count. In constant time for texts of the same length.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Base64::decode_vec(std::str::from_utf8(&packed).ok()?).ok()
}
