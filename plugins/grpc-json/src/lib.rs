//! Lets clients of HTTP and JSON call gRPC services.
//!
//! Descriptors are read when an instance is configured. A request becomes a call by the rules of `google.api.http`, or as
//! `POST /package.Service/Method`; its message and the answer's follow the JSON mapping of protobuf. What a method streams
//! goes to the client message by message.

mod catalogue;
mod config;
mod frames;
mod openapi;
mod request;
mod response;
mod routes;
mod rule;
mod status;
#[cfg(test)]
mod tests;

use plugin_sdk::{
    Body, BodyError, Decision, Error, Item, Phases, Plugin, Pointer, Problem, Problems, Request, RequestBodyFilter,
    RequestFilter, Selection, export_plugin, files, json,
};
use prost_reflect::{DescriptorPool, SerializeOptions, ServiceDescriptor};

use config::{Config, Defaults, Enums, FieldNames, Unknown};
use routes::{MatchedMethod, Routes};
use rule::Binding;

/// The number of the binding by which a request was called, for the response phase.
const BINDING: &str = "grpc-json.binding";

/// Places of the values that are read of a request.
const METHOD: usize = 0;
const PATH: usize = 1;
const QUERY: usize = 2;
const KIND: usize = 3;
const ENCODING: usize = 4;
const TIMEOUT: usize = 5;
const COMPRESSIONS: usize = 6;

/// The plugin.
struct GrpcJson {
    pool: DescriptorPool,
    routes: Routes,
    unknown: Unknown,
    json: SerializeOptions,
    forms: openapi::Forms,
    /// As `grpc-timeout` has it.
    deadline: Option<String>,
    request: Selection,
    response: Selection,
}

impl Plugin for GrpcJson {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let pool = pool(&config, &mut problems);
        let mut routes = Routes::default();
        for service in services(&config, &pool, &mut problems) {
            add(&service, config.auto_mapping, &mut routes, &mut problems);
        }
        if problems.is_empty() && routes.all().is_empty() {
            problems.add(
                "",
                "nothing can be called: the descriptors have no methods with a rule, and `auto-mapping` is off",
            );
        }
        let json = SerializeOptions::new()
            .use_enum_numbers(config.enums == Enums::Numbers)
            .use_proto_field_name(config.field_names == FieldNames::Proto)
            .skip_default_fields(config.defaults == Defaults::Omit);
        let unknown = Unknown { fields: config.unknown_fields, parameters: config.unknown_parameters };
        let header = |name: &str| Item::Header(name.to_owned());
        let request = [
            Item::Method,
            Item::Path,
            Item::Query,
            header("content-type"),
            header("content-encoding"),
            header("grpc-timeout"),
            header("grpc-accept-encoding"),
        ];
        let deadline = config.deadline.map(|deadline| format!("{}m", deadline.0.as_millis().clamp(1, 99_999_999)));
        let (request, response) = (Selection::new(&request), response::selection());
        let forms = openapi::Forms { names: config.field_names, enums: config.enums };
        problems.or(Self { pool, routes, unknown, json, forms, deadline, request, response })
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, completion: false, ..Phases::default() }
    }
}

/// All descriptors of the configuration's files.
fn pool(config: &Config, problems: &mut Problems) -> DescriptorPool {
    let mut pool = DescriptorPool::new();
    let names = config.descriptors.names();
    if names.is_empty() {
        problems.add("/descriptors", "name at least one file");
    }
    for (i, name) in names.iter().enumerate() {
        let at = Pointer::from("/descriptors");
        let at = if names.len() > 1 { at.then(i) } else { at };
        let Some(bytes) = problems.note(&at, files::get(name)) else { continue };
        let added = pool.decode_file_descriptor_set(&bytes[..]).map_err(|error| {
            format!("file `{name}` is not a set of descriptors with all that they import, as `protoc --include_imports --descriptor_set_out` writes it: {error}")
        });
        problems.note(&at, added);
    }
    pool
}

/// The services that can be called.
fn services(config: &Config, pool: &DescriptorPool, problems: &mut Problems) -> Vec<ServiceDescriptor> {
    if config.services.is_empty() {
        return pool.services().collect();
    }
    let mut services = Vec::new();
    for (i, name) in config.services.iter().enumerate() {
        let found = pool.get_service_by_name(name).ok_or_else(|| {
            let known: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
            format!("the descriptors have no service `{name}`; there is {}", known.join(", "))
        });
        // Without descriptors all of them are missing, which has been said.
        if problems.is_empty() || pool.services().len() > 0 {
            services.extend(problems.note(Pointer::from("/services").then(i), found));
        }
    }
    services
}

fn add(service: &ServiceDescriptor, auto_mapping: bool, routes: &mut Routes, problems: &mut Problems) {
    for method in service.methods() {
        let mut said = |why: String| problems.add("/descriptors", format!("method {}: {why}", method.full_name()));
        match rule::bindings(&method) {
            Ok(bindings) if bindings.is_empty() && auto_mapping => {
                if let Err(why) = routes.add(rule::plain(&method)) {
                    said(why);
                }
            }
            Ok(bindings) => bindings.into_iter().filter_map(|binding| routes.add(binding).err()).for_each(said),
            Err(why) => said(why),
        }
    }
}

/// Why a request is not translated.
enum Untranslated {
    /// The client speaks gRPC.
    Grpc,
    /// It is no call: a status, and words for the client.
    Refused(u16, &'static str),
}

impl GrpcJson {
    /// The number of the binding, and the binding.
    fn matched(&self, values: &[Option<&[u8]>]) -> Result<(usize, &Binding), Untranslated> {
        let value = |place: usize| values.get(place).copied().flatten().unwrap_or_default();
        // A client that speaks gRPC needs no translation.
        if value(KIND).get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc")) {
            return Err(Untranslated::Grpc);
        }
        let nothing = Untranslated::Refused(404, "no gRPC method is called at this path");
        let index = match self.routes.find(text(value(METHOD)), text(value(PATH))) {
            MatchedMethod::Binding(index) => index,
            MatchedMethod::OtherMethod => {
                return Err(Untranslated::Refused(405, "no gRPC method is called with this method at this path"));
            }
            MatchedMethod::Nothing => return Err(nothing),
        };
        let binding = self.routes.get(index).ok_or(nothing)?;
        if binding.method.is_client_streaming() {
            return Err(Untranslated::Refused(
                501,
                "this method takes a stream of messages, which cannot be said in JSON",
            ));
        }
        Ok((index, binding))
    }
}

fn refuse(request: &Request, status: u16, detail: &str) -> Result<Decision, Error> {
    Ok(Problem::new(status).detail(detail).member("request-id", request.id()).into())
}

impl RequestFilter for GrpcJson {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let values = self.request.read(request, None);
        let values: Vec<_> = values.iter().collect();
        match self.matched(&values) {
            Ok(_) => Ok(Decision::ReadBody),
            Err(Untranslated::Grpc) => Ok(Decision::Next),
            Err(Untranslated::Refused(status, detail)) => refuse(request, status, detail),
        }
    }
}

impl RequestBodyFilter for GrpcJson {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let values = self.request.read(request, None);
        let values: Vec<_> = values.iter().collect();
        let value = |place: usize| values.get(place).copied().flatten().unwrap_or_default();
        let (index, binding) = match self.matched(&values) {
            Ok(matched) => matched,
            Err(Untranslated::Grpc) => return Ok(Decision::Next),
            Err(Untranslated::Refused(status, detail)) => return refuse(request, status, detail),
        };
        let body = match body {
            Ok(body) => body.bytes,
            Err(BodyError::TooLarge(_)) => return refuse(request, 413, "the body is too large"),
            Err(error) => return Err(error.into()),
        };
        let (method, path, query, kind) = (text(value(METHOD)), text(value(PATH)), text(value(QUERY)), value(KIND));
        if !body.is_empty() && !request::takes_raw(binding) && !json::is_plain(kind, value(ENCODING)) {
            return refuse(request, 415, "the body has to be JSON, and not compressed");
        }
        let message = match request::message(binding, path, query, (text(kind), &body), &self.unknown) {
            Ok(message) => message,
            Err(refusal) => {
                let mut problem = Problem::new(400).detail(&refusal.detail).member("request-id", request.id());
                if let Some(pointer) = refusal.pointer {
                    problem = problem.member("pointer", pointer);
                }
                if let Some(parameter) = refusal.parameter {
                    problem = problem.member("parameter", parameter);
                }
                return Ok(problem.into());
            }
        };
        let Some(frame) = frames::framed(&message) else {
            return refuse(request, 413, "the message is too large");
        };
        // A number may have more bytes than its text.
        match request.replace_body(frame) {
            Ok(()) => {}
            Err(BodyError::TooLarge(_)) => return refuse(request, 413, "the message is too large"),
            Err(error) => return Err(error.into()),
        }
        let name = format!("{}/{}", binding.method.parent_service().full_name(), binding.method.name());
        request.set_attribute(BINDING, &index.to_string())?;
        request.set_attribute("grpc.method", &name)?;
        if method != "POST" {
            request.set_method("POST")?;
        }
        request.set_path_with_query(&format!("/{name}"))?;
        request.set_header("content-type", "application/grpc")?;
        if !value(COMPRESSIONS).is_empty() {
            request.remove_header("grpc-accept-encoding")?;
        }
        if let Some(deadline) = self.deadline.as_ref().filter(|_| value(TIMEOUT).is_empty()) {
            request.set_header("grpc-timeout", deadline)?;
        }
        Ok(Decision::Next)
    }
}

export_plugin!(GrpcJson: request, request_body, response, response_body, response_stream, catalogue);

/// Paths and methods are ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
