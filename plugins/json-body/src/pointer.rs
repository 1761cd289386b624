//! Places in a document by JSON Pointer (RFC 6901).

use serde_json::{Map, Value};

/// A place that is not the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyPointer {
    /// The way to what holds the value.
    parents: Vec<String>,
    /// The value's name or number there.
    last: String,
}

impl BodyPointer {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("is no place in a document, needs a JSON Pointer such as `/user/name`".to_owned());
        };
        if text.split('~').skip(1).any(|escape| !escape.starts_with(['0', '1'])) {
            return Err("is no JSON Pointer: `~` is written `~0`".to_owned());
        }
        let mut parents: Vec<String> =
            rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        let last = parents.pop().unwrap_or_default();
        Ok(Self { parents, last })
    }

    /// Whether one is inside the other, or the same.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.path().starts_with(&other.path())
    }

    fn path(&self) -> Vec<&str> {
        self.parents.iter().chain([&self.last]).map(String::as_str).collect()
    }

    /// The same with another name.
    pub(crate) fn called(&self, name: &str) -> Self {
        Self { parents: self.parents.clone(), last: name.to_owned() }
    }

    /// Takes the value out, if there is one.
    pub(crate) fn take(&self, document: &mut Value) -> Option<Value> {
        match self.parent(document)? {
            Value::Object(object) => object.shift_remove(&self.last),
            Value::Array(list) => {
                let index = index(&self.last).filter(|index| *index < list.len())?;
                Some(list.remove(index))
            }
            _ => None,
        }
    }

    /// Puts a value there, and objects on the way where there is nothing. Into a list it is inserted (`-` is its end), as
    /// `add` of RFC 6902 §4.1 does. False if something else is in the way.
    pub(crate) fn put(&self, document: &mut Value, value: Value) -> bool {
        let mut at = document;
        for segment in &self.parents {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            at = match at {
                Value::Object(object) => object.entry(segment.as_str()).or_insert(Value::Null),
                Value::Array(list) => match index(segment).and_then(|index| list.get_mut(index)) {
                    Some(next) => next,
                    None => return false,
                },
                _ => return false,
            };
        }
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        match at {
            Value::Object(object) => {
                object.insert(self.last.clone(), value);
                true
            }
            Value::Array(list) if self.last == "-" => {
                list.push(value);
                true
            }
            Value::Array(list) => match index(&self.last).filter(|index| *index <= list.len()) {
                Some(index) => {
                    list.insert(index, value);
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn parent<'a>(&self, document: &'a mut Value) -> Option<&'a mut Value> {
        self.parents.iter().try_fold(document, |value, segment| match value {
            Value::Object(object) => object.get_mut(segment),
            Value::Array(list) => list.get_mut(index(segment)?),
            _ => None,
        })
    }
}

/// RFC 6901 §4: no sign, no leading zeros.
fn index(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || (!segment.starts_with('0') && segment.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { segment.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::BodyPointer;

    fn put(document: Value, at: &str) -> Option<Value> {
        let mut document = document;
        BodyPointer::parse(at).unwrap().put(&mut document, json!(9)).then_some(document)
    }

    #[test]
    fn a_value_is_put_where_the_pointer_says_with_objects_on_the_way() {
        assert_eq!(put(json!({}), "/a"), Some(json!({ "a": 9 })));
        assert_eq!(put(json!({ "a": 1 }), "/a"), Some(json!({ "a": 9 })));
        assert_eq!(put(json!({}), "/a/b~1c/d"), Some(json!({ "a": { "b/c": { "d": 9 } } })));
        assert_eq!(put(json!({ "a": [1, 2] }), "/a/1"), Some(json!({ "a": [1, 9, 2] })));
        assert_eq!(put(json!({ "a": [1] }), "/a/-"), Some(json!({ "a": [1, 9] })));
        assert_eq!(put(json!([{ "a": 1 }]), "/0/b"), Some(json!([{ "a": 1, "b": 9 }])));
        for (document, at) in [(json!({ "a": 1 }), "/a/b"), (json!([1]), "/2"), (json!([1]), "/01"), (json!("x"), "/a")]
        {
            assert_eq!(put(document, at), None, "{at}");
        }
    }

    #[test]
    fn a_value_is_taken_if_it_is_there() {
        let mut document = json!({ "a": { "b": [1, 2] } });
        assert_eq!(BodyPointer::parse("/a/b/0").unwrap().take(&mut document), Some(json!(1)));
        for absent in ["/a/b/1", "/a/b/-", "/x", "/a/x/y", "/a/b/0/c"] {
            assert_eq!(BodyPointer::parse(absent).unwrap().take(&mut document), None, "{absent}");
        }
        assert_eq!(document, json!({ "a": { "b": [2] } }));
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for wrong in ["", "a", "/a~2", "/~"] {
            assert!(BodyPointer::parse(wrong).is_err(), "{wrong}");
        }
    }
}
