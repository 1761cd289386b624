//! Which data of an exchange a plugin may read and write: the names in the file, and whether they fit what the component does.

use std::collections::BTreeSet;

use gateway_core::model::{BodyAccess, Data, DataAccess, DataGrants, GrantedNames, NamedAccess};
use gateway_rules::{
    attributes::{Attributes, is_reserved},
    data_grants::{BODY_EXPORTS, BodyExport, MESSAGE_FILTER, METHOD, PATH, STATUS},
    fields::is_owned_by_the_gateway,
};
use http::HeaderName;

use super::{
    names::{cut, one_of},
    report::Report,
};
use crate::{
    catalog::PluginFacts,
    file::{self, Grants, Message},
    part::Part,
    yaml::join,
};

/// The keys of the file that have names.
const NAMED: [(Data, &str); 3] = [
    (Data::RequestHeaders, "request headers"),
    (Data::ResponseHeaders, "response headers"),
    (Data::Attributes, "attributes"),
];

/// What is granted; `None` if nothing is limited. What is not well-formed is reported and not granted.
pub(super) fn granted(typed: &Grants, place: &str, report: &mut Report<'_>) -> Option<Box<DataGrants>> {
    let mut named = |typed: &Option<Part<file::NamedAccess>>, data: Data| {
        let part = typed.as_ref()?;
        let at = join(place, data.name());
        let mut names = |list: Option<&[Part<String>]>, access: DataAccess| {
            names(list.unwrap_or_default(), data, access, &join(&at, access.name()), report)
        };
        let typed = part.get();
        let read = names(typed.map(|typed| &*typed.read), DataAccess::Read);
        let write = names(typed.map(|typed| &*typed.write), DataAccess::Write);
        report.part(part, &at);
        Some(NamedAccess { read, write })
    };
    let request_headers = named(&typed.request_headers, Data::RequestHeaders);
    let response_headers = named(&typed.response_headers, Data::ResponseHeaders);
    let attributes = named(&typed.attributes, Data::Attributes);
    let body = typed.body.as_ref().map(|part| {
        let at = join(place, "body");
        let Some(typed) = report.part(part, &at) else { return BodyAccess::default() };
        let mut messages = |list: &[Part<Message>], access: DataAccess| {
            let mut found = (false, false);
            for (at, message) in report.parts(list, &join(&at, access.name())) {
                let (of, name) = match message {
                    Message::Request => (&mut found.0, "request"),
                    Message::Response => (&mut found.1, "response"),
                };
                if std::mem::replace(of, true) {
                    report.value(&at, format!("`{name}` is listed twice; remove one of them"));
                }
            }
            found
        };
        let (read, write) = (messages(&typed.read, DataAccess::Read), messages(&typed.write, DataAccess::Write));
        BodyAccess { read_request: read.0, read_response: read.1, write_request: write.0, write_response: write.1 }
    });
    let grants = DataGrants { request_headers, response_headers, attributes, body };
    (!grants.is_unlimited()).then(|| Box::new(grants))
}

fn names(list: &[Part<String>], data: Data, access: DataAccess, place: &str, report: &mut Report<'_>) -> GrantedNames {
    let mut known = BTreeSet::new();
    for (at, name) in report.parts(list, place) {
        let problem = match data {
            Data::Attributes => attribute_problem(name, access),
            _ => header_problem(name, data, access),
        };
        let canonical = if data == Data::Attributes { name.clone() } else { name.to_ascii_lowercase() };
        match problem {
            Some(problem) => report.value(&at, problem),
            None if !known.insert(canonical) => {
                report.value(&at, format!("`{}` is listed twice; remove one of them", cut(name)));
            }
            None => {}
        }
    }
    let known = known.iter().map(String::as_str);
    let granted =
        if data == Data::Attributes { GrantedNames::of_attributes(known) } else { GrantedNames::of_headers(known) };
    if data == Data::RequestHeaders && access == DataAccess::Write {
        for name in granted.without_dashed() {
            let (name, usual) = (cut(&name), cut(&name.replace('_', "-")));
            let why = "services take both for one name, so setting one removes the other";
            report.value(place, format!("`{name}` needs `{usual}` beside it: {why}"));
        }
    }
    granted
}

/// The name without the `*` at its end, or what is wrong with a `*` elsewhere.
fn without_star(name: &str) -> Result<&str, String> {
    let stem = name.strip_suffix('*').unwrap_or(name);
    if stem.contains('*') {
        return Err(format!("`{}`: `*` is possible at the end only", cut(name)));
    }
    Ok(stem)
}

fn header_problem(name: &str, data: Data, access: DataAccess) -> Option<String> {
    let shown = cut(name);
    let pseudo: &[&str] = match (data, access) {
        (Data::RequestHeaders, DataAccess::Read) => &[PATH],
        (Data::RequestHeaders, DataAccess::Write) => &[METHOD, PATH],
        (_, DataAccess::Read) => &[],
        (_, DataAccess::Write) => &[STATUS],
    };
    if name.starts_with(':') {
        let name = name.to_ascii_lowercase();
        return match &*name {
            name if pseudo.contains(&name) => None,
            ":authority" if data == Data::RequestHeaders => Some("`:authority` is granted as `host`".to_owned()),
            ":method" | ":scheme" | ":status" if access == DataAccess::Read => {
                Some(format!("`{shown}` needs no grant: every plugin can read it; remove it"))
            }
            _ if pseudo.is_empty() => Some(format!("`{shown}` cannot be granted here; expected names of headers")),
            _ => Some(format!("`{shown}` cannot be granted here; expected names of headers, or {}", one_of(pseudo))),
        };
    }
    let stem = match without_star(name) {
        Ok(stem) => stem,
        Err(problem) => return Some(problem),
    };
    if stem.is_empty() {
        let why = || "expected the name of a header, found empty text; `[]` grants none".to_owned();
        return name.is_empty().then(why);
    }
    match HeaderName::from_bytes(stem.as_bytes()) {
        Err(_) => {
            Some(format!("`{shown}` is not the name of a header; expected one such as `x-acme-user` or `x-acme-*`"))
        }
        Ok(header) if access == DataAccess::Write && stem == name && is_owned_by_the_gateway(&header) => {
            Some(format!("only the gateway sets `{shown}`; remove it"))
        }
        Ok(_) => None,
    }
}

fn attribute_problem(name: &str, access: DataAccess) -> Option<String> {
    let stem = match without_star(name) {
        Ok(stem) => stem,
        Err(problem) => return Some(problem),
    };
    if name == "*" {
        return None;
    }
    if Attributes::check_key(stem).is_err() {
        return Some(format!(
            "`{}` is not the key of an attribute; expected one such as `jwt.sub` or `acme.*`",
            cut(name)
        ));
    }
    let reserved = access == DataAccess::Write && is_reserved(stem);
    reserved.then(|| format!("only the gateway sets `{}`; remove it", cut(name)))
}

/// Whether the component can be used with these grants: it is refused if it exports a function for bodies that it does not get.
/// `place` is that of the grants. A grant that it has no use for is a warning.
pub(super) fn fit(facts: &PluginFacts, name: &str, granted: &DataGrants, place: &str, report: &mut Report<'_>) {
    let exports = |interface: &str| {
        facts.body_exports.iter().any(|export| {
            let export = export.split('@').next().unwrap_or_default();
            export.rsplit('/').next() == Some(interface)
        })
    };
    for BodyExport { interface, data, needs, .. } in BODY_EXPORTS {
        let side = if data == Data::RequestBody { "request" } else { "response" };
        let missing: Vec<_> = needs.iter().filter(|access| !granted.allows(data, **access, "")).collect();
        if missing.is_empty() || !exports(interface) {
            continue;
        }
        let lists: Vec<_> = missing.iter().map(|access| format!("`{}`", access.name())).collect();
        let lists = lists.join(" and ");
        let message = format!(
            "plugin `{name}` exports `gateway:plugin/{interface}` and is not granted these bodies; add `{side}` to {lists} \
             of `body`, or use a component without this export"
        );
        report.key(&join(place, "body"), message);
    }
    let reads = |data| granted.allows(data, DataAccess::Read, "");
    if exports(MESSAGE_FILTER) && !reads(Data::RequestBody) && !reads(Data::ResponseBody) {
        let message = format!(
            "plugin `{name}` exports `gateway:plugin/{MESSAGE_FILTER}` and is not granted any messages; add `request` for those of \
             clients, or `response` for those of upstreams, to `read` of `body`, or use a component without this export"
        );
        report.key(&join(place, "body"), message);
    }
    let mut unused = |data: Data, access: DataAccess, what: &str, at: &str| {
        if !facts.data.has(data, access) {
            let verb = if access == DataAccess::Read { "reads" } else { "writes" };
            report.warn(at, format!("plugin `{name}` never {verb} {what}, so this grant has no effect; remove it"));
        }
    };
    for (data, what) in NAMED {
        for access in DataAccess::ALL {
            let limited = granted.names_of(data, access);
            if limited.is_some_and(|names| names.names().next().is_some()) {
                unused(data, access, what, &join(&join(place, data.name()), access.name()));
            }
        }
    }
    if granted.body.is_some() {
        for (data, what) in [(Data::RequestBody, "bodies of requests"), (Data::ResponseBody, "bodies of responses")] {
            for access in DataAccess::ALL {
                if granted.allows(data, access, "") {
                    unused(data, access, what, &join(&join(place, "body"), access.name()));
                }
            }
        }
    }
}
