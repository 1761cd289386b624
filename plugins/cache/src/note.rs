//! What is written down about a stored response: all that it takes to decide whether it may be given.

use crate::vary::Vary;

/// The form below.
const VERSION: u8 = 1;
const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// When the response arrived, in milliseconds since the Unix epoch.
    pub(crate) arrived: u64,
    /// Seconds that it was old then (RFC 9111 §4.2.3).
    pub(crate) initial_age: u32,
    /// Seconds for which it is fresh.
    pub(crate) lifetime: u32,
    /// Seconds after that in which it may be given while a new one is fetched.
    pub(crate) while_revalidate: u32,
    /// Seconds after that in which it may be given if no new one can be had.
    pub(crate) if_error: u32,
    /// It is never given unasked.
    pub(crate) no_cache: bool,
    /// It is not given when it is stale, whatever a client would accept.
    pub(crate) must_revalidate: bool,
    /// Seconds since the Unix epoch; 0 for none.
    pub(crate) last_modified: u64,
    /// As the upstream wrote it; empty for none.
    pub(crate) last_modified_text: Vec<u8>,
    pub(crate) etag: Vec<u8>,
    pub(crate) vary: Vary,
}

impl Note {
    pub(crate) fn age(&self, now: u64) -> u32 {
        let resident = now.saturating_sub(self.arrived) / 1000;
        self.initial_age.saturating_add(u32::try_from(resident).unwrap_or(u32::MAX))
    }

    /// As if it had arrived now.
    pub(crate) fn confirmed(&self, now: u64) -> Self {
        Self { arrived: now, initial_age: 0, ..self.clone() }
    }

    /// When the response was made, in seconds since the Unix epoch, as far as is known.
    pub(crate) fn made(&self) -> u64 {
        (self.arrived / 1000).saturating_sub(self.initial_age.into())
    }

    /// Whether an upstream can be asked if it has changed.
    pub(crate) fn can_be_validated(&self) -> bool {
        !self.etag.is_empty() || !self.last_modified_text.is_empty()
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.etag.len());
        out.push(VERSION);
        out.push(if self.no_cache { NO_CACHE } else { 0 } | if self.must_revalidate { MUST_REVALIDATE } else { 0 });
        out.extend_from_slice(&self.arrived.to_le_bytes());
        out.extend_from_slice(&self.last_modified.to_le_bytes());
        for number in [self.initial_age, self.lifetime, self.while_revalidate, self.if_error] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put(&mut out, &self.etag);
        put(&mut out, &self.last_modified_text);
        out.extend_from_slice(self.vary.as_bytes());
        out
    }

    /// `None` for what this version of the plugin has not written.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version, flags] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let arrived = u64::from_le_bytes(take(&mut rest)?);
        let last_modified = u64::from_le_bytes(take(&mut rest)?);
        let mut number = || take(&mut rest).map(u32::from_le_bytes);
        let (initial_age, lifetime, while_revalidate, if_error) = (number()?, number()?, number()?, number()?);
        let etag = get(&mut rest)?.to_vec();
        let last_modified_text = get(&mut rest)?.to_vec();
        Some(Self {
            arrived,
            initial_age,
            lifetime,
            while_revalidate,
            if_error,
            no_cache: flags & NO_CACHE != 0,
            must_revalidate: flags & MUST_REVALIDATE != 0,
            last_modified,
            last_modified_text,
            etag,
            vary: Vary::from_bytes(rest),
        })
    }
}

/// With its length before it. What is longer than a field may be is cut, and then means nothing to anyone.
pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&bytes[..length.into()]);
}

pub(crate) fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes(take(rest)?);
    let (value, after) = rest.split_at_checked(length.into())?;
    *rest = after;
    Some(value)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let note = Note {
            arrived: 1_767_225_600_123,
            initial_age: 3,
            lifetime: 60,
            while_revalidate: 5,
            if_error: 6,
            no_cache: true,
            must_revalidate: false,
            last_modified: 1_767_225_000,
            last_modified_text: b"Wed, 31 Dec 2025 23:50:00 GMT".to_vec(),
            etag: b"\"abc\"".to_vec(),
            vary: Vary::default(),
        };
        let bytes = note.write();
        assert_eq!(Note::read(&bytes), Some(note));
        for cut in 0..bytes.len() {
            assert_eq!(Note::read(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Note::read(&[9; 100]), None);
    }

    #[test]
    fn a_response_grows_older() {
        let note = Note::read(&[&[1, 0][..], &[0; 36]].concat()).unwrap();
        assert_eq!(note.age(2_999), 2);
        assert_eq!(note.age(u64::MAX), u32::MAX);
    }
}
