//! What was expected beside what was.

use http::HeaderMap;
use serde_json::Value;

use super::{
    Got,
    cases::{Expect, ExpectFields},
    service::Seen,
};

/// What of a long text is shown.
const SHOWN: usize = 200;

/// What is not as expected, each with its place in the case.
pub(super) fn misses(expect: &Expect, seen: Option<&Seen>, got: &Got) -> Vec<String> {
    let mut misses = Misses(Vec::new());
    if let Some(answered) = expect.answered {
        misses.compare("answered", &answered.to_string(), &seen.is_none().to_string());
    }
    match (&expect.request, seen) {
        (Some(_), None) => misses.0.push("request: expected that the service is asked, and it was not".to_owned()),
        (Some(expected), Some(seen)) => {
            if let Some(method) = &expected.method {
                misses.compare("request.method", method, seen.head.method.as_str());
            }
            if let Some(path) = &expected.path {
                misses.compare("request.path", path, &seen.head.uri.to_string());
            }
            misses.fields("request", &expected.headers, &seen.head.headers);
            misses.body("request", expected.body.as_deref(), None, expected.json.as_ref(), &seen.body);
        }
        (None, _) => {}
    }
    if let Some(expected) = &expect.response {
        if let Some(status) = expected.status {
            misses.compare("response.status", &status.to_string(), got.head.status.as_str());
        }
        misses.fields("response", &expected.headers, &got.head.headers);
        let (body, part) = (expected.body.as_deref(), expected.contains.as_deref());
        misses.body("response", body, part, expected.json.as_ref(), &got.body);
    }
    misses.0
}

struct Misses(Vec<String>);

impl Misses {
    fn compare(&mut self, what: &str, expected: &str, found: &str) {
        if expected != found {
            self.0.push(format!("{what}: expected {}, was {}", short(expected), short(found)));
        }
    }

    fn fields(&mut self, whose: &str, expected: &ExpectFields, found: &HeaderMap) {
        for (name, values) in expected.all() {
            let lines = found.get_all(name).iter();
            let lines: Vec<String> =
                lines.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            if lines != values {
                self.0.push(format!("{whose}.headers.{name}: expected {}, was {}", listed(&values), listed(&lines)));
            }
        }
    }

    fn body(&mut self, whose: &str, body: Option<&str>, part: Option<&str>, json: Option<&Value>, found: &[u8]) {
        let text = String::from_utf8_lossy(found);
        if let Some(body) = body {
            self.compare(&format!("{whose}.body"), body, &text);
        }
        if let Some(part) = part
            && !text.contains(part)
        {
            self.0.push(format!("{whose}.contains: expected {} in the body, which was {}", short(part), short(&text)));
        }
        if let Some(expected) = json {
            match serde_json::from_slice::<Value>(found) {
                Ok(found) => self.json(&format!("{whose}.json"), expected, &found),
                Err(error) => {
                    self.0.push(format!("{whose}.json: the body is no JSON: {error}; it was {}", short(&text)))
                }
            }
        }
    }

    /// Of an object only what is expected is looked at.
    fn json(&mut self, place: &str, expected: &Value, found: &Value) {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                for (key, value) in expected {
                    let place = format!("{place}.{key}");
                    match found.get(key) {
                        Some(found) => self.json(&place, value, found),
                        None => self.0.push(format!("{place}: expected {value}, was not there")),
                    }
                }
            }
            _ if expected == found => {}
            _ => self.compare(place, &expected.to_string(), &found.to_string()),
        }
    }
}

fn listed(values: &[String]) -> String {
    match values {
        [] => "none".to_owned(),
        values => values.iter().map(|value| short(value)).collect::<Vec<_>>().join(" and "),
    }
}

/// In quotes, with what a terminal would obey escaped, and not longer than a line or two.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{:?} … ({} bytes)", &text[..at], text.len()),
        None => format!("{text:?}"),
    }
}
