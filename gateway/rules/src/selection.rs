//! Things about an exchange that are read together.

use std::fmt;

/// Items of a selection.
pub const MAX_ITEMS: usize = 256;
/// Bytes of the names of its items.
pub const MAX_NAME_BYTES: usize = 16 * 1024;

/// A selection has too many items, or their names are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectionTooLarge;

impl fmt::Display for SelectionTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a selection of more than {MAX_ITEMS} items or {MAX_NAME_BYTES} bytes of names")
    }
}

impl std::error::Error for SelectionTooLarge {}

/// Checks the size of a selection: how many items it has, and the bytes of their names.
///
/// # Errors
///
/// It is too large.
pub fn check(items: usize, name_bytes: usize) -> Result<(), SelectionTooLarge> {
    if items > MAX_ITEMS || name_bytes > MAX_NAME_BYTES {
        return Err(SelectionTooLarge);
    }
    Ok(())
}
