//! OpenAPI 3.1 of the calls, with the JSON that the mapping of protobuf has.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::{
    catalogue::names,
    config::{Enums, FieldNames},
    rule::{Binding, Body, Segment},
};

/// Methods that OpenAPI has a place for (OpenAPI 3.1 §4.8.9).
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];
/// How deep fields of messages are listed as parameters of a query.
const DEPTH: usize = 3;

/// How messages look.
pub(crate) struct Forms {
    pub(crate) names: FieldNames,
    pub(crate) enums: Enums,
}

struct Writer<'a> {
    forms: &'a Forms,
    schemas: BTreeMap<String, Value>,
    /// Known by their names, and not yet written.
    messages: Vec<MessageDescriptor>,
    operations: BTreeSet<String>,
}

pub(crate) fn document(bindings: &[Binding], forms: &Forms) -> Value {
    let mut writer = Writer { forms, schemas: BTreeMap::new(), messages: Vec::new(), operations: BTreeSet::new() };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for binding in bindings.iter().filter(|binding| !binding.method.is_client_streaming()) {
        if !METHODS.contains(&binding.verb.as_str()) {
            continue;
        }
        let operation = writer.operation(binding);
        paths.entry(path(binding)).or_default().insert(binding.verb.to_ascii_lowercase(), operation);
    }
    while let Some(message) = writer.messages.pop() {
        let schema = writer.message(&message);
        writer.schemas.insert(message.full_name().to_owned(), schema);
    }
    writer.schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": { "title": "gRPC services", "version": "1" },
        "paths": paths,
        "components": { "schemas": writer.schemas },
    })
}

fn path(binding: &Binding) -> String {
    let mut path = String::new();
    for (segment, name) in binding.template.segments.iter().zip(names(&binding.template)) {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::One | Segment::Rest => path.push_str(&format!("{{{name}}}")),
        }
    }
    if let Some(suffix) = &binding.template.suffix {
        path.push(':');
        path.push_str(suffix);
    }
    path
}

impl Writer<'_> {
    fn operation(&mut self, binding: &Binding) -> Value {
        let method = &binding.method;
        let service = method.parent_service();
        let id = (1..).map(|number| match number {
            1 => format!("{}_{}", service.name(), method.name()),
            number => format!("{}_{}_{number}", service.name(), method.name()),
        });
        let id = id.into_iter().find(|id| !self.operations.contains(id)).unwrap_or_default();
        self.operations.insert(id.clone());
        let input = method.input();
        let mut parameters = self.path_parameters(binding);
        if binding.body != Body::Whole {
            let mut taken: Vec<String> =
                binding.template.variables.iter().map(|variable| dotted(&variable.path)).collect();
            if let Body::Field(field) = &binding.body {
                taken.push(field.name().to_owned());
            }
            self.query(&input, &mut Vec::new(), &taken, &mut parameters);
        }
        let mut operation = json!({
            "operationId": id,
            "tags": [service.full_name()],
            "summary": format!("{}/{}", service.full_name(), method.name()),
            "responses": { "200": self.answer(binding), "default": {
                "description": "The call failed, or there was none.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        match &binding.body {
            Body::None => {}
            Body::Whole => operation["requestBody"] = content(&input, self.reference(&input)),
            Body::Field(field) => {
                let schema = self.field(field);
                operation["requestBody"] = match field.kind() {
                    Kind::Message(message) if !field.is_list() && !field.is_map() => content(&message, schema),
                    _ => json!({ "content": { "application/json": { "schema": schema } } }),
                };
            }
        }
        operation
    }

    fn path_parameters(&mut self, binding: &Binding) -> Vec<Value> {
        let mut parameters = Vec::new();
        for (at, (segment, name)) in binding.template.segments.iter().zip(names(&binding.template)).enumerate() {
            if let Segment::Literal(_) = segment {
                continue;
            }
            let covers = |variable: &&crate::rule::Variable| variable.from == at && variable.count == Some(1);
            let whole = binding.template.variables.iter().find(covers).and_then(|variable| variable.path.last());
            let schema = whole.map_or_else(|| json!({ "type": "string" }), |field| self.kind(&field.kind()));
            let mut parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema });
            if *segment == Segment::Rest {
                parameter["description"] = "All that is left of the path, with its slashes.".into();
            }
            parameters.push(parameter);
        }
        parameters
    }

    /// The fields of a message that a query can say.
    fn query(
        &mut self,
        message: &MessageDescriptor,
        way: &mut Vec<FieldDescriptor>,
        taken: &[String],
        parameters: &mut Vec<Value>,
    ) {
        for field in message.fields() {
            way.push(field.clone());
            let is_inner = matches!(field.kind(), Kind::Message(message) if known(&message).is_none());
            if field.is_map() || taken.contains(&dotted(way)) || (is_inner && field.is_list()) {
                // Said elsewhere, or not to be said in a query.
            } else if let Kind::Message(inner) = field.kind()
                && is_inner
            {
                if way.len() < DEPTH {
                    self.query(&inner, way, taken, parameters);
                }
            } else {
                let names: Vec<&str> = way.iter().map(|field| self.name(field)).collect();
                let schema = self.field(&field);
                parameters.push(json!({ "name": names.join("."), "in": "query", "schema": schema }));
            }
            way.pop();
        }
    }

    fn answer(&mut self, binding: &Binding) -> Value {
        let output = binding.method.output();
        let schema = match &binding.response_body {
            Some(field) => self.field(field),
            None => self.reference(&output),
        };
        if binding.method.is_server_streaming() {
            return json!({
                "description": "Message by message: a line for each, or an event if that is what the client accepts.",
                "content": { "application/x-ndjson": { "schema": schema }, "text/event-stream": { "schema": { "type": "string" } } },
            });
        }
        let mut answer = match &binding.response_body {
            None => content(&output, schema),
            Some(_) => json!({ "content": { "application/json": { "schema": schema } } }),
        };
        answer["description"] = "The answer.".into();
        answer
    }

    fn name<'f>(&self, field: &'f FieldDescriptor) -> &'f str {
        match self.forms.names {
            FieldNames::Json => field.json_name(),
            FieldNames::Proto => field.name(),
        }
    }

    /// A message's schema, by its name.
    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = known(message) {
            return schema;
        }
        let name = message.full_name();
        if !self.schemas.contains_key(name) {
            self.schemas.insert(name.to_owned(), Value::Null);
            self.messages.push(message.clone());
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let schema = self.field(&field);
            properties.insert(self.name(&field).to_owned(), schema);
        }
        json!({ "type": "object", "properties": properties })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = entry.map_entry_value_field();
                json!({ "type": "object", "additionalProperties": self.kind(&value.kind()) })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        }
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => json!({ "type": "number", "format": "double" }),
            Kind::Float => json!({ "type": "number", "format": "float" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            // 64 bits are no number that every client could read.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "pattern": "^-?[0-9]+$" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]+$" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Message(message) => self.reference(message),
            Kind::Enum(values) => self.enumeration(values),
        }
    }

    fn enumeration(&mut self, values: &EnumDescriptor) -> Value {
        let name = values.full_name();
        if name == "google.protobuf.NullValue" {
            return json!({ "type": "null" });
        }
        let schema = match self.forms.enums {
            Enums::Names => {
                let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
                json!({ "type": "string", "enum": names })
            }
            Enums::Numbers => {
                let numbers: Vec<_> = values.values().map(|value| value.number()).collect();
                json!({ "type": "integer", "enum": numbers })
            }
        };
        self.schemas.insert(name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

/// What the JSON mapping has a form of its own for (protobuf.dev/programming-guides/json).
fn known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name();
    if name == crate::response::HTTP_BODY {
        return Some(json!({}));
    }
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$" }),
        "FieldMask" | "StringValue" => json!({ "type": "string" }),
        "Int64Value" | "UInt64Value" => json!({ "type": "string" }),
        "BytesValue" => json!({ "type": "string", "contentEncoding": "base64" }),
        "DoubleValue" | "FloatValue" => json!({ "type": "number" }),
        "Int32Value" | "UInt32Value" => json!({ "type": "integer" }),
        "BoolValue" => json!({ "type": "boolean" }),
        "Struct" | "Empty" => json!({ "type": "object" }),
        "Value" => json!({}),
        "ListValue" => json!({ "type": "array" }),
        "Any" => json!({ "type": "object", "properties": { "@type": { "type": "string" } }, "required": ["@type"] }),
        _ => return None,
    })
}

/// A body of JSON, or of whatever `google.api.HttpBody` says that it is.
fn content(message: &MessageDescriptor, schema: Value) -> Value {
    let kind = if message.full_name() == crate::response::HTTP_BODY { "*/*" } else { "application/json" };
    json!({ "content": { kind: { "schema": schema } } })
}

fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

/// RFC 9457, with what this plugin adds.
fn problem() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "type": text("A URI of the kind of problem."),
            "title": text("The status in words."),
            "status": { "type": "integer" },
            "detail": text("What is wrong."),
            "request-id": text("The gateway's identifier of the request."),
            "pointer": text("Where in the body, as a JSON Pointer."),
            "parameter": text("Which parameter."),
            "code": text("The name of gRPC's status."),
            "details": { "type": "array", "description": "The details of google.rpc.Status." },
        },
    })
}
