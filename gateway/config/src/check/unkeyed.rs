//! What `transform` puts into a request that `cache` does not keep in its key: the service may choose its response by it, and other
//! clients are given that response.

use serde_json::Value;

use super::{
    report::Report,
    stage::{IDENTITY, Stage},
};
use crate::yaml::join;

/// Edits of a request by templates, and whether they are of headers.
const EDITS: [(&[&str], bool); 4] = [
    (&["set-headers"], true),
    (&["append-headers"], true),
    (&["query", "set"], false),
    // A single template.
    (&["path"], false),
];

/// Headers by which consumers are kept apart if they are set before `cache` (`pipeline/identity.rs`).
const OF_CONSUMERS: [&str; 2] = ["authorization", "cookie"];
/// Headers that tell requests apart, so that no response is chosen by them.
const OF_REQUESTS: [&str; 6] =
    ["x-request-id", "x-correlation-id", "traceparent", "tracestate", "baggage", "x-amzn-trace-id"];

/// What comes of the client, and where the key has it.
struct Key<'a> {
    config: &'a Value,
    /// From this stage on, up to `cache`, plugins edit the path or the query: the key does not have what they were.
    edits: Edited,
    /// The same, from the first stage on.
    edits_original: Edited,
}

#[derive(Clone, Copy)]
struct Edited {
    path: bool,
    query: bool,
}

impl Edited {
    fn by(stages: &[Stage<'_>]) -> Self {
        let any = |part: &str| stages.iter().any(|stage| !of_request(stage)[part].is_null());
        Self { path: any("path"), query: any("query") }
    }
}

/// The edits of requests that a `transform` makes; null for other plugins.
fn of_request<'a>(stage: &Stage<'a>) -> &'a Value {
    if stage.builtin == Some("transform") { &stage.config["request"] } else { &Value::Null }
}

/// Looks at every `cache` of a pipeline.
pub(super) fn check(stages: &[Stage<'_>], report: &mut Report<'_>) {
    for (at, cache) in stages.iter().enumerate().filter(|(_, stage)| stage.builtin == Some("cache")) {
        let edits_original = Edited::by(&stages[..at]);
        for (position, stage) in stages.iter().enumerate() {
            let edits = Edited::by(&stages[position.min(at)..at]);
            let key = Key { config: &cache.config["key"], edits, edits_original };
            templates(stage, |pointer, header, name, template| {
                let before = position < at;
                let is_one_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
                // What is a part of path, query or host when `cache` looks at it is in the key by itself.
                let is_in_key =
                    !header || is_one_of(&OF_CONSUMERS) || is_one_of(&["host"]) || key.lists("headers", name);
                if (header && is_one_of(&OF_REQUESTS)) || (before && is_in_key) {
                    return;
                }
                let Some(source) = placeholders(template).find(|source| !key.has(source)) else { return };
                let what = if header { format!("the header `{name}`") } else { "the target".to_owned() };
                let cure = match (before, header) {
                    (true, _) => format!("add `{name}` to `key.headers`"),
                    (false, true) => format!("put `transform` before `cache`, and `{name}` into `key.headers`"),
                    (false, false) => "put `transform` before `cache`".to_owned(),
                };
                let message = format!(
                    "`transform` fills {what} from `{{{source}}}`, which is not in the key of `cache`: a response that is chosen \
                     by it is given to other clients; {cure}"
                );
                report.warn(&pointer, message);
            });
        }
    }
}

/// Shows every template by which a `transform` edits requests: its place, whether it is of a header, and its name.
fn templates(stage: &Stage<'_>, mut show: impl FnMut(String, bool, &str, &str)) {
    for (keys, headers) in EDITS {
        let mut at = join(&join(&stage.place, "config"), "request");
        let mut edits = of_request(stage);
        for key in keys {
            at = join(&at, key);
            edits = &edits[*key];
        }
        for (name, template) in edits.as_object().into_iter().flatten() {
            // Of the path, only this one is a template.
            if let Some(template) = template.as_str().filter(|_| keys != ["path"] || name == "rewrite") {
                show(join(&at, name), headers, name, template);
            }
        }
    }
}

/// The names in braces.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('{')? + 1..];
            // `{{` is a brace.
            if let Some(after) = rest.strip_prefix('{') {
                rest = after;
                continue;
            }
            let (inside, after) = rest.split_once('}')?;
            rest = after;
            return Some(inside.split('|').next().unwrap_or_default());
        }
    })
}

impl Key<'_> {
    /// Whether a list of the key has this name.
    fn lists(&self, list: &str, name: &str) -> bool {
        let mut listed = self.config[list].as_array().into_iter().flatten().filter_map(Value::as_str);
        listed.any(|own| if list == "headers" { own.eq_ignore_ascii_case(name) } else { own == name })
    }

    /// Whether two requests with the same key have the same in this placeholder.
    fn has(&self, source: &str) -> bool {
        let (kind, name) = source.split_once('.').unwrap_or((source, ""));
        let query = &self.config["query"];
        let whole_query = query.is_null() || query == "all";
        match kind {
            "header" => match name.to_ascii_lowercase().as_str() {
                "authorization" => true,
                "host" => self.config["host"] != false,
                name => self.lists("headers", name),
            },
            "attribute" => {
                let identifies = IDENTITY.iter().any(|(_, prefix)| name.starts_with(prefix));
                identifies
                    || name.starts_with("tls.client.")
                    || name == "gateway.upstream"
                    || self.lists("attributes", name)
            }
            "query" => !self.edits.query && (whole_query || self.keeps_parameter(name)),
            "path" if name.is_empty() => !self.edits.path,
            "path" => !self.edits_original.path,
            "original-target" => !self.edits_original.path && !self.edits_original.query && whole_query,
            "scheme" => self.config["scheme"] != false,
            "authority" => self.config["host"] != false,
            // Nothing is chosen by the number of a request. A HEAD is answered as a GET is. A route leads to one upstream.
            "request" | "method" | "route" => true,
            // The client's address, its protocol, and what is not known.
            _ => false,
        }
    }

    fn keeps_parameter(&self, name: &str) -> bool {
        let query = &self.config["query"];
        let lists = |list: &Value| list.as_array().is_some_and(|names| names.iter().any(|own| own == name));
        match (&query["only"], &query["except"]) {
            (Value::Null, Value::Null) => false,
            (Value::Null, except) => !lists(except),
            (only, _) => lists(only),
        }
    }
}
