//! Where a stored response is: bucket, consumer and key.

use std::sync::Arc;

/// Whose response it is: a digest of everything that identifies a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId(pub [u8; 16]);

/// The place of stored responses. Those of one consumer are kept apart from those of every other, whatever the plugin
/// that keeps them does with its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey<'a> {
    pub bucket: &'a str,
    /// `None`: of clients that are not identified.
    pub consumer: Option<ConsumerId>,
    pub key: &'a str,
}

/// The same as one text: the three parts with U+0000 between them. No bucket's name has one, and an identifier is
/// hexadecimal, so the first two end the parts whatever is in the key.
pub(super) type Composed = Arc<str>;

impl<'a> CacheKey<'a> {
    /// Of callers that are not identified.
    pub fn anonymous(bucket: &'a str, key: &'a str) -> Self {
        Self { bucket, consumer: None, key }
    }

    pub(super) fn compose(&self) -> String {
        let Self { bucket, consumer, key } = self;
        let mut composed = String::with_capacity(bucket.len() + 2 + 32 + key.len());
        composed.push_str(bucket);
        composed.push('\0');
        for byte in consumer.iter().flat_map(|consumer| consumer.0) {
            for digit in [byte >> 4, byte & 15] {
                composed.extend(char::from_digit(digit.into(), 16));
            }
        }
        composed.push('\0');
        composed.push_str(key);
        composed
    }
}

/// Bucket and key of a composed text.
pub(super) fn parts(composed: &str) -> Option<(&str, &str)> {
    let (bucket, rest) = composed.split_once('\0')?;
    Some((bucket, rest.split_once('\0')?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_and_key_are_found_again_whoever_it_belongs_to() {
        let anonymous = CacheKey::anonymous("b", "/a\0c");
        let own = CacheKey { consumer: Some(ConsumerId([0xa5; 16])), ..anonymous };
        assert_ne!(anonymous.compose(), own.compose());
        for key in [anonymous, own] {
            assert_eq!(parts(&key.compose()), Some(("b", "/a\0c")));
        }
    }
}
