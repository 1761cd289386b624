//! Lets in by what an earlier plugin has found out of a client: its groups, roles and scopes, in attributes.

#[cfg(test)]
mod tests;

use plugin_sdk::{
    Decision, Error, Plugin, Pointer, Problem, Problems, Request, RequestFilter, export_plugin, metrics, names,
    serde_json,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Who may pass, of those whom an earlier plugin knows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({ "allow": { "groups": ["staff", "partners"] }, "deny": { "groups": ["suspended"] } }))]
struct Config {
    /// What a client must have: one of `groups`, one of `roles`, and all `scopes`, as far as they are listed. Without
    /// any, every client that is known may pass.
    allow: Rule,
    /// What a client must not have, not one of it, whatever else it has.
    deny: Rule,
    /// Attributes of which one says that the client is known.
    identity: Vec<String>,
    /// Attributes with groups, joined by commas. A comma in a group's name is `%2C` there, and a percent sign `%25`, as `jwt`
    /// writes them.
    groups_from: Vec<String>,
    /// Attributes with roles, joined by commas.
    roles_from: Vec<String>,
    /// Attributes with scopes, separated by spaces or commas.
    scopes_from: Vec<String>,
    /// What clients that are not known are told in `WWW-Authenticate`.
    challenge: String,
}

/// Names of groups, roles and scopes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Rule {
    /// Names of groups.
    groups: Vec<String>,
    /// Names of roles.
    roles: Vec<String>,
    /// Scopes (RFC 6749 §3.3).
    scopes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            allow: Rule::default(),
            deny: Rule::default(),
            identity: list(&["jwt.token", "jwt.sub", "oidc.session", "oidc.sub", "api-key.id", "basic-auth.user"]),
            groups_from: list(&["jwt.groups", "oidc.groups", "api-key.groups", "basic-auth.groups"]),
            roles_from: list(&["jwt.roles", "oidc.roles"]),
            scopes_from: list(&["jwt.scope"]),
            challenge: "Bearer realm=\"gateway\"".into(),
        }
    }
}

struct Acl(Config);

/// Why a request is turned away.
#[derive(Clone, Copy)]
enum Refusal {
    Anonymous,
    Denied,
    NotAllowed,
}

impl Plugin for Acl {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        for (key, rule) in [("allow", &config.allow), ("deny", &config.deny)] {
            let at = Pointer::root().then(key);
            rule.check(&at, &mut problems);
        }
        let deny = &config.deny;
        for (key, allowed, denied) in [
            ("groups", &config.allow.groups, &deny.groups),
            ("roles", &config.allow.roles, &deny.roles),
            ("scopes", &config.allow.scopes, &deny.scopes),
        ] {
            for (i, name) in allowed.iter().enumerate().filter(|(_, name)| denied.contains(name)) {
                problems.add(Pointer::from("/allow").then(key).then(i), format!("`{name}` is denied too"));
            }
        }
        for (key, list) in [
            ("identity", &config.identity),
            ("groups-from", &config.groups_from),
            ("roles-from", &config.roles_from),
            ("scopes-from", &config.scopes_from),
        ] {
            let at = Pointer::root().then(key);
            if list.is_empty() {
                problems.add(&at, "must not be empty, leave it out for its default");
            }
            for (i, name) in list.iter().enumerate() {
                problems.note(at.then(i), names::check_attribute(name));
            }
        }
        if config.challenge.is_empty() || !config.challenge.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            problems.add("/challenge", "must be a challenge such as `Bearer realm=\"gateway\"`, in printable ASCII");
        }
        problems.or(Self(config))
    }
}

impl Rule {
    fn check(&self, at: &Pointer, problems: &mut Problems) {
        for (key, list) in [("groups", &self.groups), ("roles", &self.roles)] {
            for (i, name) in list.iter().enumerate() {
                if name.is_empty() || name.trim() != name {
                    let message = "must not be empty, and have no spaces around it";
                    problems.add(at.then(key).then(i), message);
                }
            }
        }
        for (i, scope) in self.scopes.iter().enumerate() {
            problems.note(at.then("scopes").then(i), names::check_scope(scope));
        }
    }
}

impl RequestFilter for Acl {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let Err(refusal) = self.judge(request) else { return Ok(Decision::Next) };
        let (status, code, detail) = match refusal {
            Refusal::Anonymous => (401, "anonymous", "who you are must be known"),
            Refusal::Denied => (403, "denied", "you are not allowed here"),
            Refusal::NotAllowed => (403, "not-allowed", "you are not allowed here"),
        };
        metrics::add("acl_denied", 1, &[("route", &request.route()), ("reason", code)]);
        // For the access log only; where there is no room for it, the answer is still the right one.
        let _ = request.set_attribute("acl.error", code);
        let problem = Problem::new(status).detail(detail).member("request-id", request.id());
        Ok(if status == 401 { problem.with_header("www-authenticate", &self.0.challenge) } else { problem }.into())
    }
}

export_plugin!(Acl: request);

impl Acl {
    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        let Config { allow, deny, identity, groups_from, roles_from, scopes_from, .. } = &self.0;
        if !identity.iter().any(|key| request.attribute(key).is_some_and(|value| !value.is_empty())) {
            return Err(Refusal::Anonymous);
        }
        let groups = Memberships::new(request, groups_from, &[','], &allow.groups, &deny.groups);
        let roles = Memberships::new(request, roles_from, &[','], &allow.roles, &deny.roles);
        let scopes = Memberships::new(request, scopes_from, &[',', ' '], &allow.scopes, &deny.scopes);
        if groups.has_one_of(&deny.groups) || roles.has_one_of(&deny.roles) || scopes.has_one_of(&deny.scopes) {
            return Err(Refusal::Denied);
        }
        let allowed = (allow.groups.is_empty() || groups.has_one_of(&allow.groups))
            && (allow.roles.is_empty() || roles.has_one_of(&allow.roles))
            && allow.scopes.iter().all(|scope| scopes.has(scope));
        if allowed { Ok(()) } else { Err(Refusal::NotAllowed) }
    }
}

/// What a client has of one kind.
struct Memberships<'a> {
    texts: Vec<String>,
    separators: &'a [char],
}

impl<'a> Memberships<'a> {
    /// Reads nothing if no rule asks.
    fn new(request: &Request, from: &[String], separators: &'a [char], allow: &[String], deny: &[String]) -> Self {
        let asked = !allow.is_empty() || !deny.is_empty();
        let keys = from.iter().take_while(|_| asked);
        Self { texts: keys.filter_map(|key| request.attribute(key)).collect(), separators }
    }

    fn has(&self, name: &str) -> bool {
        // As an element of a list is written. Attributes that have no such lists may have the name as it is, without a comma.
        let encoded = name.replace('%', "%25").replace(',', "%2C");
        let is_name = |held: &str| held == encoded || (held == name && !name.contains(','));
        self.texts.iter().any(|text| text.split(self.separators).any(|held| is_name(held.trim())))
    }

    fn has_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.has(name))
    }
}
