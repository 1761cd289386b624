//! Bodies that pass through a plugin, by the gateway's rules.

use gateway_rules::reply::{self, MAX_STATE_BYTES};

use super::{TestHost, data_grants::Data};
use crate::{
    Body, Error,
    body::{Chunk, ChunkResult, Fields},
};

/// The state that a decision to stream a body gives.
pub(super) fn check_state(state: &[u8]) -> Result<(), Error> {
    if state.len() > MAX_STATE_BYTES {
        return Err(Error::new(format!("its stream state is over {MAX_STATE_BYTES} bytes")));
    }
    Ok(())
}

/// Trailers of a body that a plugin makes.
pub(super) fn checked_trailers(trailers: Fields) -> Result<Fields, String> {
    let trailers = reply::trailers(trailers.into_iter()).map_err(|error| error.to_string())?;
    let line =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    Ok(trailers.iter().map(line).collect())
}

/// As which headers the trailers of a body are granted.
pub(super) struct Trailers<'a> {
    pub(super) host: &'a TestHost,
    pub(super) data: Data,
}

/// Lets a body arrive `size` bytes at a time. Returns what is sent in its place, and leaves the last state in `state`.
pub(super) fn pass(
    body: Body,
    size: usize,
    limit: usize,
    state: &mut Vec<u8>,
    trailers: Trailers<'_>,
    mut on_chunk: impl FnMut(Chunk) -> Result<ChunkResult, Error>,
) -> Result<Body, Error> {
    let (mut left, mut sent, mut min_bytes) = (Vec::new(), Body::default(), 1);
    for arrived in body.bytes.chunks(size.max(1)) {
        left.extend_from_slice(arrived);
        if left.len() > limit.saturating_add(arrived.len()) {
            return Err(Error::new(format!("it leaves more than {limit} bytes for later")));
        }
        while !left.is_empty() && left.len() >= min_bytes {
            let result = on_chunk(Chunk { state: state.clone(), bytes: left.clone(), end: None })?;
            let consumed = conclude(&result, &mut left, state)?;
            if result.min_bytes > limit {
                return Err(Error::new(format!("it wants {} bytes at once, and may have {limit}", result.min_bytes)));
            }
            sent.bytes.extend(result.output);
            // Not the same call again.
            min_bytes = if consumed == 0 { result.min_bytes.max(left.len() + 1) } else { result.min_bytes };
        }
    }
    let end = trailers.host.readable_fields(trailers.data, body.trailers.clone());
    let result = on_chunk(Chunk { state: state.clone(), bytes: left.clone(), end: Some(end) })?;
    conclude(&result, &mut left, state)?;
    if !left.is_empty() {
        return Err(Error::new(format!("it left {} bytes at the end", left.len())));
    }
    sent.bytes.extend(result.output);
    let returned = checked_trailers(result.trailers).map_err(Error::new)?;
    sent.trailers = trailers.host.granted_trailers(trailers.data, body.trailers, returned);
    Ok(sent)
}

fn conclude(result: &ChunkResult, left: &mut Vec<u8>, state: &mut Vec<u8>) -> Result<usize, Error> {
    if result.consumed > left.len() {
        return Err(Error::new(format!("it consumed {} of {} bytes", result.consumed, left.len())));
    }
    left.drain(..result.consumed);
    if let Some(new) = &result.state {
        check_state(new)?;
        state.clone_from(new);
    }
    Ok(result.consumed)
}
