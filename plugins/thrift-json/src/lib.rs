//! Lets clients of HTTP and JSON call Thrift services.
//!
//! The IDL is read when an instance is configured. A request becomes a call as `POST /Service/method` or by a binding of the
//! configuration. Over TCP the plugin calls the service in the request phase, and responds; over HTTP it
//! changes the request on its way to the route's upstream, and the response on its way back.

mod arguments;
mod calls;
mod config;
mod constant;
mod idl;
mod outcome;
mod read;
mod refusal;
mod schema;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use plugin_sdk::{
    Body, BodyError, Catalogue, Decision, Endpoint, Error, Item, Phases, Plugin, Pointer, Problem, Problems, Reply,
    Request, RequestBodyFilter, RequestFilter, Response, ResponseBodyFilter, ResponseDecision, ResponseFilter,
    Selection, export_plugin, files, json, log,
    tcp::{self, Message, TcpError},
};

use calls::{Calls, MatchedCall};
use config::{Config, Transport, Treatment};
use outcome::Outcomes;
use refusal::Refusal;
use schema::{Method, Schema};
use wire::{Heard, Wire};

/// The number of the method that was called, for the response phase.
const METHOD: &str = "thrift-json.method";

/// The plugin.
struct ThriftJson {
    schema: Schema,
    calls: Calls,
    wire: Wire,
    outcomes: Outcomes,
    /// Empty for the transport `http`.
    upstream: String,
    timeout: std::time::Duration,
    http_path: String,
    unknown_parameters: Treatment,
    request: Selection,
}

impl Plugin for ThriftJson {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let schema = schema(&config, &mut problems);
        let outcomes = Outcomes::new(&config.exceptions, &schema, &mut problems);
        let calls = Calls::new(&config.prefix, &config.bindings, &schema, &mut problems);
        match (&config.upstream, config.transport) {
            (None, Transport::Framed | Transport::Buffered) => problems.add(
                "/upstream",
                "name the upstream with the service, whose endpoints are `tcp://HOST:PORT`; or write `transport: http`",
            ),
            (Some(_), Transport::Http) => {
                problems.add("/upstream", "with `transport: http` the service is the route's own upstream");
            }
            _ => {}
        }
        if !config.http_path.starts_with('/') {
            problems.add("/http-path", format!("expected a path such as `/thrift`, found `{}`", config.http_path));
        }
        let header = |name: &str| Item::Header(name.to_owned());
        let request = Selection::new(&[
            Item::Method,
            Item::Path,
            Item::Query,
            header("content-type"),
            header("content-encoding"),
        ]);
        problems.or(Self {
            schema,
            calls,
            wire: Wire {
                transport: config.transport,
                protocol: config.protocol,
                unknown: config.unknown_fields,
                enums: config.enums,
                i64: config.i64,
            },
            outcomes,
            upstream: config.upstream.unwrap_or_default(),
            timeout: config.timeout.0,
            http_path: config.http_path,
            unknown_parameters: config.unknown_parameters,
            request,
        })
    }

    fn phases(&self) -> Phases {
        Phases {
            request: true,
            response: self.wire.transport == Transport::Http,
            completion: false,
            ..Phases::default()
        }
    }
}

/// What the configuration's files say.
fn schema(config: &Config, problems: &mut Problems) -> Schema {
    let names = config.idl.names();
    if names.is_empty() {
        problems.add("/idl", "name at least one file");
    }
    let read = |name: &str| {
        // As it is included, or as the file is called.
        let bytes = files::get(name).or_else(|error| files::get(&format!("{name}.thrift")).map_err(|_| error));
        let bytes = bytes.map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| format!("file `{name}` is not UTF-8"))
    };
    let at = |index: usize| if names.len() > 1 { Pointer::from("/idl").then(index) } else { Pointer::from("/idl") };
    let schema = idl::Files::load(names, read).map_err(|(index, why)| (at(index), why)).and_then(|files| {
        idl::resolve(&files, names.len(), &config.services, config.multiplexed).map_err(|why| (at(0), why))
    });
    match schema {
        Ok(schema) => {
            if schema.methods.is_empty() {
                problems.add("/idl", "nothing can be called: the files have no service with a method");
            }
            schema
        }
        Err((at, why)) => {
            problems.add(at, why);
            Schema::default()
        }
    }
}

impl RequestFilter for ThriftJson {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.calls.find(&request.method(), &request.path()) {
            MatchedCall::Call(..) => Ok(Decision::ReadBody),
            MatchedCall::OtherMethod => refuse(request, 405, "no call is made with this method at this path"),
            MatchedCall::Nothing => refuse(request, 404, "no call is made at this path"),
        }
    }
}

impl RequestBodyFilter for ThriftJson {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let values = self.request.read(request, None);
        let mut values = values.iter();
        let mut next = || values.next().flatten().unwrap_or_default();
        let (verb, path, query) = (text(next()), text(next()), text(next()));
        let (kind, encoding) = (next(), next());
        let MatchedCall::Call(binding, said) = self.calls.find(verb, path) else {
            return refuse(request, 404, "no call is made at this path");
        };
        let body = match body {
            Ok(body) => body.bytes,
            Err(BodyError::TooLarge(_)) => return refuse(request, 413, "the body is too large"),
            Err(error) => return Err(error.into()),
        };
        if !body.is_empty() && !json::is_plain(kind, encoding) {
            return refuse(request, 415, "the body has to be JSON, and not compressed");
        }
        let method = &self.schema.methods[binding.method];
        let unknown = self.unknown_parameters;
        let arguments = match arguments::arguments(&self.schema, binding, &said, query, &body, unknown) {
            Ok(arguments) => arguments,
            Err(refusal) => return bad(request, &refusal, &[], 0),
        };
        let message = match self.wire.call(&self.schema, method, &arguments.members) {
            Ok(message) => message,
            // A body that is one argument is the whole of its document.
            Err(refusal) => return bad(request, &refusal, &arguments.parameters, usize::from(binding.body.is_some())),
        };
        if self.wire.transport != Transport::Http {
            return self.call(request, method, message, is_idempotent(verb));
        }
        match request.replace_body(message) {
            Ok(()) => {}
            // A number may have more bytes than its text.
            Err(BodyError::TooLarge(_)) => return refuse(request, 413, "the message is too large"),
            Err(error) => return Err(error.into()),
        }
        request.set_attribute(METHOD, &binding.method.to_string())?;
        request.set_attribute("thrift.call", &method.call)?;
        if verb != "POST" {
            request.set_method("POST")?;
        }
        request.set_path_with_query(&self.http_path)?;
        request.set_header("content-type", "application/x-thrift")?;
        request.set_header("accept", "application/x-thrift")?;
        request.remove_header("accept-encoding")?;
        Ok(Decision::Next)
    }
}

impl Catalogue for ThriftJson {
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |(method, path, call): (String, String, usize)| Endpoint {
            method,
            path,
            about: self.schema.methods[call].call.clone(),
        };
        self.calls.patterns(&self.schema).map(endpoint).collect()
    }
}

impl ThriftJson {
    /// Calls a service over TCP.
    fn call(&self, request: &Request, method: &Method, message: Vec<u8>, repeatable: bool) -> Result<Decision, Error> {
        let message = Message::new(&self.upstream, message)
            .with_min_bytes(if method.oneway { 0 } else { self.wire.least() })
            .with_timeout(self.timeout)
            .with_repeatable(repeatable);
        let connection = match tcp::send(message) {
            Ok(connection) => connection,
            // A number may have more bytes than its text.
            Err(TcpError::TooLarge(_)) => return refuse(request, 413, "the message is too large"),
            Err(error) => return silent(request, &error),
        };
        request.set_attribute("thrift.call", &method.call)?;
        if method.oneway {
            connection.release();
            return Ok(Reply::new(202).into());
        }
        let (mut answer, mut wanted) = (Vec::new(), self.wire.least());
        loop {
            match connection.receive(wanted - answer.len()) {
                Ok(bytes) => answer.extend(bytes),
                Err(error) => return silent(request, &error),
            }
            match self.wire.hear(&self.schema, method, &answer) {
                Heard::Part(bytes) => wanted = bytes.max(answer.len() + 1),
                Heard::Malformed(why) => return Ok(self.outcomes.malformed(request, &why).into()),
                Heard::Whole(outcome, is_all) => {
                    // More than the answer may belong to anything, so the connection is closed.
                    if is_all {
                        connection.release();
                    }
                    return Ok(self.outcomes.reply(&self.schema, request, outcome).into());
                }
            }
        }
    }

    /// The method that the request called over HTTP, if it was one.
    fn called(&self, request: &Request) -> Option<&Method> {
        self.schema.methods.get(request.attribute(METHOD)?.parse::<usize>().ok()?)
    }
}

impl ResponseFilter for ThriftJson {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let Some(method) = self.called(request) else { return Ok(ResponseDecision::Next) };
        // What the gateway or the server says of itself is none of the service's.
        let status = response.status();
        let kind = response.header("content-type").unwrap_or_default();
        if method.oneway && (200..300).contains(&status) {
            response.set_status(202)?;
            response.remove_header("content-type")?;
            response.replace_body("")?;
            return Ok(ResponseDecision::Next);
        }
        if status != 200 || !kind.starts_with("application/x-thrift") && !kind.is_empty() {
            return Ok(ResponseDecision::Next);
        }
        Ok(ResponseDecision::ReadBody)
    }
}

impl ResponseBodyFilter for ThriftJson {
    fn on_response_body(
        &mut self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        let Some(method) = self.called(request) else { return Ok(ResponseDecision::Next) };
        let reply = match body {
            Ok(body) => match self.wire.hear(&self.schema, method, &body.bytes) {
                Heard::Whole(outcome, _) => self.outcomes.reply(&self.schema, request, outcome),
                Heard::Part(_) => self.outcomes.malformed(request, "it breaks off"),
                Heard::Malformed(why) => self.outcomes.malformed(request, &why),
            },
            Err(BodyError::TooLarge(_)) => self.outcomes.malformed(request, "it is too large"),
            Err(error) => return Err(error.into()),
        };
        response.set_status(reply.status)?;
        response.remove_header("content-type")?;
        for (name, value) in &reply.headers {
            response.set_header(name, value)?;
        }
        response.replace_body(reply.body)?;
        Ok(ResponseDecision::Next)
    }
}

export_plugin!(ThriftJson: request, request_body, response, response_body, catalogue);

fn refuse(request: &Request, status: u16, detail: &str) -> Result<Decision, Error> {
    Ok(Problem::new(status).detail(detail).member("request-id", request.id()).into())
}

/// The request is no call. `parameters` are places that path or query have; the pointer leaves out `skip` segments.
fn bad(request: &Request, refusal: &Refusal, parameters: &[Vec<String>], skip: usize) -> Result<Decision, Error> {
    let mut problem = Problem::new(400).detail(&refusal.detail).member("request-id", request.id());
    let way: Vec<_> = refusal.way().collect();
    let parameter =
        parameters.iter().find(|place| way.len() >= place.len() && way.iter().zip(*place).all(|(a, b)| a == b));
    problem = match (&refusal.parameter, parameter) {
        (Some(name), _) => problem.member("parameter", name.as_str()),
        (None, Some(place)) => problem.member("parameter", place.join(".")),
        (None, None) => problem.member("pointer", refusal.pointer(skip)),
    };
    Ok(problem.into())
}

/// There is no answer.
fn silent(request: &Request, error: &TcpError) -> Result<Decision, Error> {
    let (status, detail) = match error {
        TcpError::Timeout => (504, "the service did not answer in time"),
        TcpError::Unreachable(_) => (502, "the service could not be reached"),
        TcpError::Closed(_) => (502, "the service closed the connection"),
        TcpError::TooLarge(_) => (502, "the service's answer is too large"),
        error => return Err(error.clone().into()),
    };
    log::emit(log::Level::Warn, &format!("no answer: {error}"), &[]);
    refuse(request, status, detail)
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// Paths and methods are ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
