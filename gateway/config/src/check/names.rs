//! Words for messages: what was found, and the valid name that was probably meant.

use serde_json::Value;

/// A list of valid names is shown up to this length.
const LISTED: usize = 12;
/// Longer values are cut.
const SHOWN: usize = 60;

/// The candidate that differs least, if it differs little.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase().replace('_', "-");
    // A transposition is one slip, and short names forgive one only.
    let allowed = (wanted.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase().replace('_', "-")), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || (wanted.len() > 2 && candidate.starts_with(&wanted)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to append to a message about an unknown name: the nearest one, or all if they are few.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(name, candidates.iter().copied()) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if candidates.is_empty() || candidates.len() > LISTED => String::new(),
        None => format!("; expected {}", one_of(&candidates)),
    }
}

/// `a`, `a` or `b`, `a`, `b` or `c`.
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    any_of(&quoted)
}

pub(super) fn any_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A value as it stands in a message.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(text) if text.is_empty() => "empty text".to_owned(),
        Value::String(text) => format!("`{}`", cut(text)),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
    }
}

/// Text from the file, short and on one line.
pub(crate) fn cut(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    match text.char_indices().nth(SHOWN) {
        None => text.chars().map(plain).collect(),
        Some((end, _)) => text[..end].chars().map(plain).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_nearest_name_is_a_slip_away() {
        let keys = ["host", "hosts", "path", "methods", "idle-connections"];
        assert_eq!(nearest("hots", keys), Some("host"));
        assert_eq!(nearest("method", keys), Some("methods"));
        assert_eq!(nearest("idle_connections", keys), Some("idle-connections"));
        assert_eq!(nearest("PATH", keys), Some("path"));
        assert_eq!(nearest("idle", keys), Some("idle-connections"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn without_a_nearest_name_a_short_list_is_shown() {
        assert_eq!(hint("zzz", ["a", "b", "c"]), "; expected `a`, `b` or `c`");
        assert_eq!(hint("zzz", []), "");
        assert_eq!(hint("zzz", ["x"; 20]), "");
    }

    #[test]
    fn what_was_found_is_short_and_on_one_line() {
        assert_eq!(found(&json!("a\nb")), "`a b`");
        assert_eq!(found(&json!("x".repeat(100))).chars().count(), SHOWN + 3);
        assert_eq!(found(&json!(1.5)), "`1.5`");
    }
}
