//! Where a document has secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    Sensitive,
    document::{Comment, Document, Kind, Node, Scalar, Style},
    names::{Says, is_secret_field, is_secret_in_text, says_key},
    placeholder::is_placeholder,
    rules::{comment_looks_secret, in_urls, is_private_parameter, looks_secret},
    schema::Schemas,
};

/// Shorter values are too likely to be in a comment by chance.
const MIN_IN_COMMENTS: usize = 4;
/// Aliases that lead to aliases are followed so far.
const MAX_ROUNDS: usize = 32;

/// A secret, or the placeholder of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SensitiveRange {
    pub(super) range: Range<usize>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A whole value. `by_place`: it is a secret because of where it stands, and not because of how it looks.
    Value { scalar: Scalar, by_place: bool },
    /// A part of a value or of a comment: of a URL.
    Part,
    /// A whole comment.
    Comment,
}

/// All of them in order and apart; `None` if the text is no YAML.
pub(super) fn find(text: &str, sensitive: &Sensitive) -> Option<Vec<SensitiveRange>> {
    let document = Document::parse(text)?;
    let mut finder = Finder { sensitive, text, anchors: BTreeSet::new(), found: BTreeMap::new() };
    // An alias in a secret's place makes a secret of what was defined before it. Each round but the last finds another one.
    let mut rounds = 0;
    loop {
        let known = finder.anchors.len();
        finder.found.clear();
        for root in &document.roots {
            finder.node(root, &ValueContext { is_root: true, ..ValueContext::default() });
        }
        if finder.anchors.len() == known {
            break;
        }
        rounds += 1;
        if rounds > MAX_ROUNDS {
            return None;
        }
    }
    let mut found: Vec<SensitiveRange> = finder.found.into_values().collect();
    let values: Vec<String> = found
        .iter()
        .filter_map(|found| match &found.what {
            What::Value { scalar, .. } => Some(scalar.value.trim().to_owned()),
            What::Part | What::Comment => None,
        })
        .filter(|value| value.len() >= MIN_IN_COMMENTS && !is_placeholder(value))
        .collect();
    comments(text, &document.comments, &values, &mut found);
    found.retain(|found| !found.range.is_empty());
    found.sort_by_key(|found| found.range.start);
    Some(found)
}

struct Finder<'a> {
    sensitive: &'a Sensitive,
    text: &'a str,
    /// Anchors of what is a secret because of an alias.
    anchors: BTreeSet<usize>,
    /// By where they begin.
    found: BTreeMap<usize, SensitiveRange>,
}

/// What is known of a value by where it stands.
#[derive(Clone, Default)]
struct ValueContext<'s> {
    is_root: bool,
    /// It is a secret, or it is within one.
    secret: bool,
    /// A number would be how many there are.
    plural: bool,
    /// The values of its keys are those of header fields, or of parameters of a query.
    fields: bool,
    /// It is an edit of a query, or a condition on one: sections in it have parameters.
    query: bool,
    /// It is the file's list of secrets, of which there are names only.
    names: bool,
    /// It is what a plugin is granted, where secrets are named.
    grants: bool,
    /// Its keys are the names of secrets, and its values are what may be done with them.
    granted_secrets: bool,
    schemas: Schemas<'s>,
}

impl<'a> Finder<'a> {
    fn node(&mut self, node: &Node, place: &ValueContext<'a>) {
        let secret =
            place.secret || place.schemas.are_secret() || (node.anchor > 0 && self.anchors.contains(&node.anchor));
        match &node.kind {
            Kind::Alias(anchor) if secret => drop(self.anchors.insert(*anchor)),
            Kind::Alias(_) => {}
            Kind::Scalar(scalar) => self.scalar(scalar, secret, place.plural),
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let schemas = place.schemas.item(index);
                    self.node(item, &ValueContext { is_root: false, secret, schemas, ..place.clone() });
                }
            }
            Kind::Map(entries) => self.map(entries, secret, place),
        }
    }

    fn map(&mut self, entries: &[(Node, Node)], secret: bool, place: &ValueContext<'a>) {
        let text_of = |wanted: &str| {
            entries.iter().find(|(key, _)| key.text() == Some(wanted)).and_then(|(_, value)| value.text())
        };
        // `{ name: authorization, value: … }`.
        let is_pair = ["name", "header", "field", "key"].iter().any(|key| text_of(key).is_some_and(is_secret_field));
        let is_jwk = entries.iter().any(|(key, _)| key.text() == Some("kty"));
        let plugin = text_of("name").and_then(|name| self.sensitive.schemas.get(name));
        for (key_node, value) in entries {
            // A key that is no text has no name; what is in it may be a secret all the same.
            self.node(key_node, &ValueContext::default());
            let key = key_node.text().unwrap_or_default();
            // The name of a variable or of a file is none.
            let names_source = !place.names && (key == "env" || key == "file");
            let own = match key {
                "value" | "values" if is_pair => true,
                // `rename` and the like have names.
                _ if place.granted_secrets => false,
                _ if place.fields => is_secret_field(key) && !(place.query && matches!(value.kind, Kind::Map(_))),
                _ if is_jwk && is_private_parameter(key) => true,
                _ => match says_key(key) {
                    Says::Nothing => false,
                    Says::Within => !matches!(value.kind, Kind::Map(_)),
                    Says::Last => true,
                },
            };
            let lower = key.to_ascii_lowercase();
            let query = lower.contains("query") || lower.contains("parameter");
            let names = place.is_root && key == "secrets";
            let schemas = match plugin {
                Some(schema) if key == "config" => Schemas::root(schema),
                _ => place.schemas.key(key),
            };
            let granted_secrets = place.grants && key == "secrets";
            let is_name = names || names_source || granted_secrets;
            let place = ValueContext {
                is_root: false,
                secret: !is_name && (secret || own || place.names),
                plural: key.ends_with(['s', 'S']),
                fields: lower.contains("header") || query || (place.query && matches!(key, "set" | "add" | "append")),
                query,
                names,
                grants: key == "grants",
                granted_secrets,
                schemas,
            };
            self.node(value, &place);
        }
    }

    fn scalar(&mut self, scalar: &Scalar, secret: bool, plural: bool) {
        let plain = scalar.style == Style::Plain;
        let value = scalar.value.as_str();
        let is_count = plural && plain && value.parse::<f64>().is_ok();
        let is_nothing = value.is_empty() || (plain && ["true", "false", "null", "~"].contains(&value)) || is_count;
        let whole = |by_place| What::Value { scalar: scalar.clone(), by_place };
        if is_placeholder(value) {
            self.add(scalar.range.clone(), whole(secret));
        } else if secret && !is_nothing && !self.sensitive.names.contains(value) {
            self.add(scalar.range.clone(), whole(true));
        } else if !secret && looks_secret(value) {
            self.add(scalar.range.clone(), whole(false));
        } else {
            let parts = in_urls(value);
            let source = in_urls(&self.text[scalar.range.clone()]);
            if parts.len() != source.len() {
                // Escapes hide where they are.
                return self.add(scalar.range.clone(), whole(false));
            }
            for part in source {
                self.add(scalar.range.start + part.start..scalar.range.start + part.end, What::Part);
            }
        }
    }

    fn add(&mut self, range: Range<usize>, what: What) {
        self.found.insert(range.start, SensitiveRange { range, what });
    }
}

/// Comments are often earlier configurations: what would be a secret there is one, and what follows it may be the rest.
fn comments(text: &str, comments: &[Comment], values: &[String], found: &mut Vec<SensitiveRange>) {
    let mut before: Option<(usize, Rest)> = None;
    for Comment { range, line } in comments {
        let comment = &text[range.clone()];
        let indent = comment.len() - comment.trim_start().len();
        let rest = before.take().filter(|(last, _)| last + 1 == *line).map(|(_, rest)| rest);
        let goes_on = rest.filter(|rest| match rest {
            Rest::Value(_) | Rest::Pem => true,
            Rest::Deeper(key) => indent > *key,
        });
        let key = secret_key_in(comment);
        let secret = goes_on.is_some()
            || key.is_some()
            || comment_looks_secret(comment)
            || is_placeholder(comment.trim())
            || values.iter().any(|value| comment.contains(value.as_str()));
        let next = match (goes_on, key) {
            (Some(Rest::Pem), _) => (!comment.contains("-----END")).then_some(Rest::Pem),
            _ if comment.contains("-----BEGIN") => Some(Rest::Pem),
            (Some(Rest::Value(key) | Rest::Deeper(key)), _) => Some(Rest::Deeper(key)),
            (None, Some(true)) => Some(Rest::Deeper(indent)),
            (None, Some(false)) => Some(Rest::Value(indent)),
            (None, None) => None,
        };
        before = next.map(|rest| (*line, rest));
        if secret {
            let length = comment.trim_end().len();
            found.push(SensitiveRange {
                range: range.start + indent..range.start + length.max(indent),
                what: What::Comment,
            });
        } else {
            let parts = in_urls(comment).into_iter();
            let parts = parts.map(|part| range.start + part.start..range.start + part.end);
            found.extend(parts.map(|range| SensitiveRange { range, what: What::Part }));
        }
    }
}

/// What may follow a comment with a secret on the next lines; with the indentation of its key.
#[derive(Clone, Copy)]
enum Rest {
    /// The value itself.
    Value(usize),
    /// More of it, if it is further to the right than its key.
    Deeper(usize),
    /// A private key, up to its end.
    Pem,
}

/// Whether a comment has a secret's key, and whether a value stands behind it.
fn secret_key_in(comment: &str) -> Option<bool> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut found = None;
    for (at, _) in comment.match_indices([':', '=']) {
        let before = comment[..at].trim_end().trim_end_matches(['"', '\'']);
        let key = before.rsplit(|c: char| !is_word(c)).next().unwrap_or_default();
        if is_secret_in_text(key) {
            let rest = comment[at + 1..].trim().trim_start_matches(['|', '>', '-', '"', '\'', '+']);
            found = Some(found == Some(true) || !rest.trim().is_empty());
        }
    }
    found
}
