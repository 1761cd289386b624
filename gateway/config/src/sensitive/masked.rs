//! A configuration's text without its secrets: they have numbers in their places, by which a text that was edited gets them
//! back.

use std::fmt::Write;

use super::{
    Sensitive,
    document::{Document, Kind, Node, Scalar, Style},
    find::{SensitiveRange, What, find},
    placeholder::{BEFORE, BEHIND, is_placeholder, placeholder},
};

/// A text without its secrets, and what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    pub text: String,
    secrets: Vec<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    /// As it was typed, without quotes.
    source: String,
    what: What,
}

/// Why a text with placeholders is not one with secrets.
#[derive(Debug, PartialEq, Eq)]
pub struct Unmaskable(pub String);

impl Masked {
    pub fn of(text: &str, sensitive: &Sensitive) -> Self {
        let Some(found) = find(text, sensitive) else {
            // Nothing that is in force gets here. What cannot be taken apart is not shown at all.
            return Self { text: String::new(), secrets: Vec::new() };
        };
        let mut masked = Self { text: String::with_capacity(text.len()), secrets: Vec::new() };
        let mut from = 0;
        for SensitiveRange { range, what } in found {
            if range.start < from {
                continue;
            }
            masked.text.push_str(&text[from..range.start]);
            masked.secrets.push(Secret { source: text[range.clone()].to_owned(), what });
            let _ = write!(masked.text, "{BEFORE}{}{BEHIND}", masked.secrets.len());
            from = range.end;
        }
        masked.text.push_str(&text[from..]);
        masked
    }

    /// The secrets as they were typed.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        self.secrets.iter().map(|secret| secret.source.clone())
    }

    /// Puts the secrets back into a text that was made from this one. Only where a secret stands: elsewhere its value would
    /// be shown.
    ///
    /// # Errors
    ///
    /// A placeholder that there is no secret for, or that stands somewhere else.
    pub fn unmask(&self, text: &str, sensitive: &Sensitive) -> Result<String, Unmaskable> {
        // Invalid YAML is reported by the check.
        let Some(found) = find(text, sensitive) else { return Ok(text.to_owned()) };
        let mut whole = String::with_capacity(text.len());
        let mut from = 0;
        for SensitiveRange { range, what } in found {
            let piece = &text[range.clone()];
            if !is_placeholder(piece) || range.start < from {
                continue;
            }
            let quotes = usize::from(matches!(&what, What::Value { scalar, .. } if scalar.style.is_quoted()));
            match self.secret(piece, &what)? {
                Put::Within(secret) => {
                    whole.push_str(&text[from..range.start]);
                    whole.push_str(&secret);
                    from = range.end;
                }
                Put::Instead(value) => {
                    whole.push_str(&text[from..range.start - quotes]);
                    whole.push_str(&value);
                    from = range.end + quotes;
                }
            }
        }
        whole.push_str(&text[from..]);
        match embedded(&whole) {
            Some(piece) if self.stands_for(&piece) => {
                Err(Unmaskable(format!("`{piece}` is only a part of a value: type what the whole value shall be")))
            }
            _ => Ok(whole),
        }
    }

    fn stands_for(&self, piece: &str) -> bool {
        placeholder(piece).is_some_and(|(number, _)| (1..=self.secrets.len()).contains(&number))
    }

    /// What a placeholder stands for in such a place.
    fn secret(&self, piece: &str, place: &What) -> Result<Put, Unmaskable> {
        let number = placeholder(piece).map_or(0, |(number, _)| number);
        let secret = number.checked_sub(1).and_then(|at| self.secrets.get(at));
        let secret =
            secret.ok_or_else(|| Unmaskable(format!("the configuration in force has no secret for `{piece}`")))?;
        let elsewhere =
            || Unmaskable(format!("`{piece}` does not stand where a secret does: type what shall be there"));
        match (&secret.what, place) {
            (What::Part, What::Part) | (What::Comment, What::Comment) => Ok(Put::Within(secret.source.clone())),
            (What::Value { scalar, by_place }, What::Value { scalar: here, by_place: is_place }) => {
                if *by_place && !is_place {
                    return Err(elsewhere());
                }
                put(&secret.source, scalar, here).ok_or_else(elsewhere)
            }
            _ => Err(elsewhere()),
        }
    }
}

/// A placeholder that is left in some value.
fn embedded(text: &str) -> Option<String> {
    fn within(node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Scalar(Scalar { value, .. }) => value.match_indices(BEFORE).find_map(|(at, _)| {
                let (_, length) = placeholder(&value[at..])?;
                Some(value[at..at + length].to_owned())
            }),
            Kind::List(items) => items.iter().find_map(within),
            Kind::Map(entries) => entries.iter().find_map(|(key, value)| within(key).or_else(|| within(value))),
            Kind::Alias(_) => None,
        }
    }
    text.contains(BEFORE).then(|| Document::parse(text))?.and_then(|document| document.roots.iter().find_map(within))
}

enum Put {
    /// In the quotes that are there.
    Within(String),
    /// In place of the quotes too.
    Instead(String),
}

/// A value in another place than its own, where something else may be needed to write it.
fn put(source: &str, was: &Scalar, here: &Scalar) -> Option<Put> {
    let same_lines = !source.contains('\n') || was.column == here.column;
    let same_context = was.in_flow || !here.in_flow || !source.contains([',', '[', ']', '{', '}']);
    if was.style == here.style && same_lines && (was.style != Style::Plain || same_context) {
        return Some(Put::Within(source.to_owned()));
    }
    match here.style {
        Style::Literal => {
            let indent = format!("\n{}", " ".repeat(here.column));
            Some(Put::Within(was.value.trim_end().split('\n').collect::<Vec<_>>().join(&indent)))
        }
        Style::Folded if !was.value.trim_end().contains('\n') => Some(Put::Within(was.value.trim_end().to_owned())),
        Style::Folded => None,
        // A string of JSON is one of YAML.
        Style::Plain | Style::Single | Style::Double => {
            Some(Put::Instead(serde_json::Value::from(was.value.as_str()).to_string()))
        }
    }
}
