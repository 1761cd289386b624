//! Messages and excerpts that do not repeat secrets.

use super::{
    Sensitive,
    find::{What, find},
    rules::in_urls,
};

/// Shorter secrets are replaced only where a message quotes them: they would be part of other words.
const MIN_ANYWHERE: usize = 6;
/// What a message has in place of a secret.
const STARS: &str = "***";

/// Takes secrets out of messages.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// The longest first, since one may be the beginning of another.
    values: Vec<String>,
    /// The text with stars for its secrets, of the same lines and columns; `None` if it cannot be told where they are.
    pub(crate) text: Option<String>,
}

impl Redaction {
    /// The secrets of a configuration.
    pub(crate) fn of_text(text: &str, sensitive: &Sensitive) -> Self {
        let Some(found) = find(text, sensitive) else { return Self::default() };
        let mut values = Vec::new();
        let mut starred = String::with_capacity(text.len());
        let mut from = 0;
        for found in found {
            let range = found.range;
            if range.start < from {
                continue;
            }
            let source = &text[range.clone()];
            values.push(source.to_owned());
            if let What::Value { scalar, .. } = found.what {
                values.push(scalar.value);
            }
            starred.push_str(&text[from..range.start]);
            starred.extend(source.chars().map(|c| if c.is_whitespace() { c } else { '*' }));
            from = range.end;
        }
        starred.push_str(&text[from..]);
        Self { text: Some(starred), ..Self::of(values) }
    }

    /// The same for a text that is no YAML: of that only its structure is shown, and words that configurations are made of.
    pub(crate) fn of_any_text(text: &str, sensitive: &Sensitive, known: impl Fn(&str) -> bool) -> Self {
        let own = Self::of_text(text, sensitive);
        if own.text.is_some() {
            return own;
        }
        let mut shown = String::with_capacity(text.len());
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            if c.is_ascii_alphabetic() {
                let word = &rest[..length];
                if known(word) {
                    shown.push_str(word)
                } else {
                    shown.extend(word.chars().map(|_| '*'))
                }
                rest = &rest[length..];
            } else {
                shown.push(if c.is_whitespace() || "-?:,[]{}#&*!|>'\"%@`".contains(c) { c } else { '*' });
                rest = &rest[c.len_utf8()..];
            }
        }
        Self { text: Some(shown), ..Self::default() }
    }

    #[cfg(test)]
    pub(crate) fn nothing_in(text: &str) -> Self {
        Self { values: Vec::new(), text: Some(text.to_owned()) }
    }

    /// Any values.
    pub fn of(values: impl IntoIterator<Item = String>) -> Self {
        let mut all = Vec::new();
        for value in values {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            // As messages show it: on one line, cut, or quoted by a library.
            for escaped in [serde_json::Value::from(value).to_string(), format!("{value:?}")] {
                all.push(escaped[1..escaped.len() - 1].to_owned());
            }
            let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            if let Some(cut) = crate::check::cut(&line).strip_suffix('…') {
                all.push(cut.to_owned());
            }
            all.push(line);
            all.push(value.to_owned());
        }
        all.retain(|value| !value.is_empty());
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self { values: all, text: None }
    }

    /// A message without them.
    pub fn apply(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for value in &self.values {
            if !message.contains(value.as_str()) {
                continue;
            }
            if value.len() >= MIN_ANYWHERE {
                message = message.replace(value.as_str(), STARS);
                continue;
            }
            for quote in ['`', '"', '\''] {
                message = message.replace(&format!("{quote}{value}{quote}"), &format!("{quote}{STARS}{quote}"));
            }
        }
        message
    }
}

/// A URL, or a text with URLs, with stars for the secrets in them.
pub fn without_credentials(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    let mut from = 0;
    for range in in_urls(url) {
        shown.push_str(&url[from..range.start]);
        shown.extend(url[range.clone()].chars().map(|_| '*'));
        from = range.end;
    }
    shown.push_str(&url[from..]);
    shown
}
