//! Keys and values of the store, wherever it is.

use std::fmt;

/// The longest key, with the name of its bucket.
pub const MAX_KEY_BYTES: usize = 1024;

/// The longest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// Holders of a key, by leases.
pub const MAX_HOLDERS: u32 = 65_536;

/// Why nothing was stored. To a plugin all of these are `too-large`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Bucket and key together.
    KeyTooLarge,
    /// By the rule, or for a store that is smaller.
    ValueTooLarge,
    /// `increment` found something else than a decimal number.
    NotANumber,
    /// `increment` would leave the range of 64 bits; the number stays as it was.
    OutOfRange,
    /// A lease that more may hold at once than a key can have holders.
    TooManyHolders,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLarge => write!(f, "bucket and key are over {MAX_KEY_BYTES} bytes"),
            Self::ValueTooLarge => write!(f, "value is over {MAX_VALUE_BYTES} bytes or over the store's own limit"),
            Self::NotANumber => f.write_str("value is not a decimal number"),
            Self::OutOfRange => f.write_str("sum is out of range"),
            Self::TooManyHolders => write!(f, "a key has {MAX_HOLDERS} holders at most"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Checks a key.
///
/// # Errors
///
/// It is too large.
#[inline]
pub fn check_key(bucket: &str, key: &str) -> Result<(), StoreError> {
    if bucket.len() + key.len() > MAX_KEY_BYTES { Err(StoreError::KeyTooLarge) } else { Ok(()) }
}

/// Checks a value.
///
/// # Errors
///
/// It is too large.
#[inline]
pub fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > MAX_VALUE_BYTES { Err(StoreError::ValueTooLarge) } else { Ok(()) }
}

/// The key of a step of a group: what `take` of this key counts is the same count.
pub fn step_key(group: &str, step: &str) -> String {
    [group, "\0", step].concat()
}

/// A value as a number: decimal digits with a minus sign before them at most, no other zeros before them, and within 64 bits. Redis
/// takes no other form.
///
/// # Errors
///
/// It is none.
pub fn number(value: &[u8]) -> Result<i64, StoreError> {
    let text = std::str::from_utf8(value).map_err(|_| StoreError::NotANumber)?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits.starts_with(|first: char| matches!(first, '1'..='9')) || text == "0";
    text.parse().ok().filter(|_| canonical).ok_or(StoreError::NotANumber)
}

/// The sum of a number, 0 where there is none, and what is added to it.
///
/// # Errors
///
/// It is out of range.
#[inline]
pub fn add(number: Option<i64>, by: i64) -> Result<i64, StoreError> {
    number.unwrap_or(0).checked_add(by).ok_or(StoreError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for (text, expected) in [("0", 0), ("-7", -7), ("9223372036854775807", i64::MAX)] {
            assert_eq!(number(text.as_bytes()), Ok(expected));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "-01"] {
            assert_eq!(number(text.as_bytes()), Err(StoreError::NotANumber), "{text:?}");
        }
        assert_eq!(number(&[0xff]), Err(StoreError::NotANumber));
        assert_eq!(add(Some(i64::MAX), 1), Err(StoreError::OutOfRange));
    }

    #[test]
    fn a_key_is_bounded_together_with_its_bucket() {
        let key = "k".repeat(MAX_KEY_BYTES - 1);
        assert_eq!(check_key("b", &key), Ok(()));
        assert_eq!(check_key("bb", &key), Err(StoreError::KeyTooLarge));
    }
}
