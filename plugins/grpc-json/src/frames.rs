//! Messages as gRPC frames them: a flag, a length of four bytes, and the message (grpc/doc/PROTOCOL-HTTP2.md).

pub(crate) const PREFIX: usize = 5;

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message(&'a [u8]),
    /// Not before so many bytes are there.
    Wants(usize),
    /// We accept no compression, so nobody may compress.
    Compressed,
}

pub(crate) fn first(bytes: &[u8]) -> Frame<'_> {
    let Some((&[flag, a, b, c, d], rest)) = bytes.split_first_chunk::<PREFIX>() else { return Frame::Wants(PREFIX) };
    if flag != 0 {
        return Frame::Compressed;
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match rest.get(..length) {
        Some(message) => Frame::Message(message),
        None => Frame::Wants(length.saturating_add(PREFIX)),
    }
}

/// A framed message; `None` if its length cannot be said.
pub(crate) fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.push(0);
    frame.extend_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    frame.extend_from_slice(message);
    Some(frame)
}
