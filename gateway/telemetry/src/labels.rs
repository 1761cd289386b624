//! Labels with a fixed set of values.

use std::sync::LazyLock;

use http::Method;

/// The methods that have a label of their own; every other is `other`, because clients make them up.
pub(super) const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "other"];

/// Status classes; `none` is for clients that left before a response began.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The statuses that have a label of their own (RFC 9110 §15).
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
/// Labels of exact statuses: `none`, as above, one for each status, and `other`.
pub(super) const CODES: usize = 502;

pub(super) fn method_index(method: &Method) -> usize {
    let last = METHODS.len() - 1;
    METHODS[..last].iter().position(|name| *name == method.as_str()).unwrap_or(last)
}

/// The position of a status class.
pub(super) fn class_index(status: Option<u16>) -> usize {
    class_of_code(code_index(status))
}

pub(super) fn code_index(status: Option<u16>) -> usize {
    match status {
        None => 0,
        Some(status) if STATUSES.contains(&status) => usize::from(status - STATUSES.start()) + 1,
        Some(_) => CODES - 1,
    }
}

/// The position of the class of a code. A status that is not defined counts as a failure (RFC 9110 §15).
pub(super) fn class_of_code(code: usize) -> usize {
    if code == 0 { 0 } else { ((code - 1) / 100 + 1).min(CLASSES.len() - 1) }
}

pub(super) fn code_name(code: usize) -> &'static str {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let statuses = STATUSES.map(|status| status.to_string());
        std::iter::once("none".to_owned()).chain(statuses).chain(["other".to_owned()]).collect()
    });
    NAMES.get(code).map_or("other", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_name_and_its_class() {
        for (status, name, class) in [
            (None, "none", "none"),
            (Some(100), "100", "1xx"),
            (Some(199), "199", "1xx"),
            (Some(200), "200", "2xx"),
            (Some(404), "404", "4xx"),
            (Some(429), "429", "4xx"),
            (Some(599), "599", "5xx"),
            (Some(600), "other", "5xx"),
            (Some(999), "other", "5xx"),
        ] {
            let code = code_index(status);
            assert_eq!((code_name(code), CLASSES[class_of_code(code)]), (name, class));
        }
        assert_eq!(code_name(CODES - 2), "599");
    }
}
