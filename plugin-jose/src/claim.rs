//! A claim by its name or a JSON Pointer, and a claim as text.

use plugin_sdk::{Pointer, Problems};
use serde_json::{Map, Value};

/// The claim is a text that a header cannot carry as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable;

/// Where a value is among the claims.
pub enum ClaimPath {
    /// The name of a claim, whatever characters it has: URLs are usual.
    Name(String),
    /// JSON Pointer (RFC 6901).
    Pointer(Vec<String>),
}

impl ClaimPath {
    /// Reads a name or a pointer of a configuration; `at` is where it stands.
    pub fn read(path: &str, at: &Pointer, problems: &mut Problems) -> Option<Self> {
        let Some(pointer) = path.strip_prefix('/') else {
            if path.is_empty() {
                problems.add(at, "must not be empty, needs a claim's name");
                return None;
            }
            return Some(Self::Name(path.into()));
        };
        if path.split('~').skip(1).any(|escape| !escape.starts_with(['0', '1'])) {
            problems.add(at, "is no JSON Pointer: `~` is written `~0`");
            return None;
        }
        let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
        Some(Self::Pointer(pointer.split('/').map(unescape).collect()))
    }

    /// The value, `None` if there is none or if it is null.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let found = match self {
            Self::Name(name) => claims.get(name),
            Self::Pointer(path) => {
                let (first, rest) = path.split_first()?;
                rest.iter().try_fold(claims.get(first)?, |value, segment| match value {
                    Value::Object(object) => object.get(segment),
                    Value::Array(values) => values.get(index(segment)?),
                    _ => None,
                })
            }
        };
        found.filter(|value| !value.is_null())
    }
}

/// RFC 6901 §4: no sign, no leading zeros.
fn index(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || (!segment.starts_with('0') && segment.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { segment.parse().ok() } else { None }
}

/// A claim as the text of a header or attribute: strings as they are, lists joined by commas, the rest as JSON.
///
/// In an element of a list, what would end it is percent-encoded: who chooses the name of a group must not become a member of two
/// by writing a comma.
///
/// # Errors
///
/// [`Unusable`] for a string by itself that cannot be a header's value.
pub fn text(value: &Value) -> Result<String, Unusable> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(element).collect::<Vec<_>>().join(","),
        other => json(other),
    };
    // White space at the ends would be trimmed on the way (RFC 9110 §5.5), and make another user of this one.
    if text.contains(|character: char| character.is_control()) || text.trim() != text {
        return Err(Unusable);
    }
    Ok(text)
}

/// An element of a list, in which commas, percent signs, control characters and white space at an end are percent-encoded.
fn element(value: &Value) -> String {
    let whole = match value {
        Value::String(text) => text.clone(),
        other => json(other),
    };
    let (begin, end) = (whole.len() - whole.trim_start().len(), whole.trim_end().len());
    let mut element = String::with_capacity(whole.len());
    for (at, character) in whole.char_indices() {
        if matches!(character, ',' | '%') || character.is_control() || at < begin || at >= end {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                element.push_str(&format!("%{byte:02X}"));
            }
        } else {
            element.push(character);
        }
    }
    element
}

/// JSON without control characters: of those, JSON itself leaves DEL and what is beyond ASCII as they are.
fn json(value: &Value) -> String {
    let mut json = String::new();
    for character in value.to_string().chars() {
        if character.is_control() {
            json.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            json.push(character);
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use plugin_sdk::{Pointer, Problems};
    use serde_json::json;

    use super::{ClaimPath, Unusable, text};

    fn find(path: &str) -> Option<serde_json::Value> {
        let claims = json!({
            "sub": "anna",
            "none": null,
            "https://example.com/a.b": 1,
            "realm": { "roles": ["a", "b"], "x/y": { "~": 2 } },
        });
        let path = ClaimPath::read(path, &Pointer::root(), &mut Problems::default()).unwrap();
        path.find(claims.as_object().unwrap()).cloned()
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_by_a_pointer() {
        assert_eq!(find("sub"), Some(json!("anna")));
        assert_eq!(find("https://example.com/a.b"), Some(json!(1)));
        assert_eq!(find("/realm/roles/1"), Some(json!("b")));
        assert_eq!(find("/realm/x~1y/~0"), Some(json!(2)));
        for absent in ["none", "realm.roles", "/realm/roles/01", "/realm/roles/+1", "/realm/roles/-", "/sub/0", "/"] {
            assert_eq!(find(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_pointer_must_be_one() {
        let mut problems = Problems::default();
        for wrong in ["", "/a~2", "/a~"] {
            assert!(ClaimPath::read(wrong, &Pointer::root(), &mut problems).is_none(), "{wrong}");
        }
        assert_eq!(problems.iter().count(), 3);
    }

    #[test]
    fn claims_become_text_that_cannot_be_mistaken() {
        assert_eq!(text(&json!("J\u{fc}rgen")), Ok("J\u{fc}rgen".into()));
        assert_eq!(text(&json!(true)), Ok("true".into()));
        assert_eq!(text(&json!(["a", 1, false])), Ok("a,1,false".into()));
        assert_eq!(text(&json!([])), Ok(String::new()));
        assert_eq!(text(&json!({ "a": [1] })), Ok(r#"{"a":[1]}"#.into()));
        for unusable in [json!("a\r\nx: y"), json!(" a"), json!("a\u{7f}")] {
            assert_eq!(text(&unusable), Err(Unusable), "{unusable}");
        }
    }

    #[test]
    fn an_element_of_a_list_cannot_pass_for_two() {
        for (list, expected) in [
            (json!(["CN=M\u{fc}ller,OU=staff", "b"]), "CN=M\u{fc}ller%2COU=staff,b"),
            (json!(["a%2Cb", "a,b", "100%"]), "a%252Cb,a%2Cb,100%25"),
            (json!([{ "id": 1, "name": "a\u{7f}" }, ["x"], null]), r#"{"id":1%2C"name":"a\u007f"},["x"],null"#),
            (json!([" a ", "b\r\nx: y", "\u{85}"]), "%20a%20,b%0D%0Ax: y,%C2%85"),
        ] {
            assert_eq!(text(&list).as_deref(), Ok(expected), "{list}");
        }
        assert_eq!(text(&json!({ "a\u{7f}": 1 })).as_deref(), Ok("{\"a\\u007f\":1}"));
    }
}
