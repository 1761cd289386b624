//! One JSON object a line.

use std::collections::BTreeSet;

use plugin_sdk::{Pointer, Problems, Request, Response, Selection, Values, serde_json::Value as Constant};

use crate::{
    Facts,
    config::Config,
    escape,
    redact::Redaction,
    source::{DEFAULT, Source, Value, select},
};

/// A line's layout.
pub struct Json {
    /// Opening brace and static members.
    start: Vec<u8>,
    members: Vec<Member>,
    /// What the members read.
    selection: Selection,
    redaction: Redaction,
    max_value: usize,
}

struct Member {
    source: Source,
    /// `"name":`
    key: Vec<u8>,
}

impl Json {
    pub fn new(config: &Config, problems: &mut Problems) -> Self {
        if config.user.is_some() {
            problems.add("/user", "is for `common` and `combined`; list the field in `fields`");
        }
        let mut taken = BTreeSet::new();
        let mut start = vec![b'{'];
        for (name, value) in &config.constants {
            if matches!(value, Constant::Array(_) | Constant::Object(_)) {
                problems.add(Pointer::from("/static").then(name), "expected a string, a number, true or false");
                continue;
            }
            taken.insert(name.clone());
            comma(&mut start);
            start.extend_from_slice(&key(name));
            match value {
                Constant::String(text) => string(text.as_bytes(), &mut start),
                other => start.extend_from_slice(other.to_string().as_bytes()),
            }
        }

        let default: Vec<String>;
        let fields = match &config.fields {
            Some(fields) => fields,
            None => {
                default = DEFAULT.iter().map(|field| (*field).to_owned()).collect();
                &default
            }
        };
        let mut members = Vec::new();
        for (i, field) in fields.iter().enumerate() {
            let at = Pointer::from("/fields").then(i);
            let Some(source) = problems.note(&at, Source::parse(field)) else { continue };
            let renamed = config.rename.get(field);
            let name = renamed.cloned().unwrap_or_else(|| field.replace(['.', '-'], "_"));
            if !taken.insert(name.clone()) {
                problems.add(&at, format_args!("a second member `{name}`; give one of them another name in `rename`"));
            }
            members.push(Member { source, key: key(&name) });
        }
        for (field, name) in &config.rename {
            let at = Pointer::from("/rename").then(field);
            if !fields.contains(field) {
                problems.add(&at, format_args!("`{field}` is not among the fields"));
            }
            if name.is_empty() {
                problems.add(&at, "needs a name");
            }
        }
        let selection = select(members.iter().map(|member: &Member| &member.source), "/fields", problems);
        let redaction = Redaction::new(&config.redact_query);
        Self { start, members, selection, redaction, max_value: config.max_value.0 }
    }

    pub fn read(&self, request: &Request, response: Option<&Response>) -> Values {
        self.selection.read(request, response)
    }

    pub fn write(&self, facts: &Facts<'_>, values: &Values, out: &mut Vec<u8>) {
        let mut read = values.iter();
        out.extend_from_slice(&self.start);
        for Member { source, key } in &self.members {
            let before = out.len();
            comma(out);
            out.extend_from_slice(key);
            match source.value(facts, &mut read, out) {
                Value::Verbatim => {}
                Value::Bytes(value) => {
                    string(&escape::cut(&self.redaction.apply(source, value), self.max_value), out);
                }
                Value::Missing => out.truncate(before),
            }
        }
        out.push(b'}');
    }
}

fn comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    string(name.as_bytes(), &mut key);
    key.push(b':');
    key
}

fn string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape::json(value, out);
    out.push(b'"');
}
