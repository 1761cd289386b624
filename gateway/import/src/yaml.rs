//! Writing YAML: block style, with comments, and flow style where a list or mapping is short.

use serde_json::Value;

/// The longest line of a flow collection.
const WIDTH: usize = 90;

/// Writes a mapping's entries at this indentation. An entry whose value is null is left out.
pub(crate) fn entries(out: &mut String, indent: usize, map: &serde_json::Map<String, Value>) {
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        pad(out, indent);
        out.push_str(&scalar(&Value::from(key.as_str())));
        out.push(':');
        below(out, indent, value);
    }
}

/// Writes the value of a key, after its colon.
fn below(out: &mut String, indent: usize, value: &Value) {
    match (flow(value), value) {
        (Some(short), _) if indent + short.len() <= WIDTH => {
            out.push(' ');
            out.push_str(&short);
            out.push('\n');
        }
        (_, Value::Object(map)) => {
            out.push('\n');
            entries(out, indent + 2, map);
        }
        (_, Value::Array(list)) => {
            out.push('\n');
            for item in list {
                listed(out, indent + 2, item);
            }
        }
        (_, value) => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// Writes an item of a list.
pub(crate) fn listed(out: &mut String, indent: usize, item: &Value) {
    pad(out, indent);
    out.push_str("- ");
    match item {
        Value::Object(map) if flow(item).is_none_or(|short| indent + 2 + short.len() > WIDTH) => {
            let mut inner = String::new();
            entries(&mut inner, indent + 2, map);
            out.push_str(inner.trim_start());
        }
        item => {
            out.push_str(&flow(item).unwrap_or_else(|| scalar(item)));
            out.push('\n');
        }
    }
}

/// In one line, if nothing in it is too deep to be read so.
fn flow(value: &Value) -> Option<String> {
    nested(value, 3)
}

fn nested(value: &Value, depth: usize) -> Option<String> {
    match value {
        Value::Object(_) | Value::Array(_) if depth == 0 => None,
        Value::Object(map) => {
            let parts: Option<Vec<_>> = map
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    Some(format!("{}: {}", scalar(&Value::from(key.as_str())), nested(value, depth - 1)?))
                })
                .collect();
            Some(format!("{{ {} }}", parts?.join(", ")))
        }
        Value::Array(list) => {
            let parts: Option<Vec<_>> = list.iter().map(|item| nested(item, depth - 1)).collect();
            Some(format!("[{}]", parts?.join(", ")))
        }
        value => Some(scalar(value)),
    }
}

/// A text without quotes where that is unmistakable. JSON's strings are YAML's.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        value => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '*' | '+' | '$' | '%' | '=');
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_measure = digits.len() < text.len() && ["ms", "s", "m", "h", "d", "KiB", "MiB", "GiB"].contains(&digits);
    let begins = is_measure || text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    begins && text.chars().all(safe) && !is_word && !text.ends_with(':')
}

pub(crate) fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let value = json!({
            "a": "plain", "b": "with: colon", "c": "yes", "t": "30s", "size": "20MiB", "n": "12", "e5": "1e5", "d": "", "e": [1, "2", true], "f": { "g": { "h": "# no comment" } },
            "long": ["a rather long text that does not fit", "a rather long text that does not fit", "and a third one"],
            "routes": [{ "name": "x", "match": { "path": "/a/{*rest}", "hosts": ["*.example.com", "example.com", "www.example.com"] },
                "plugins": [{ "name": "cors", "config": { "allow-origins": ["*"] } }] }],
            "line": "a\nb",
        });
        let mut text = String::new();
        entries(&mut text, 0, value.as_object().unwrap());
        let read = gateway_config::yaml::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}:\n{text}"));
        assert_eq!(read.to_json(), value, "{text}");
        assert!(text.lines().all(|line| line.len() < 120), "{text}");
    }
}
