//! Edits of path and query.

use plugin_sdk::{Pointer, Problems, Request, query};
use regex_lite::{Regex, RegexBuilder};

use crate::{
    config::{PathConfig, QueryConfig, ReplaceConfig, RequestConfig},
    template::{Encoding, Scope, Template},
};

/// What to do to path and query.
pub struct TargetEdits {
    path: PathEdit,
    remove: Vec<String>,
    rename: Vec<Rename>,
    /// Name, `name=` percent-encoded, and value.
    set: Vec<(String, Vec<u8>, Template)>,
}

struct Rename {
    old: String,
    new: String,
    /// The new name, percent-encoded.
    encoded: String,
}

/// What a pattern may take, compiled.
const PATTERN_BYTES: usize = 64 * 1024;

enum PathEdit {
    Keep,
    Rewrite(Template),
    Replace { pattern: Regex, with: String },
    Prefix { strip: String, add: String },
}

impl TargetEdits {
    pub fn new(config: &RequestConfig, problems: &mut Problems) -> Self {
        let path = path_edit(&config.path, problems);
        let QueryConfig { remove, rename, set } = &config.query;
        let mut edits = Self {
            path,
            remove: remove.clone(),
            rename: rename
                .iter()
                .map(|(old, new)| Rename { old: old.clone(), new: new.clone(), encoded: query::encode(new) })
                .collect(),
            set: Vec::new(),
        };
        let at = Pointer::from("/request/query/set");
        for (name, text) in set {
            if let Some(template) = problems.note(at.then(name), Template::parse(text, Scope::Request)) {
                edits.set.push((name.clone(), (query::encode(name) + "=").into_bytes(), template));
            }
        }
        edits
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.path, PathEdit::Keep) && !self.touches_query()
    }

    fn touches_query(&self) -> bool {
        !(self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty())
    }

    /// What is stripped from the front of this request's path.
    pub fn stripped(&self, request: &Request) -> Option<&str> {
        match &self.path {
            PathEdit::Prefix { strip, .. } if !strip.is_empty() => {
                without_prefix(&request.path(), strip).map(|_| strip.as_str())
            }
            _ => None,
        }
    }

    /// The new target, if it is another one.
    ///
    /// # Errors
    ///
    /// A value for the path is missing: a request must not go to a path that nobody meant. The text is for the client.
    pub fn compute(&self, request: &Request) -> Result<Option<String>, &'static str> {
        if self.is_empty() {
            return Ok(None);
        }
        let path = request.path();
        let old_query = request.query();
        let mut target = match &self.path {
            PathEdit::Keep => path.clone().into_bytes(),
            PathEdit::Replace { pattern, with } => pattern.replace(&path, with).into_owned().into_bytes(),
            PathEdit::Prefix { strip, add } => prefixed(&path, strip, add),
            PathEdit::Rewrite(template) => {
                let mut new = Vec::with_capacity(path.len());
                if !template.render(request, None, Encoding::Path, &mut new) {
                    return Err("the request lacks a value that its path is made of");
                }
                new
            }
        };
        let end = target.len();
        if self.touches_query() {
            self.edit_query(request, old_query.as_deref().unwrap_or_default(), &mut target);
        } else if let Some(query) = &old_query {
            target.push(b'?');
            target.extend_from_slice(query.as_bytes());
        }
        let (new_path, rest) = target.split_at(end);
        let new_query = rest.strip_prefix(b"?");
        if new_path == path.as_bytes() && new_query == old_query.as_deref().map(str::as_bytes) {
            return Ok(None);
        }
        // Whatever is not of a path or a query is percent-encoded.
        String::from_utf8(target).map(Some).map_err(|_| "the path cannot be made of what the request says")
    }

    /// Writes `?` and what is left of the query.
    fn edit_query(&self, request: &Request, old: &str, out: &mut Vec<u8>) {
        let mut separator = b'?';
        let mut separate = |out: &mut Vec<u8>| out.push(std::mem::replace(&mut separator, b'&'));
        for pair in old.split('&').filter(|pair| !pair.is_empty()) {
            let raw = pair.split('=').next().unwrap_or_default();
            let name = query::decode(raw);
            let rename = self.rename.iter().find(|rename| rename.old == name);
            let new = rename.map_or(&*name, |rename| &rename.new);
            if self.remove.iter().any(|gone| *gone == name) || self.set.iter().any(|(set, ..)| set == new) {
                continue;
            }
            separate(out);
            match rename {
                Some(rename) => {
                    out.extend_from_slice(rename.encoded.as_bytes());
                    out.extend_from_slice(&pair.as_bytes()[raw.len()..]);
                }
                None => out.extend_from_slice(pair.as_bytes()),
            }
        }
        let mut value = Vec::new();
        for (_, name, template) in &self.set {
            value.clear();
            if template.render(request, None, Encoding::Query, &mut value) {
                separate(out);
                out.extend_from_slice(name);
                out.extend_from_slice(&value);
            }
        }
    }
}

fn path_edit(config: &PathConfig, problems: &mut Problems) -> PathEdit {
    let at = "/request/path";
    let PathConfig { rewrite, replace, strip_prefix, add_prefix } = config;
    let has_prefix = strip_prefix.is_some() || add_prefix.is_some();
    if let Some(ReplaceConfig { pattern, with }) = replace {
        if rewrite.is_some() || has_prefix {
            problems.add(at, "`replace` excludes `rewrite`, `strip-prefix` and `add-prefix`");
        }
        if !with.chars().all(|c| is_path_char(c) || "{}".contains(c)) {
            problems.add(
                "/request/path/replace/with",
                "not percent-encoded, or with a `?` or `#`; `query` edits the query",
            );
        }
        let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        let built = built.map_err(|error| format!("is not a regular expression: {error}"));
        let Some(pattern) = problems.note("/request/path/replace/pattern", built) else { return PathEdit::Keep };
        return PathEdit::Replace { pattern, with: with.clone() };
    }
    if let Some(text) = rewrite {
        if has_prefix {
            problems.add(at, "`rewrite` excludes `strip-prefix` and `add-prefix`");
        }
        let at = "/request/path/rewrite";
        let Some(template) = problems.note(at, Template::parse(text, Scope::Request)) else { return PathEdit::Keep };
        if !template.starts_with('/') {
            problems.add(at, "a path begins with `/`");
        }
        if template.literals().any(|text| text.contains(|c: char| !is_path_char(c))) {
            problems.add(at, "not percent-encoded, or with a `?` or `#`; `query` edits the query");
        }
        return PathEdit::Rewrite(template);
    }
    for (key, prefix) in [("strip-prefix", strip_prefix), ("add-prefix", add_prefix)] {
        let Some(prefix) = prefix else { continue };
        let segments = prefix.strip_prefix('/').unwrap_or_default();
        let legal = |segment: &str| !matches!(segment, "" | "." | "..") && segment.chars().all(is_path_char);
        if !segments.split('/').all(legal) {
            let at = Pointer::from(at).then(key);
            problems.add(at, "a prefix is one or more segments, percent-encoded, such as `/api/v1`");
        }
    }
    if strip_prefix.is_none() && add_prefix.is_none() {
        return PathEdit::Keep;
    }
    PathEdit::Prefix { strip: strip_prefix.clone().unwrap_or_default(), add: add_prefix.clone().unwrap_or_default() }
}

/// What a path may contain besides `%` and what follows it (RFC 3986 §3.3).
fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c)
}

/// What follows whole segments.
fn without_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn prefixed(path: &str, strip: &str, add: &str) -> Vec<u8> {
    let rest = without_prefix(path, strip).unwrap_or(path);
    // `/api` less `/api` is the root, and before a prefix it is nothing.
    let rest = if rest.is_empty() && add.is_empty() { "/" } else { rest };
    [add, rest].concat().into_bytes()
}
