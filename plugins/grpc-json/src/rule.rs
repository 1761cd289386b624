//! `google.api.http`: how a method appears in HTTP (google/api/http.proto).

use prost::Message;
use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

/// The options of a method, of which only the extension `google.api.http` is of interest. Read from the bytes, so that it
/// does not matter whether the descriptors say what the extension is.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpRule {
    #[prost(string, tag = "1")]
    selector: String,
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pattern: Option<Pattern>,
    #[prost(string, tag = "7")]
    body: String,
    #[prost(message, repeated, tag = "11")]
    additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    response_body: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(CustomPattern),
}

#[derive(Clone, PartialEq, Message)]
struct CustomPattern {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    path: String,
}

/// One way to call a method.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) method: MethodDescriptor,
    /// In upper case; `*` for any.
    pub(crate) verb: String,
    pub(crate) template: Template,
    pub(crate) body: Body,
    /// The field that is the answer, if it is not the whole message.
    pub(crate) response_body: Option<FieldDescriptor>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    None,
    /// The body is the message.
    Whole,
    /// The body is this field of it.
    Field(FieldDescriptor),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// What follows the last segment's colon.
    pub(crate) suffix: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// `*`: one segment.
    One,
    /// `**`: all that follow, also none. Only as the last.
    Rest,
}

/// A field that is taken from the path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variable {
    pub(crate) path: Vec<FieldDescriptor>,
    /// From the segment of this number,
    pub(crate) from: usize,
    /// so many segments; none for all that follow.
    pub(crate) count: Option<usize>,
}

/// The ways in which the descriptors say that a method is called.
///
/// # Errors
///
/// A rule that cannot be followed, in words.
pub(crate) fn bindings(method: &MethodDescriptor) -> Result<Vec<Binding>, String> {
    let options = method.options().encode_to_vec();
    let options = Options::decode(&options[..]).map_err(|error| format!("its options cannot be read: {error}"))?;
    let Some(rule) = options.http else { return Ok(Vec::new()) };
    let mut bindings = Vec::new();
    for rule in std::iter::once(&rule).chain(&rule.additional_bindings) {
        bindings.extend(binding(method, rule)?);
    }
    Ok(bindings)
}

/// `POST /package.Service/Method`, for methods without a rule.
pub(crate) fn plain(method: &MethodDescriptor) -> Binding {
    let literal = |text: &str| Segment::Literal(text.to_owned());
    let segments = vec![literal(method.parent_service().full_name()), literal(method.name())];
    Binding {
        method: method.clone(),
        verb: "POST".to_owned(),
        template: Template { segments, variables: Vec::new(), suffix: None },
        body: Body::Whole,
        response_body: None,
    }
}

fn binding(method: &MethodDescriptor, rule: &HttpRule) -> Result<Option<Binding>, String> {
    let (verb, path) = match &rule.pattern {
        Some(Pattern::Get(path)) => ("GET", path),
        Some(Pattern::Put(path)) => ("PUT", path),
        Some(Pattern::Post(path)) => ("POST", path),
        Some(Pattern::Delete(path)) => ("DELETE", path),
        Some(Pattern::Patch(path)) => ("PATCH", path),
        Some(Pattern::Custom(custom)) => (&*custom.kind, &custom.path),
        None => return Ok(None),
    };
    let input = method.input();
    let field = |name: &str, of: &MessageDescriptor| {
        of.get_field_by_name(name)
            .ok_or_else(|| format!("its rule names `{name}`, which is no field of {}", of.full_name()))
    };
    let body = match &*rule.body {
        "" => Body::None,
        "*" => Body::Whole,
        name => Body::Field(field(name, &input)?),
    };
    let response_body = match &*rule.response_body {
        "" => None,
        name => Some(field(name, &method.output())?),
    };
    let template = Template::parse(path, &input).map_err(|why| format!("its path `{path}` {why}"))?;
    Ok(Some(Binding { method: method.clone(), verb: verb.to_ascii_uppercase(), template, body, response_body }))
}

impl Template {
    /// `"/" Segments [ ":" Verb ]`, as google/api/http.proto has it.
    pub(crate) fn parse(text: &str, input: &MessageDescriptor) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("does not begin with `/`")?;
        // A colon within braces would belong to a variable, which has none.
        let (rest, suffix) = match rest.rfind(':') {
            Some(at) if !rest[at..].contains(['/', '}']) => (&rest[..at], Some(rest[at + 1..].to_owned())),
            _ => (rest, None),
        };
        if suffix.as_deref() == Some("") {
            return Err("has nothing behind its colon".to_owned());
        }
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), suffix };
        let mut rest = Some(rest);
        while let Some(text) = rest {
            rest = match text.strip_prefix('{') {
                Some(variable) => {
                    let (variable, after) = variable.split_once('}').ok_or("has a brace that is not closed")?;
                    template.variable(variable, input)?;
                    match after.strip_prefix('/') {
                        Some(after) => Some(after),
                        None if after.is_empty() => None,
                        None => return Err(format!("has `{after}` directly behind a variable")),
                    }
                }
                None => {
                    let (segment, after) =
                        text.split_once('/').map_or((text, None), |(first, after)| (first, Some(after)));
                    template.segment(segment)?;
                    after
                }
            };
        }
        let rests = template.segments.iter().filter(|segment| **segment == Segment::Rest).count();
        if rests > 1 || rests == 1 && template.segments.last() != Some(&Segment::Rest) {
            return Err("has `**` before its end".to_owned());
        }
        Ok(template)
    }

    fn segment(&mut self, text: &str) -> Result<(), String> {
        self.segments.push(match text {
            "*" => Segment::One,
            "**" => Segment::Rest,
            "" => return Err("has an empty segment".to_owned()),
            _ if text.contains(['*', '{', '}']) => return Err(format!("has a segment `{text}`")),
            _ => Segment::Literal(text.to_owned()),
        });
        Ok(())
    }

    /// `FieldPath [ "=" Segments ]`
    fn variable(&mut self, text: &str, input: &MessageDescriptor) -> Result<(), String> {
        let (name, pattern) = text.split_once('=').unwrap_or((text, "*"));
        let path = field_path(input, name)?;
        if path.iter().any(|field| field.is_list() || field.is_map()) {
            return Err(format!("binds `{name}`, which is repeated"));
        }
        let from = self.segments.len();
        for segment in pattern.split('/') {
            self.segment(segment)?;
        }
        let count = self.segments.len() - from;
        let count = (self.segments.last() != Some(&Segment::Rest)).then_some(count);
        self.variables.push(Variable { path, from, count });
        Ok(())
    }
}

/// The fields of a path such as `book.name`.
pub(crate) fn field_path(message: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let of = match fields.last() {
            None => message.clone(),
            Some(field) => match field.kind() {
                prost_reflect::Kind::Message(message) if !field.is_list() && !field.is_map() => message,
                _ => return Err(format!("names `{path}`, where `{}` has no fields", field.name())),
            },
        };
        // As the JSON mapping takes both names.
        let field = of.get_field_by_name(name).or_else(|| of.get_field_by_json_name(name));
        fields.push(field.ok_or_else(|| format!("names `{name}`, which is no field of {}", of.full_name()))?);
    }
    Ok(fields)
}
