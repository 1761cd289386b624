//! What stands in the place of a secret: `<masked N>`, with the number of the secret.

pub(super) const BEFORE: &str = "<masked ";
pub(super) const BEHIND: char = '>';

/// The number of the placeholder that a text begins with, and its length.
pub(super) fn placeholder(text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(BEFORE)?;
    let end = rest.find(BEHIND).filter(|end| *end <= 6)?;
    let number = rest[..end].parse().ok()?;
    Some((number, BEFORE.len() + end + BEHIND.len_utf8()))
}

pub(super) fn is_placeholder(text: &str) -> bool {
    placeholder(text).is_some_and(|(_, length)| length == text.len())
}
