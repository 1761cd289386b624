//! What a translation fills, and how it is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::{ImportError, Imported, Note, yaml};

/// A configuration under construction.
#[derive(Default)]
pub(crate) struct Draft {
    listeners: Vec<Listener>,
    pub(crate) trusted_proxies: Vec<String>,
    secrets: Map<String, Value>,
    /// Grants of standard plugins, by plugin and kind.
    grants: BTreeMap<&'static str, BTreeMap<&'static str, BTreeSet<String>>>,
    upstreams: Vec<Upstream>,
    pub(crate) global_plugins: Vec<Value>,
    routes: Vec<Route>,
    notes: Vec<Note>,
}

pub(crate) struct Listener {
    pub(crate) line: usize,
    pub(crate) address: String,
    /// The object under `tls`.
    pub(crate) tls: Option<Value>,
}

#[derive(Default)]
pub(crate) struct Upstream {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// URLs, and their weights where these are not 1.
    pub(crate) endpoints: Vec<(String, Option<u64>)>,
    /// The other keys.
    pub(crate) options: Map<String, Value>,
}

pub(crate) struct Route {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// Addresses of the listeners that it is for; empty for all.
    pub(crate) listeners: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) path: Option<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Map<String, Value>,
    pub(crate) plugins: Vec<Value>,
    /// `upstream`, `redirect` or `respond`, with its value.
    pub(crate) action: (&'static str, Value),
    /// The other keys.
    pub(crate) options: Map<String, Value>,
}

impl Draft {
    pub(crate) fn note(&mut self, line: usize, text: impl Into<String>) {
        let note = Note { line, text: text.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds a listener, or the certificates of one that is there.
    pub(crate) fn listen(&mut self, listener: Listener) {
        match self.listeners.iter_mut().find(|present| present.address == listener.address) {
            None => self.listeners.push(listener),
            Some(present) => match (&mut present.tls, listener.tls) {
                (Some(present), Some(more)) => {
                    let more = more["certificates"].as_array().cloned().unwrap_or_default();
                    if let Some(certificates) = present["certificates"].as_array_mut() {
                        for certificate in more {
                            if !certificates.contains(&certificate) {
                                certificates.push(certificate);
                            }
                        }
                    }
                }
                (present, tls) => *present = present.take().or(tls),
            },
        }
    }

    /// Adds an upstream and returns its name, which is another one if the name is taken.
    pub(crate) fn upstream(&mut self, mut upstream: Upstream) -> String {
        let taken: BTreeSet<_> = self.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        upstream.name = unique(&identifier(&upstream.name), &taken);
        let name = upstream.name.clone();
        self.upstreams.push(upstream);
        name
    }

    pub(crate) fn upstream_named(&mut self, name: &str) -> Option<&mut Upstream> {
        self.upstreams.iter_mut().find(|upstream| upstream.name == name)
    }

    /// The upstream with just this endpoint.
    pub(crate) fn upstream_of(&mut self, line: usize, url: &str) -> String {
        let is_it = |upstream: &&Upstream| matches!(&upstream.endpoints[..], [(only, None)] if only == url);
        if let Some(present) = self.upstreams.iter().find(is_it) {
            return present.name.clone();
        }
        let host = url.split("://").nth(1).unwrap_or(url);
        let name = identifier(host);
        self.upstream(Upstream { line, name, endpoints: vec![(url.to_owned(), None)], options: Map::new() })
    }

    pub(crate) fn secret(&mut self, name: &str, source: Value) -> String {
        let name = identifier(name);
        self.secrets.insert(name.clone(), source);
        name
    }

    pub(crate) fn grant(&mut self, plugin: &'static str, kind: &'static str, name: &str) {
        self.grants.entry(plugin).or_default().entry(kind).or_default().insert(name.to_owned());
    }

    pub(crate) fn route(&mut self, mut route: Route) {
        let taken: BTreeSet<_> = self.routes.iter().map(|route| route.name.clone()).collect();
        route.name = unique(&identifier(&route.name), &taken);
        self.routes.push(route);
    }

    pub(crate) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    pub(crate) fn has_listeners(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// The draft, if it has routes.
    pub(crate) fn complete(self, without: &'static str) -> Result<Self, ImportError> {
        if self.has_routes() { Ok(self) } else { Err(ImportError::Empty(without)) }
    }

    /// Writes the configuration. `source` is the name of the file that it was made from.
    pub(crate) fn finish(mut self, source: &str) -> Imported {
        self.unbind();
        self.remove_doubles();
        let names = self.listener_names();
        let mut out = String::new();
        out.push_str("# yaml-language-server: $schema=gateway.schema.json\n");
        out.push_str(&format!("# Translated from {source} by `gateway import`.\n\n"));
        out.push_str("listeners:\n");
        for listener in &self.listeners {
            out.push_str(&format!("  # {source}:{}\n", listener.line));
            let mut map = Map::new();
            map.insert("name".to_owned(), names.get(&listener.address).map_or(Value::Null, |name| json!(name)));
            map.insert("address".to_owned(), json!(listener.address));
            map.insert("tls".to_owned(), listener.tls.clone().unwrap_or_default());
            yaml::listed(&mut out, 2, &map.into());
        }
        out.push_str("\nadmin:\n  address: 127.0.0.1:9900\n");
        let mut section = |name: &str, value: Value| {
            out.push('\n');
            yaml::entries(&mut out, 0, &Map::from_iter([(name.to_owned(), value)]));
        };
        if !self.trusted_proxies.is_empty() {
            section("trusted-proxies", json!(self.trusted_proxies));
        }
        if !self.secrets.is_empty() {
            section("secrets", Value::Object(self.secrets));
        }
        if !self.grants.is_empty() {
            let plugins =
                self.grants.iter().map(|(plugin, grants)| ((*plugin).to_owned(), json!({ "grants": grants })));
            section("plugins", Value::Object(plugins.collect()));
        }
        if !self.upstreams.is_empty() {
            out.push_str("\nupstreams:\n");
        }
        for upstream in &self.upstreams {
            out.push_str(&format!("  # {source}:{}\n  {}:\n", upstream.line, upstream.name));
            yaml::entries(&mut out, 4, &upstream.keys());
        }
        if !self.global_plugins.is_empty() {
            out.push_str("\nglobal-plugins:\n");
            self.global_plugins.iter().for_each(|plugin| yaml::listed(&mut out, 2, plugin));
        }
        out.push_str("\nroutes:\n");
        for route in &self.routes {
            out.push_str(&format!("  # {source}:{}\n", route.line));
            let mut lines = String::new();
            yaml::entries(&mut lines, 4, &route.keys(&names));
            out.push_str("  - ");
            out.push_str(lines.trim_start());
        }
        self.notes.sort_by_key(|note| note.line);
        Imported { yaml: out, notes: self.notes }
    }

    /// Where all routes are for the same listeners, they need not say so.
    fn unbind(&mut self) {
        let all: BTreeSet<_> = self.listeners.iter().map(|listener| listener.address.clone()).collect();
        let is_for_all = |route: &Route| {
            route.listeners.is_empty() || route.listeners.iter().cloned().collect::<BTreeSet<_>>() == all
        };
        if self.routes.iter().all(is_for_all) {
            self.routes.iter_mut().for_each(|route| route.listeners.clear());
        }
    }

    /// Names of listeners by address, if routes need them.
    fn listener_names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        let mut taken = BTreeSet::new();
        if self.routes.iter().any(|route| !route.listeners.is_empty()) {
            for listener in &self.listeners {
                let port = listener.address.rsplit(':').next().unwrap_or_default();
                let name = match port {
                    "80" => "http".to_owned(),
                    "443" => "https".to_owned(),
                    port => format!("port-{port}"),
                };
                let name = unique(&name, &taken);
                taken.insert(name.clone());
                names.insert(listener.address.clone(), name);
            }
        }
        names
    }

    /// Two routes that match the same requests are not valid; the first one stays, as most sources have it.
    fn remove_doubles(&mut self) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut notes = Vec::new();
        for route in &mut self.routes {
            let mut methods = route.methods.clone();
            methods.sort();
            let rest = format!("{:?} {methods:?} {:?}", route.path.as_ref().map(|path| pattern(path)), route.headers);
            let listeners = if route.listeners.is_empty() { vec![String::new()] } else { route.listeners.clone() };
            let keys = |host: &String| {
                listeners.iter().map(|listener| format!("{listener} {host} {rest}")).collect::<Vec<_>>()
            };
            let all = if route.hosts.is_empty() { vec![String::new()] } else { std::mem::take(&mut route.hosts) };
            for host in all {
                match keys(&host).iter().find_map(|key| seen.get(key)) {
                    Some(line) => {
                        let text = format!("left out: line {line} matches the same requests");
                        notes.push(Note { line: route.line, text });
                    }
                    None => {
                        seen.extend(keys(&host).into_iter().map(|key| (key, route.line)));
                        route.hosts.push(host);
                    }
                }
            }
        }
        self.routes.retain(|route| !route.hosts.is_empty());
        self.routes.iter_mut().for_each(|route| route.hosts.retain(|host| !host.is_empty()));
        notes.dedup();
        self.notes.extend(notes);
    }
}

impl Upstream {
    fn keys(&self) -> Map<String, Value> {
        let endpoint = |(url, weight): &(String, Option<u64>)| match weight {
            None => json!(url),
            Some(weight) => json!({ "url": url, "weight": weight }),
        };
        let endpoints: Vec<_> = self.endpoints.iter().map(endpoint).collect();
        let mut keys = Map::from_iter([("endpoints".to_owned(), endpoints.into())]);
        keys.extend(self.options.clone());
        keys
    }
}

impl Route {
    fn keys(&self, names: &BTreeMap<String, String>) -> Map<String, Value> {
        let mut matched = Map::new();
        if !self.listeners.is_empty() {
            let names: Vec<_> = self.listeners.iter().map(|address| names.get(address).unwrap_or(address)).collect();
            matched.insert("listeners".to_owned(), json!(names));
        }
        match &self.hosts[..] {
            [] => {}
            [host] => _ = matched.insert("host".to_owned(), json!(host)),
            hosts => _ = matched.insert("hosts".to_owned(), json!(hosts)),
        }
        if let Some(path) = &self.path {
            matched.insert("path".to_owned(), json!(path));
        }
        if !self.methods.is_empty() {
            matched.insert("methods".to_owned(), json!(self.methods));
        }
        if !self.headers.is_empty() {
            matched.insert("headers".to_owned(), self.headers.clone().into());
        }
        let mut keys = Map::from_iter([("name".to_owned(), json!(self.name))]);
        if !matched.is_empty() {
            keys.insert("match".to_owned(), matched.into());
        }
        if !self.plugins.is_empty() {
            keys.insert("plugins".to_owned(), self.plugins.clone().into());
        }
        keys.extend(self.options.clone());
        keys.insert(self.action.0.to_owned(), self.action.1.clone());
        keys
    }
}

/// A use of a plugin.
pub(crate) fn plugin(name: &str, config: Value) -> Value {
    json!({ "name": name, "config": config })
}

/// Denies all requests, in place of an authentication that is not translated: a service that was protected must not be open.
pub(crate) fn denied() -> Value {
    plugin("ip-rules", json!({ "deny": ["0.0.0.0/0", "::/0"] }))
}

/// What a note says where `denied` is used.
pub(crate) const DENIED: &str = "all requests are denied (`ip-rules`) until it is replaced";

/// A path's shape: names of parameters do not tell routes apart.
fn pattern(path: &str) -> String {
    let segment = |segment: &str| match segment {
        s if s.starts_with("{*") => "{*}".to_owned(),
        s if s.starts_with('{') => "{}".to_owned(),
        s => s.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A path and everything below it.
pub(crate) fn below(prefix: &str) -> String {
    format!("{}/{{*rest}}", prefix.trim_end_matches('/'))
}

/// A text as a name: letters, digits, `-`, `_` and `.`.
pub(crate) fn identifier(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(56) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "root".to_owned() } else { name.to_owned() }
}

fn unique(name: &str, taken: &BTreeSet<String>) -> String {
    if !taken.contains(name) {
        return name.to_owned();
    }
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or_default()
}
