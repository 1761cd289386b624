//! The text format of Prometheus, version 0.0.4, made from OpenMetrics text.
//!
//! The two differ in their descriptions alone: there, a counter's family has no `_total`, an information is a type of its own,
//! and the page has an end.

/// The content types of the formats.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of OpenMetrics as one of the text format.
pub fn from_openmetrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + page.len() / 64);
    // The type comes behind the help and decides on its name.
    let mut help = None;
    for line in page.lines() {
        if let Some(description) = line.strip_prefix("# HELP ") {
            help = description.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(described, _)| *described == name) {
                // Quotes are not escaped here.
                let help = help.replace("\\\"", "\"");
                text.extend(["# HELP ", name, suffix, " ", &help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with("# ") {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_those_of_the_text_format_and_samples_stay() {
        let page = "# HELP a Said \\\"so\\\".\n# TYPE a counter\na_total{b=\"# c\"} 1\n# HELP i I.\n# TYPE i info\n\
                    i_info{version=\"1\"} 1\n# TYPE s_seconds histogram\n# UNIT s_seconds seconds\n\
                    s_seconds_bucket{le=\"+Inf\"} 0\n# EOF\n";
        let expected = "# HELP a_total Said \"so\".\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n# HELP i_info I.\n\
                        # TYPE i_info gauge\ni_info{version=\"1\"} 1\n# TYPE s_seconds histogram\n\
                        s_seconds_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(from_openmetrics(page), expected);
    }
}
