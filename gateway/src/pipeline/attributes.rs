//! What stages have noted about an exchange, by name.

use super::exchange::EditError;

/// Attributes of one exchange. Their bytes are bounded as what plugins add to a header section is.
pub(super) const MAX_ATTRIBUTES: usize = 128;

#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    entries: Vec<Attribute>,
    bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) value: String,
    /// The stage that set it, if it may say who the client is, or whether consumers share responses.
    pub(super) identified_by: Option<usize>,
}

impl Attributes {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value.as_str())
    }

    /// In the order in which they were first set.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.entries.iter()
    }

    /// Whether the attribute can be set, where keys and values may have so many bytes together.
    pub(super) fn check(&self, key: &str, value: &str, most: usize) -> Result<(), EditError> {
        if key.is_empty() || key.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(EditError::InvalidSyntax);
        }
        let old = self.entries.iter().find(|attribute| attribute.key == key);
        let bytes = self.bytes - old.map_or(0, Attribute::bytes) + key.len() + value.len();
        if bytes > most || (old.is_none() && self.entries.len() >= MAX_ATTRIBUTES) {
            return Err(EditError::TooLarge);
        }
        Ok(())
    }

    /// Sets an attribute that has been checked. What has identified the client once does so whoever changes it.
    pub(super) fn set(&mut self, key: &str, value: &str, identified_by: Option<usize>) {
        self.bytes += key.len() + value.len();
        match self.entries.iter_mut().find(|attribute| attribute.key == key) {
            Some(old) => {
                self.bytes -= old.bytes();
                value.clone_into(&mut old.value);
                old.identified_by = identified_by.or(old.identified_by);
            }
            None => {
                self.entries.push(Attribute { key: key.to_owned(), value: value.to_owned(), identified_by });
            }
        }
    }
}

impl Attribute {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}
