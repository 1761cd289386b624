//! What stages have noted about an exchange, by name.

use crate::edit::{EditError, Phase};

/// Attributes of one exchange. Their bytes are bounded as what plugins add to a header section is.
pub const MAX_ATTRIBUTES: usize = 128;

/// What the client's TLS connection says begins so.
pub const TLS: &str = "tls.";
/// What the gateway itself says begins so.
pub const GATEWAY: &str = "gateway.";

/// Whether only the gateway says this.
#[inline]
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(TLS) || key.starts_with(GATEWAY)
}

/// The attributes that stages have set.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    entries: Vec<Attribute>,
    bytes: usize,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The stage that set it, if it may say who the client is, or whether consumers share responses.
    pub identified_by: Option<usize>,
}

impl Attributes {
    /// The value, if it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value.as_str())
    }

    /// All of them, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.entries.iter()
    }

    /// Whether a stage may set attributes of this name in a phase.
    ///
    /// # Errors
    ///
    /// `Forbidden`: it may not.
    #[inline]
    pub fn permit(key: &str, phase: Phase) -> Result<(), EditError> {
        if phase == Phase::Complete || is_reserved(key) { Err(EditError::Forbidden) } else { Ok(()) }
    }

    /// Whether the attribute can be set, where keys and values may have so many bytes together.
    ///
    /// # Errors
    ///
    /// The key is none, or there is no room.
    pub fn check(&self, key: &str, value: &str, most: usize) -> Result<(), EditError> {
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

    /// Sets an attribute that has been checked. What has identified the client once still does when another stage changes it.
    pub fn set(&mut self, key: &str, value: &str, identified_by: Option<usize>) {
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
