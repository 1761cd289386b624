//! OpenAPI 3: a route for each path.

use serde_json::{Map, json};

use crate::{
    ImportError,
    document::{self, At},
    draft::{Draft, Listener, Route, Upstream},
};

const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// Where the service is assumed to be if the document does not say it.
const UNKNOWN: &str = "http://127.0.0.1:9001";

pub(crate) fn translate(text: &str) -> Result<Draft, ImportError> {
    let document = document::one(text)?;
    let root = document.root();
    let mut draft = Draft::default();
    draft.listen(Listener { line: 1, address: "127.0.0.1:8080".to_owned(), tls: None });
    let (upstream, base) = service(&root, &mut draft);
    schemes(&root, &mut draft);
    for (path, item) in root.get("paths").map(|paths| paths.entries()).unwrap_or_default() {
        let methods: Vec<_> =
            METHODS.iter().filter(|method| item.get(method).is_some()).map(|method| method.to_uppercase()).collect();
        if item.get("$ref").is_some() {
            draft.note(item.line(), format!("`{path}`: `$ref` is not followed"));
            continue;
        }
        if methods.is_empty() {
            continue;
        }
        let Some(pattern) = pattern(&format!("{base}{path}")) else {
            draft.note(item.line(), format!("`{path}`: a parameter is a whole segment of a path"));
            continue;
        };
        let operation = METHODS.iter().find_map(|method| item.get(method)?.text("operationId"));
        let name = match operation {
            Some(id) if methods.len() == 1 => id.to_owned(),
            _ => path.to_owned(),
        };
        draft.route(Route {
            line: item.line(),
            name,
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: Some(pattern),
            methods,
            headers: Map::new(),
            plugins: Vec::new(),
            action: ("upstream", json!(upstream)),
            options: Map::new(),
        });
    }
    draft.complete("the document has no paths with operations")
}

/// The upstream, and the path of its URL.
fn service(root: &At<'_>, draft: &mut Draft) -> (String, String) {
    let servers = root.list("servers");
    for other in servers.iter().skip(1) {
        draft.note(other.line(), "only the first of the servers is used");
    }
    let (line, url) = match servers.first() {
        Some(server) => (server.line(), server.text("url").unwrap_or_default()),
        None => (1, ""),
    };
    let is_absolute = url.starts_with("http://") || url.starts_with("https://");
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let is_usable = is_absolute && !authority.contains(['{', '@']) && !authority.is_empty();
    let endpoint = match url.split_once("://") {
        Some((scheme, _)) if is_usable => format!("{scheme}://{authority}"),
        _ => {
            draft.note(line, format!("the document names no server that can be used; `{UNKNOWN}` stands for it"));
            UNKNOWN.to_owned()
        }
    };
    let mut options = Map::new();
    if is_usable {
        options.insert("host".to_owned(), json!("endpoint"));
    }
    let name = root.get("info").and_then(|info| info.text("title")).unwrap_or("service");
    let upstream = Upstream { line, name: name.to_lowercase(), endpoints: vec![(endpoint, None)], options };
    let path = if path.contains('{') { "" } else { path.trim_end_matches('/') };
    (draft.upstream(upstream), path.to_owned())
}

/// What has to be configured for authentication is known to the operator only.
fn schemes(root: &At<'_>, draft: &mut Draft) {
    let schemes = root.get("components").and_then(|components| components.get("securitySchemes"));
    for (name, scheme) in schemes.map(|schemes| schemes.entries()).unwrap_or_default() {
        let kind = scheme.text("scheme").map(str::to_lowercase);
        let plugin = match (scheme.text("type"), kind.as_deref()) {
            (Some("apiKey"), _) => "`api-key`",
            (Some("http"), Some("basic")) => "`basic-auth`",
            (Some("http"), Some("bearer")) => "`jwt`",
            (Some("oauth2" | "openIdConnect"), _) => "`jwt`, or `oidc` for logins,",
            (Some("mutualTLS"), _) => "`client-certificates` of a listener",
            _ => continue,
        };
        draft.note(scheme.line(), format!("security scheme `{name}`: add {plugin} to the routes that require it"));
    }
}

/// A path with parameters that are whole segments, named with letters, digits and `_`.
fn pattern(path: &str) -> Option<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
                segments.push(format!("{{{}}}", name.chars().map(safe).collect::<String>()));
            }
            None if !segment.contains(['{', '}']) => segments.push(segment.to_owned()),
            _ => return None,
        }
    }
    Some(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_whole_segments() {
        assert_eq!(pattern("/users/{user-id}/orders").as_deref(), Some("/users/{user_id}/orders"));
        assert_eq!((pattern("/files/{name}.json"), pattern("/a/{}")), (None, None));
    }
}
