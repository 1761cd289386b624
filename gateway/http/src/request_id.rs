//! The identifier of a request, in the field `x-request-id`, in logs and in problem replies.

use std::{
    cell::{Cell, RefCell},
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::known_headers::{KnownHeaders, REQUEST_ID};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest identifier that is accepted.
const MAX_LENGTH: usize = 128;
/// Of those that are made here.
const LENGTH: usize = 32;
/// So many share one piece of memory, which lives as long as the last of them.
const BATCH: usize = 16;

/// Makes identifiers that do not repeat: one for each worker. Random once, when it is made; from then on it
/// counts. They cannot be mistaken for one another, but they are no secrets.
#[derive(Debug)]
pub struct RequestIds {
    /// The digits that they begin with.
    prefix: [u8; LENGTH / 2],
    key: u64,
    count: Cell<u64>,
    /// Where the next ones are written: they are cut from one piece of memory, which saves each of them an
    /// allocation for its text and another one for counting who uses it.
    space: RefCell<BytesMut>,
}

impl RequestIds {
    pub fn new() -> Self {
        // The standard library's keys come from the operating system.
        let random = || RandomState::new().build_hasher().finish();
        Self { prefix: hex(random()), key: random(), count: Cell::new(0), space: RefCell::default() }
    }

    /// The identifier of a request: the client's, if it comes from a trusted proxy, alone, and is 1 to 128
    /// visible ASCII characters; else a new one. The field says the same afterwards.
    pub fn assign(&self, headers: &mut HeaderMap, known_headers: KnownHeaders, trusted: bool) -> HeaderValue {
        if known_headers.has(REQUEST_ID) {
            if trusted && let Some(id) = believed(headers) {
                return id;
            }
            headers.remove(&X_REQUEST_ID);
        }
        let id = self.next();
        // A map that takes no field again after one was taken away is over every limit; the request is known
        // by its identifier all the same.
        let _ = headers.try_insert(X_REQUEST_ID, id.clone());
        id
    }

    /// A new identifier: 32 hexadecimal digits.
    pub fn next(&self) -> HeaderValue {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let mut space = self.space.borrow_mut();
        if space.capacity() < LENGTH {
            *space = BytesMut::with_capacity(LENGTH * BATCH);
        }
        space.extend_from_slice(&self.prefix);
        space.extend_from_slice(&hex(mix(count ^ self.key)));
        HeaderValue::from_maybe_shared(space.split().freeze()).expect("hexadecimal digits are a field value")
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

fn believed(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(&X_REQUEST_ID).iter();
    let id = values.next()?;
    let sane = (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    (sane && values.next().is_none()).then(|| id.clone())
}

/// The finaliser of SplitMix64: a bijection, so that different counts stay different.
fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

fn hex(mut value: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn with(ids: &[&'static str]) -> HeaderMap {
        ids.iter().map(|id| (X_REQUEST_ID, HeaderValue::from_static(id))).fold(HeaderMap::new(), |mut map, (n, v)| {
            map.append(n, v);
            map
        })
    }

    #[test]
    fn a_new_identifier_is_32_hexadecimal_digits_and_never_the_same() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            for ids in [&one, &other] {
                let id = ids.next();
                assert!(
                    id.len() == 32 && id.as_bytes().iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
                );
                assert!(seen.insert(id));
            }
        }
    }

    #[test]
    fn a_trusted_proxys_identifier_is_kept() {
        let mut headers = with(&["abc-123"]);
        let known_headers = KnownHeaders::of(&headers);
        assert_eq!(RequestIds::new().assign(&mut headers, known_headers, true), "abc-123");
        assert_eq!(headers[X_REQUEST_ID], "abc-123");
    }

    #[test]
    fn any_other_identifier_is_replaced() {
        let long: &'static str = "x".repeat(129).leak();
        let cases: [(&[&'static str], bool); 6] =
            [(&["abc"], false), (&["a b"], true), (&[""], true), (&["a", "b"], true), (&[long], true), (&[], true)];
        for (sent, trusted) in cases {
            let mut headers = with(sent);
            let known_headers = KnownHeaders::of(&headers);
            let id = RequestIds::new().assign(&mut headers, known_headers, trusted);
            assert_eq!(id.len(), 32, "{sent:?}");
            assert_eq!(headers.get_all(X_REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
        }
    }
}
