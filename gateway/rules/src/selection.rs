//! Things about an exchange that are read together.

/// Items of a selection.
pub const MAX_ITEMS: usize = 256;
/// Bytes of the names of its items.
pub const MAX_NAME_BYTES: usize = 16 * 1024;

/// Checks the size of a selection: how many items it has, and the bytes of their names.
///
/// # Errors
///
/// It is too large.
pub fn check(items: usize, name_bytes: usize) -> Result<(), String> {
    if items > MAX_ITEMS || name_bytes > MAX_NAME_BYTES {
        return Err(format!("a selection of more than {MAX_ITEMS} items or {MAX_NAME_BYTES} bytes of names"));
    }
    Ok(())
}
