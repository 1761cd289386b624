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
    /// It was removed. One that identified the client stays for that: if it did not, a stage that tidies up would give a client
    /// the stored responses of others.
    removed: bool,
}

impl Attributes {
    /// The value, if it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value.as_str())
    }

    /// All of them, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.entries.iter().filter(|attribute| !attribute.removed)
    }

    /// Those that may say who the client is, also if they were removed since.
    pub fn identifying(&self) -> impl Iterator<Item = &Attribute> {
        self.entries.iter().filter(|attribute| attribute.identified_by.is_some())
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
        Self::check_key(key)?;
        let old = self.entries.iter().find(|attribute| attribute.key == key);
        let bytes = self.bytes - old.map_or(0, Attribute::bytes) + key.len() + value.len();
        if bytes > most || (old.is_none() && self.entries.len() >= MAX_ATTRIBUTES) {
            return Err(EditError::TooLarge);
        }
        Ok(())
    }

    /// Whether this can be the name of an attribute.
    ///
    /// # Errors
    ///
    /// `InvalidSyntax`: it cannot.
    pub fn check_key(key: &str) -> Result<(), EditError> {
        let is_key = !key.is_empty() && !key.bytes().any(|b| b.is_ascii_control() || b == b' ');
        if is_key { Ok(()) } else { Err(EditError::InvalidSyntax) }
    }

    /// Removes an attribute, if it is set.
    pub fn remove(&mut self, key: &str) {
        let Some(place) = self.entries.iter().position(|attribute| attribute.key == key) else { return };
        if self.entries[place].identified_by.is_some() {
            self.entries[place].removed = true;
        } else {
            self.bytes -= self.entries.remove(place).bytes();
        }
    }

    /// Sets an attribute that has been checked. What has identified the client once still does when another stage changes it.
    pub fn set(&mut self, key: &str, value: &str, identified_by: Option<usize>) {
        self.bytes += key.len() + value.len();
        match self.entries.iter_mut().find(|attribute| attribute.key == key) {
            Some(old) => {
                self.bytes -= old.bytes();
                value.clone_into(&mut old.value);
                old.identified_by = identified_by.or(old.identified_by);
                old.removed = false;
            }
            None => {
                let (key, value) = (key.to_owned(), value.to_owned());
                self.entries.push(Attribute { key, value, identified_by, removed: false });
            }
        }
    }
}

impl Attribute {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(attributes: &Attributes) -> Vec<&str> {
        attributes.iter().map(|attribute| attribute.key.as_str()).collect()
    }

    #[test]
    fn what_is_removed_gives_its_room_back() {
        let mut attributes = Attributes::default();
        for number in 0..MAX_ATTRIBUTES {
            attributes.set(&number.to_string(), "v", None);
        }
        assert_eq!(attributes.check("more", "v", 10_000), Err(EditError::TooLarge));
        attributes.remove("7");
        attributes.remove("absent");
        assert_eq!((attributes.get("7"), attributes.check("more", "v", 10_000)), (None, Ok(())));
        assert_eq!(attributes.bytes, attributes.iter().map(Attribute::bytes).sum::<usize>());
    }

    #[test]
    fn what_identified_the_client_still_does_when_it_is_removed() {
        let mut attributes = Attributes::default();
        attributes.set("jwt.sub", "anna", Some(2));
        attributes.set("note", "x", None);
        attributes.remove("jwt.sub");
        attributes.remove("note");
        assert_eq!((attributes.get("jwt.sub"), visible(&attributes)), (None, vec![]));
        let identifying: Vec<_> = attributes.identifying().map(|a| (a.key.as_str(), a.value.as_str())).collect();
        assert_eq!(identifying, [("jwt.sub", "anna")]);
        attributes.set("jwt.sub", "berta", None);
        assert_eq!((attributes.get("jwt.sub"), visible(&attributes)), (Some("berta"), vec!["jwt.sub"]));
    }
}
