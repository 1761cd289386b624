//! Cookies: those that a request has, and those that a reply sets (RFC 6265).
//!
//! ```
//! use plugin_sdk::cookies::{self, SetCookie};
//!
//! let line = b"theme=dark; session=7";
//! assert_eq!(cookies::pairs(line).last(), Some((&b"session"[..], &b"7"[..])));
//! assert_eq!(cookies::without(&[line], |name| name == b"session").as_deref(), Some(&b"theme=dark"[..]));
//! let line = SetCookie::new("session", "8").max_age(60).to_string();
//! assert_eq!(line, "session=8; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax");
//! ```

use std::fmt;

/// Names and values of a `cookie` header in order; values without the quotation marks around them. What has no `=` is left out.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    texts(line).filter_map(pair)
}

/// The `cookie` header without the cookies whose name is chosen; `None` if nothing remains.
pub fn without<L: AsRef<[u8]>>(lines: &[L], chosen: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let others = lines.iter().flat_map(|line| texts(line.as_ref()));
    let others: Vec<_> = others.filter(|text| !pair(text).is_some_and(|(name, _)| chosen(name))).collect();
    (!others.is_empty()).then(|| others.join(&b"; "[..]))
}

/// RFC 6265 §5.4.
fn texts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|text| !text.is_empty())
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text[..end].trim_ascii(), text[end + 1..].trim_ascii());
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some((name, unquoted.unwrap_or(value)))
}

/// A value of `set-cookie`, made by [`fmt::Display`]. The cookie is for all paths of the host, not for scripts, only sent over TLS,
/// and of requests from other sites only with navigations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie<'a> {
    name: &'a str,
    value: &'a str,
    max_age: Option<u64>,
    secure: bool,
}

impl<'a> SetCookie<'a> {
    /// A cookie that the browser keeps until it ends. Name and value must have no other characters than RFC 6265 §4.1.1 allows.
    pub fn new(name: &'a str, value: &'a str) -> Self {
        Self { name, value, max_age: None, secure: true }
    }

    /// Removes the cookie.
    pub fn removal(name: &'a str) -> Self {
        Self::new(name, "").max_age(0)
    }

    /// How long the browser keeps it, in seconds.
    #[must_use]
    pub fn max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// Whether it is only sent over TLS.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }
}

impl fmt::Display for SetCookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}; Path=/", self.name, self.value)?;
        if let Some(seconds) = self.max_age {
            write!(f, "; Max-Age={seconds}")?;
        }
        f.write_str(if self.secure { "; Secure; HttpOnly; SameSite=Lax" } else { "; HttpOnly; SameSite=Lax" })
    }
}

#[cfg(test)]
mod tests {
    use super::{SetCookie, pairs, without};

    #[test]
    fn a_cookie_is_found_among_others() {
        let value = |line: &'static [u8]| pairs(line).find_map(|(name, value)| (name == b"t").then_some(value));
        assert_eq!(value(b"a=b; t=x.y.z;tt=c"), Some(&b"x.y.z"[..]));
        assert_eq!(value(b"t=\"x\""), Some(&b"x"[..]));
        assert_eq!(value(b"T=x; tt=x; t"), None);
    }

    #[test]
    fn what_is_not_chosen_stays_as_it_is() {
        let lines = [&b"a=1;t=2"[..], b"odd; b=\"3\"; t=4"];
        assert_eq!(without(&lines, |name| name == b"t").as_deref(), Some(&b"a=1; odd; b=\"3\""[..]));
        assert_eq!(without(&[b"t=1; t=2"], |name| name == b"t"), None);
    }

    #[test]
    fn a_removal_has_the_attributes_of_the_cookie() {
        let removal = SetCookie::removal("t").secure(false).to_string();
        assert_eq!(removal, "t=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
