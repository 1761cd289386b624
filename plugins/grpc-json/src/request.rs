//! From an HTTP request to the message of a call.

use plugin_sdk::{Pointer, query};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, value::RawValue};
use serde_path_to_error::{Path, Segment, Track};

use crate::{
    config::{Treatment, Unknown},
    response::HTTP_BODY,
    routes::captured,
    rule::{Binding, Body, field_path},
};

/// What is wrong with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Where in the body, as a JSON Pointer (RFC 6901).
    pub(crate) pointer: Option<String>,
    /// Where in path or query: the name of the parameter.
    pub(crate) parameter: Option<String>,
    pub(crate) detail: String,
}

/// Parameters of a query: each may make a list longer.
const PARAMETERS: usize = 1000;

/// The message in protobuf's binary form. Parts of it follow one another, which merges them
/// (protobuf.dev/programming-guides/encoding, "Last one wins").
pub(crate) fn message(
    binding: &Binding,
    path: &str,
    query: &str,
    (kind, body): (&str, &[u8]),
    unknown: &Unknown,
) -> Result<Vec<u8>, Refusal> {
    let input = binding.method.input();
    let mut encoded = Vec::with_capacity(body.len());
    match &binding.body {
        Body::None if body.is_empty() => {}
        Body::None => return Err(Refusal::whole("there is a body, and this method takes none")),
        Body::Whole => {
            if is_raw(&input) {
                encode(&raw(&input, kind, body), &mut encoded);
            } else if !body.is_empty() {
                encode(&read(input.clone(), body, unknown)?, &mut encoded);
            }
        }
        Body::Field(field) => {
            if let Some(inner) = raw_field(field) {
                let mut message = DynamicMessage::new(input.clone());
                message.set_field(field, prost_reflect::Value::Message(raw(&inner, kind, body)));
                encode(&message, &mut encoded);
            } else if !body.is_empty() {
                encode_field(&input, field, body, unknown, &mut encoded)?;
            }
        }
    }
    let mut parameters = Map::new();
    if !query.is_empty() {
        from_query(binding, query, unknown, &mut parameters)?;
    }
    for variable in &binding.template.variables {
        let name = || names(&variable.path).join(".");
        let text = captured(binding, variable, path)
            .ok_or_else(|| Refusal::of_parameter(&name(), "is not UTF-8 when it is decoded"))?;
        let Some((last, _)) = variable.path.split_last() else { continue };
        let value = scalar(last, &text).map_err(|why| Refusal::of_parameter(&name(), &why))?;
        // A path cannot be given twice, but a query may say what the path says.
        if let Some(place) = place(&mut parameters, &variable.path) {
            *place = value;
        }
    }
    if !parameters.is_empty() {
        let message = read_value(input, Value::Object(parameters), unknown)?;
        encode(&message, &mut encoded);
    }
    Ok(encoded)
}

/// Whether a body is taken as it is, and is not JSON.
pub(crate) fn takes_raw(binding: &Binding) -> bool {
    match &binding.body {
        Body::None => false,
        Body::Whole => is_raw(&binding.method.input()),
        Body::Field(field) => raw_field(field).is_some(),
    }
}

/// google/api/httpbody.proto.
fn is_raw(message: &MessageDescriptor) -> bool {
    message.full_name() == HTTP_BODY
}

fn raw_field(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if is_raw(&message) && !field.is_list() && !field.is_map() => Some(message),
        _ => None,
    }
}

fn raw(descriptor: &MessageDescriptor, kind: &str, body: &[u8]) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_name("content_type", prost_reflect::Value::String(kind.to_owned()));
    message.set_field_by_name("data", prost_reflect::Value::Bytes(body.to_vec().into()));
    message
}

fn encode(message: &DynamicMessage, into: &mut Vec<u8>) {
    // A vector grows.
    let _ = message.encode(into);
}

/// A body that is one field of the message.
fn encode_field(
    input: &MessageDescriptor,
    field: &FieldDescriptor,
    body: &[u8],
    unknown: &Unknown,
    into: &mut Vec<u8>,
) -> Result<(), Refusal> {
    // Nothing but one value, or it could end what is around it.
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| Refusal::syntax(&error))?;
    let name = Value::from(field.json_name());
    let whole = format!("{{{name}:{value}}}");
    let message = read(input.clone(), whole.as_bytes(), unknown).map_err(|refusal| {
        let inner = |pointer: String| match pointer.strip_prefix('/') {
            Some(rest) => rest.split_once('/').map_or_else(String::new, |(_, rest)| format!("/{rest}")),
            None => pointer,
        };
        Refusal { pointer: refusal.pointer.map(inner), ..refusal }
    })?;
    encode(&message, into);
    Ok(())
}

/// Reads a body.
pub(crate) fn read(descriptor: MessageDescriptor, body: &[u8], unknown: &Unknown) -> Result<DynamicMessage, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let message = DynamicMessage::deserialize_with_options(descriptor, tracked, &options(unknown));
    let message = message.map_err(|error| Refusal::in_body(&track.path(), &error))?;
    deserializer.end().map_err(|error| Refusal::syntax(&error))?;
    Ok(message)
}

/// Reads what path and query say.
fn read_value(descriptor: MessageDescriptor, value: Value, unknown: &Unknown) -> Result<DynamicMessage, Refusal> {
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    DynamicMessage::deserialize_with_options(descriptor, tracked, &options(unknown)).map_err(|error| {
        let path = track.path();
        let names = path.iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        let name = names.collect::<Vec<_>>().join(".");
        Refusal::of_parameter(&name, &format!("is not valid: {error}"))
    })
}

fn options(unknown: &Unknown) -> DeserializeOptions {
    DeserializeOptions::new().deny_unknown_fields(unknown.fields == Treatment::Reject)
}

/// Query parameters are the fields that neither path nor body have.
fn from_query(
    binding: &Binding,
    query: &str,
    unknown: &Unknown,
    parameters: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    if query::pairs(query).count() > PARAMETERS {
        return Err(Refusal::whole(&format!("the query has more than {PARAMETERS} parameters")));
    }
    for (name, value) in query::pairs(query) {
        let (name, value) = (query::decode(name), query::decode(value));
        let path = match &binding.body {
            Body::Whole => Err("is in the query, and this method has all that it takes in its body".to_owned()),
            body => field_path(&binding.method.input(), &name).and_then(|path| match body {
                Body::Field(field) if path.first() == Some(field) => Err("belongs into the body".to_owned()),
                _ => Ok(path),
            }),
        };
        let path = match path {
            Ok(path) => path,
            Err(_) if unknown.parameters == Treatment::Ignore => continue,
            Err(why) => return Err(Refusal::of_parameter(&name, &why)),
        };
        let Some((last, _)) = path.split_last() else { continue };
        if last.is_map() {
            return Err(Refusal::of_parameter(&name, "is a map, which no query can tell"));
        }
        let value = scalar(last, &value).map_err(|why| Refusal::of_parameter(&name, &why))?;
        let Some(place) = place(parameters, &path) else {
            return Err(Refusal::of_parameter(&name, "is given as a value and as a message"));
        };
        match place {
            Value::Array(list) if last.is_list() => list.push(value),
            Value::Null if last.is_list() => *place = Value::Array(vec![value]),
            Value::Null => *place = value,
            _ => return Err(Refusal::of_parameter(&name, "is given more than once")),
        }
    }
    Ok(())
}

/// The place of a field in a document, made if it is not there; `None` if something else is in the way.
fn place<'a>(document: &'a mut Map<String, Value>, path: &[FieldDescriptor]) -> Option<&'a mut Value> {
    let (last, way) = path.split_last()?;
    let mut at = document;
    for field in way {
        at = at.entry(field.json_name()).or_insert_with(|| Map::new().into()).as_object_mut()?;
    }
    Some(at.entry(last.json_name()).or_insert(Value::Null))
}

/// A text as the JSON that its field takes. Numbers may be texts there; booleans and the numbers of enums may not.
fn scalar(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let wrapped = |message: &MessageDescriptor| -> Option<Value> {
        match message.full_name() {
            "google.protobuf.BoolValue" => text.parse::<bool>().ok().map(Value::from),
            "google.protobuf.Value" => Some(text.into()),
            name if name.starts_with("google.protobuf.") => match &name["google.protobuf.".len()..] {
                "Struct" | "ListValue" | "Any" | "Empty" => None,
                _ => Some(text.into()),
            },
            _ => None,
        }
    };
    match field.kind() {
        Kind::Bool => text.parse::<bool>().map(Value::from).map_err(|_| "is neither `true` nor `false`".to_owned()),
        Kind::Enum(_) => Ok(text.parse::<i32>().map_or_else(|_| text.into(), Value::from)),
        Kind::Message(message) => {
            wrapped(&message).ok_or_else(|| "is a message: name its fields, as in `a.b=1`".to_owned())
        }
        _ => Ok(text.into()),
    }
}

fn names(path: &[FieldDescriptor]) -> Vec<&str> {
    path.iter().map(FieldDescriptor::name).collect()
}

impl Refusal {
    fn whole(detail: &str) -> Self {
        Self { pointer: None, parameter: None, detail: detail.to_owned() }
    }

    fn of_parameter(name: &str, why: &str) -> Self {
        let name = name.chars().take(100).collect::<String>();
        Self { pointer: None, detail: format!("parameter `{name}` {why}"), parameter: Some(name) }
    }

    fn syntax(error: &serde_json::Error) -> Self {
        Self { pointer: Some(String::new()), parameter: None, detail: format!("not JSON: {error}") }
    }

    fn in_body(path: &Path, error: &serde_json::Error) -> Self {
        if error.is_syntax() || error.is_eof() {
            return Self::syntax(error);
        }
        let pointer = path.iter().fold(Pointer::root(), |at, segment| match segment {
            Segment::Seq { index } => at.then(index),
            Segment::Map { key } => at.then(key),
            Segment::Enum { variant } => at.then(variant),
            Segment::Unknown => at,
        });
        let detail = error.to_string();
        // The name itself was read before anyone knew of it.
        let unknown = detail
            .strip_prefix("unrecognized field name '")
            .and_then(|rest| rest.split_once('\'').map(|(name, _)| name));
        let pointer = unknown.map_or(pointer.clone(), |name| pointer.then(name));
        Self { pointer: Some(pointer.to_string()), parameter: None, detail }
    }
}
