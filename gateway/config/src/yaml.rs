//! YAML text as a tree in which every key and every value knows its place. The input is bounded: a hostile
//! file costs no more than its size.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::{DuplicateKeyPolicy, Spanned};

use super::problem::{Location, Problem};

/// Larger files are refused.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A value and where it begins.
#[derive(Debug)]
pub struct Node {
    at: Location,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    key: String,
    at: Location,
    value: Node,
}

/// Parses one document. Syntax errors end the parse; repeated keys are all found.
///
/// # Errors
///
/// The text is not YAML, has a key twice, or is larger than any configuration.
pub fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is over {} MiB", MAX_BYTES / 1024 / 1024);
        return Err(vec![Problem { location: None, message }]);
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: 48,
            max_nodes: 1_000_000,
            max_events: 3_000_000,
            max_documents: 2,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 200_000,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `NO` is Norway.
        strict_booleans: true,
        with_snippet: false,
    };
    let root = serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options).map_err(|e| vec![syntax(&e)])?;
    let root = Node::from(root);
    let mut problems = Vec::new();
    root.repeated_keys(&mut problems);
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

fn syntax(error: &serde_yaml::Error) -> Problem {
    let location = error.location().filter(|at| at.line() > 0).map(|at| Location::from(&at));
    let message = match error.without_snippet() {
        serde_yaml::Error::MultipleDocuments { .. } => {
            "a second YAML document begins here; only one is read".to_owned()
        }
        serde_yaml::Error::Budget { .. } => "the file is too large or too deeply nested".to_owned(),
        error => format!("not valid YAML: {}", lower_first(strip_place(&error.to_string()))),
    };
    Problem { location, message }
}

/// The library writes the place into its message, and we write it before.
fn strip_place(text: &str) -> &str {
    let text = text.lines().next().unwrap_or_default();
    text.rfind(" at line ").map_or(text, |end| &text[..end])
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An abbreviation stays as it is.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

impl Node {
    /// The same without places. Of a repeated key the first value counts.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.entry(&entry.key).or_insert_with(|| entry.value.to_json());
                }
                Value::Object(map)
            }
        }
    }

    /// Where the value is that a JSON Pointer (RFC 6901) names; where it does not exist, the deepest one on
    /// the way to it.
    pub fn value_at(&self, pointer: &str) -> Location {
        self.walk(pointer).0
    }

    /// Where the key of that value is; a list's items and the root have none, and then it is the value.
    pub fn key_at(&self, pointer: &str) -> Location {
        let (value, key) = self.walk(pointer);
        key.unwrap_or(value)
    }

    fn walk(&self, pointer: &str) -> (Location, Option<Location>) {
        let (mut node, mut key) = (self, None);
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &node.kind {
                Kind::Scalar(_) => None,
                Kind::List(items) => token.parse().ok().and_then(|i: usize| items.get(i)).map(|item| (item, None)),
                Kind::Map(entries) => {
                    entries.iter().find(|entry| entry.key == token).map(|entry| (&entry.value, Some(entry.at)))
                }
            };
            match next {
                Some(next) => (node, key) = next,
                None => break,
            }
        }
        (node.at, key)
    }

    fn repeated_keys(&self, problems: &mut Vec<Problem>) {
        match &self.kind {
            Kind::Scalar(_) => {}
            Kind::List(items) => items.iter().for_each(|item| item.repeated_keys(problems)),
            Kind::Map(entries) => {
                let mut seen = std::collections::HashMap::new();
                for entry in entries {
                    if let Some(first) = seen.get(entry.key.as_str()) {
                        let Location { line, .. } = first;
                        let message = format!("key `{}` is already there on line {line}", entry.key);
                        problems.push(Problem::new(entry.at, message));
                    } else {
                        seen.insert(&*entry.key, entry.at);
                    }
                    entry.value.repeated_keys(problems);
                }
            }
        }
    }
}

/// Appends one token to a JSON Pointer.
pub fn join(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
}

/// A value as the parser delivers it, before its place is known.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl From<Spanned<Raw>> for Node {
    fn from(spanned: Spanned<Raw>) -> Self {
        let kind = match spanned.value {
            Raw::Scalar(value) => Kind::Scalar(value),
            Raw::List(items) => Kind::List(items.into_iter().map(Self::from).collect()),
            Raw::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        at: Location::from(&key.referenced),
                        key: key.value,
                        value: value.into(),
                    })
                    .collect(),
            ),
        };
        Self { at: Location::from(&spanned.referenced), kind }
    }
}

impl From<&serde_yaml::Location> for Location {
    fn from(at: &serde_yaml::Location) -> Self {
        Self { line: (at.line() as usize).max(1), column: (at.column() as usize).max(1) }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Raw::Scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(line: usize, column: usize) -> Location {
        Location { line, column }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let tree = parse("a:\n  - b/c: 1\n    d: [x, yy]\n").unwrap();
        assert_eq!(tree.to_json(), json!({"a": [{"b/c": 1, "d": ["x", "yy"]}]}));
        assert_eq!(tree.value_at("/a/0"), place(2, 5));
        assert_eq!(tree.key_at("/a/0/b~1c"), place(2, 5));
        assert_eq!(tree.value_at("/a/0/b~1c"), place(2, 10));
        assert_eq!(tree.value_at("/a/0/d/1"), place(3, 12));
        assert_eq!(tree.value_at("/a/0/missing/deeper"), place(2, 5));
        assert_eq!(tree.key_at(""), place(1, 1));
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let tree = parse("[1, -1, 1.5, true, no, ~, 'x', \"1\", 99999999999999999999999999]").unwrap();
        let json = tree.to_json();
        assert_eq!(
            json.as_array().unwrap()[..8],
            json!([1, -1, 1.5, true, "no", null, "x", "1"]).as_array().unwrap()[..]
        );
    }

    #[test]
    fn every_repeated_key_is_a_problem() {
        let problems = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n").unwrap_err();
        let seen: Vec<_> = problems.iter().map(|p| (p.location.unwrap(), p.message.as_str())).collect();
        let expected =
            [(place(2, 11), "key `c` is already there on line 2"), (place(3, 1), "key `a` is already there on line 1")];
        assert_eq!(seen, expected);
    }

    #[test]
    fn aliases_and_merge_keys_work() {
        let tree = parse("a: &x {b: 1, c: 2}\nd: *x\ne:\n  <<: *x\n  c: 3\n").unwrap();
        assert_eq!(tree.to_json()["d"], json!({"b": 1, "c": 2}));
        assert_eq!(tree.to_json()["e"], json!({"c": 3, "b": 1}));
        assert_eq!(tree.value_at("/d"), place(2, 4));
    }

    #[test]
    fn syntax_errors_have_a_place() {
        for text in ["a: [1", "a: 'x", "a: b: c", "a:\n\tb: 1", "a: *nothing", "a: 1\n---\nb: 2", "- a\nb: 1"] {
            let problems = parse(text).unwrap_err();
            assert!(problems[0].location.is_some(), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn deep_nesting_and_exploding_aliases_are_refused() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let item = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![item; 10].join(", "));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&" ".repeat(MAX_BYTES + 1)).is_err());
    }
}
