//! Which request makes which call.

use std::collections::HashMap;

use plugin_sdk::{Pointer, Problems};

use crate::{
    config,
    schema::{Schema, Struct, Type},
};

/// The ways to make calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    prefix: String,
    /// By `Service/method`.
    plain: HashMap<String, usize>,
    /// The plain way, for each method.
    own: Vec<Binding>,
    bindings: Vec<Binding>,
}

/// One way to make a call.
#[derive(Debug)]
pub(crate) struct Binding {
    /// A number in [`Schema::methods`].
    pub(crate) method: usize,
    /// Of the request.
    pub(crate) verb: String,
    template: Vec<Segment>,
    /// Arguments by the query parameter that is called otherwise.
    pub(crate) query: HashMap<String, Vec<String>>,
    /// The argument that the body is.
    pub(crate) body: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// An argument, or a field within it.
    Variable(Vec<String>),
}

pub(crate) enum MatchedCall<'a> {
    /// With what the path says.
    Call(&'a Binding, Vec<(&'a [String], &'a str)>),
    OtherMethod,
    Nothing,
}

impl Calls {
    pub(crate) fn new(prefix: &str, bindings: &[config::Binding], schema: &Schema, problems: &mut Problems) -> Self {
        if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/')) {
            problems
                .add("/prefix", "expected a path such as `/api`, which begins with a slash and does not end with one");
        }
        let plain = schema.methods.iter().enumerate().map(|(at, method)| (method.call.clone(), at)).collect();
        let own = (0..schema.methods.len()).map(|method| Binding {
            method,
            verb: "POST".to_owned(),
            template: Vec::new(),
            query: HashMap::new(),
            body: None,
        });
        let mut calls = Self { prefix: prefix.to_owned(), plain, own: own.collect(), bindings: Vec::new() };
        for (at, typed) in bindings.iter().enumerate() {
            let at = Pointer::from("/bindings").then(at);
            let Some(method) = schema.find(&typed.call) else {
                let known: Vec<_> = schema.methods.iter().map(|method| method.call.as_str()).collect();
                problems.add(at.then("call"), format!("there is no `{}`; there is {}", typed.call, known.join(", ")));
                continue;
            };
            if let Some(binding) = binding(typed, method, schema, &at, problems) {
                calls.bindings.push(binding);
            }
        }
        // Literals go before variables, from the left.
        calls.bindings.sort_by_key(|binding| {
            binding.template.iter().map(|segment| matches!(segment, Segment::Variable(_))).collect::<Vec<_>>()
        });
        let mut seen = HashMap::new();
        for binding in &calls.bindings {
            let shape = binding.template.iter().map(|segment| match segment {
                Segment::Literal(text) => text.as_str(),
                Segment::Variable(_) => "{}",
            });
            let shape = format!("{} /{}", binding.verb, shape.collect::<Vec<_>>().join("/"));
            let call = &schema.methods[binding.method].call;
            if let Some(other) = seen.insert(shape.clone(), call) {
                problems.add("/bindings", format!("`{shape}` is bound to both `{other}` and `{call}`"));
            }
        }
        calls
    }

    /// Method, pattern and number of the call, for each way.
    pub(crate) fn patterns(&self, schema: &Schema) -> impl Iterator<Item = (String, String, usize)> {
        let own = self.own.iter().map(|binding| {
            (binding.verb.clone(), format!("{}/{}", self.prefix, schema.methods[binding.method].call), binding.method)
        });
        let bound = self.bindings.iter().map(|binding| {
            let segment = |segment: &Segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Variable(place) => format!("/{{{}}}", place.join("_")),
            };
            let path: String = binding.template.iter().map(segment).collect();
            (binding.verb.clone(), format!("{}{path}", self.prefix), binding.method)
        });
        own.chain(bound)
    }

    pub(crate) fn find<'a>(&'a self, verb: &str, path: &'a str) -> MatchedCall<'a> {
        let Some(path) = path.strip_prefix(&*self.prefix).and_then(|path| path.strip_prefix('/')) else {
            return MatchedCall::Nothing;
        };
        let mut found = MatchedCall::Nothing;
        if let Some(binding) = self.plain.get(path).and_then(|method| self.own.get(*method)) {
            if verb == "POST" {
                return MatchedCall::Call(binding, Vec::new());
            }
            found = MatchedCall::OtherMethod;
        }
        for binding in &self.bindings {
            if let Some(said) = matched(&binding.template, path) {
                if binding.verb == verb {
                    return MatchedCall::Call(binding, said);
                }
                found = MatchedCall::OtherMethod;
            }
        }
        found
    }
}

/// What the path says of variables, if it is one of the template.
fn matched<'a>(template: &'a [Segment], path: &'a str) -> Option<Vec<(&'a [String], &'a str)>> {
    let mut said = Vec::new();
    let mut segments = path.split('/');
    for expected in template {
        let segment = segments.next()?;
        match expected {
            Segment::Literal(text) if text == segment => {}
            Segment::Variable(place) if !segment.is_empty() => said.push((place.as_slice(), segment)),
            _ => return None,
        }
    }
    segments.next().is_none().then_some(said)
}

fn binding(
    typed: &config::Binding,
    method: usize,
    schema: &Schema,
    at: &Pointer,
    problems: &mut Problems,
) -> Option<Binding> {
    let arguments = &schema.methods[method].arguments;
    let mut template = Vec::new();
    let path = problems.note(
        at.then("path"),
        typed
            .path
            .strip_prefix('/')
            .ok_or_else(|| format!("expected a path such as `/v1/{{id}}`, found `{}`", typed.path)),
    )?;
    for segment in path.split('/') {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let place = place(schema, arguments, name).and_then(|(place, ty)| {
                if ty.is_scalar() { Ok(place) } else { Err(format!("`{name}` is not a single value")) }
            });
            template.push(Segment::Variable(problems.note(at.then("path"), place)?));
        } else if segment.contains(['{', '}']) {
            problems.add(at.then("path"), format!("a variable is a whole segment, as in `/{{id}}`; found `{segment}`"));
            return None;
        } else {
            template.push(Segment::Literal(segment.to_owned()));
        }
    }
    let mut query = HashMap::new();
    for (parameter, name) in &typed.query {
        let place = place(schema, arguments, name).map(|(place, _)| place);
        query.insert(parameter.clone(), problems.note(at.then("query").then(parameter), place)?);
    }
    if let Some(name) = &typed.body
        && arguments.field(name).is_none()
    {
        problems.add(at.then("body"), unknown(arguments, name));
        return None;
    }
    let verb = typed.method.clone();
    if verb.is_empty() || !verb.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        problems.add(at.then("method"), format!("expected a method such as `GET`, found `{verb}`"));
        return None;
    }
    Some(Binding { method, verb, template, query, body: typed.body.clone() })
}

/// An argument, or a field within it, by its name: `order.id`.
pub(crate) fn place<'a>(
    schema: &'a Schema,
    arguments: &'a Struct,
    name: &str,
) -> Result<(Vec<String>, &'a Type), String> {
    let mut typed = arguments;
    let mut names = name.split('.').peekable();
    let mut place = Vec::new();
    while let Some(name) = names.next() {
        let field = typed.field(name).ok_or_else(|| unknown(typed, name))?;
        place.push(name.to_owned());
        if names.peek().is_none() {
            return Ok((place, &field.ty));
        }
        typed = match &field.ty {
            Type::Struct(number) => &schema.structs[*number],
            _ => return Err(format!("`{name}` is no struct, so it has no fields")),
        };
    }
    Err("an argument has a name".to_owned())
}

fn unknown(typed: &Struct, name: &str) -> String {
    let known: Vec<_> = typed.fields.iter().map(|field| field.name.as_str()).collect();
    format!("there is no `{name}` in `{}`; there is {}", typed.name, known.join(", "))
}
