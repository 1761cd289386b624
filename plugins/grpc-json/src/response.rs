//! From what a call brought to an HTTP response.

use plugin_sdk::{
    Body, BodyError, Error, Item, Reply, Request, Response, ResponseBodyFilter, ResponseDecision, ResponseFilter,
    ResponseStream, Selection,
    body::{Chunk, ChunkResult, Fields},
};
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};

use crate::{
    BINDING, GrpcJson,
    frames::{self, Frame, PREFIX},
    rule::Binding,
    status::Status,
};

/// google/api/httpbody.proto: an answer that is not JSON.
pub(crate) const HTTP_BODY: &str = "google.api.HttpBody";
/// What gRPC says in its heads, and HTTP has no use for.
const OF_GRPC: [&str; 5] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding"];

/// What is read of a response.
pub(crate) fn selection() -> Selection {
    let mut items = vec![
        Item::Attribute(BINDING.to_owned()),
        Item::Header("accept".to_owned()),
        Item::ResponseHeader("content-type".to_owned()),
    ];
    items.extend(OF_GRPC.map(|name| Item::ResponseHeader(name.to_owned())));
    Selection::new(&items)
}

/// How messages follow one another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line for each (github.com/ndjson/ndjson-spec).
    Lines,
    /// Server-sent events (html.spec.whatwg.org/multipage/server-sent-events.html).
    Events,
}

/// A response of the service, by its head.
struct Called<'a> {
    index: usize,
    binding: &'a Binding,
    /// What is gRPC's in the head.
    own: Vec<Option<Vec<u8>>>,
    /// Without messages the head has it all.
    only: Option<Status>,
    wants_events: bool,
}

impl GrpcJson {
    /// None if the response is not the service's: that of the gateway or of a plugin.
    fn called(&self, request: &Request, response: &Response) -> Result<Option<Called<'_>>, Error> {
        let values = self.response.read(request, Some(response));
        let values: Vec<_> = values.iter().collect();
        let [Some(index), accept, Some(kind), own @ ..] = &values[..] else { return Ok(None) };
        let [code, message, details, ..] = own else { return Ok(None) };
        if !kind.starts_with(b"application/grpc") {
            return Ok(None);
        }
        let index: usize = std::str::from_utf8(index).ok().and_then(|index| index.parse().ok()).unwrap_or(usize::MAX);
        let binding = self.routes.get(index).ok_or_else(|| Error::new("another configuration made the request"))?;
        let only = Status::of(*code, *message, *details);
        let own = own.iter().map(|value| value.map(<[u8]>::to_vec)).collect();
        Ok(Some(Called { index, binding, own, only, wants_events: accept.is_some_and(wants_events) }))
    }

    /// Writes the response that the client gets.
    fn respond(
        &self,
        (request, response): (&Request, &Response),
        called: &Called<'_>,
        status: Status,
        Body { bytes, trailers }: &Body,
    ) -> Result<ResponseDecision, Error> {
        clear(response, &called.own)?;
        let answered = if status.code == 0 { self.answer(called.binding, bytes) } else { Err(status) };
        match answered {
            Ok((content_type, body)) => {
                response.set_header("content-type", content_type)?;
                response.replace_body(body)?;
            }
            Err(status) => {
                response.set_status(status.http())?;
                let problem = Reply::from(status.problem(&self.pool, &self.json).member("request-id", request.id()));
                response.set_header("content-type", "application/problem+json")?;
                response.replace_body(problem.body)?;
            }
        }
        metadata(response, trailers);
        Ok(ResponseDecision::Next)
    }
}

impl ResponseFilter for GrpcJson {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let Some(mut called) = self.called(request, response)? else { return Ok(ResponseDecision::Next) };
        if let Some(status) = called.only.take() {
            return self.respond((request, response), &called, status, &Body::default());
        }
        if !called.binding.method.is_server_streaming() {
            return Ok(ResponseDecision::ReadBody);
        }
        let form = if called.wants_events { Form::Events } else { Form::Lines };
        clear(response, &called.own)?;
        response.set_header("content-type", form.content_type())?;
        let index = u32::try_from(called.index).unwrap_or(u32::MAX).to_le_bytes();
        Ok(ResponseDecision::StreamBody([&index[..], &[form as u8]].concat()))
    }
}

impl ResponseBodyFilter for GrpcJson {
    fn on_response_body(
        &mut self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        let Some(called) = self.called(request, response)? else { return Ok(ResponseDecision::Next) };
        let (status, body) = match body {
            Ok(body) => {
                let status = Status::of_fields(&body.trailers);
                (status.unwrap_or_else(|| Status::internal("the service did not say how the call ended")), body)
            }
            Err(BodyError::TooLarge(limit)) => {
                (Status::internal(&format!("the answer is over {limit} bytes")), Body::default())
            }
            Err(error) => return Err(error.into()),
        };
        self.respond((request, response), &called, status, &body)
    }
}

impl ResponseStream for GrpcJson {
    fn on_response_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        let Chunk { state, bytes, end } = chunk;
        let (index, form) = state.split_first_chunk::<4>().ok_or_else(|| Error::new("its state is lost"))?;
        let binding = self.routes.get(u32::from_le_bytes(*index) as usize);
        let binding = binding.ok_or_else(|| Error::new("another configuration made the request"))?;
        let form = if form == [Form::Events as u8] { Form::Events } else { Form::Lines };
        let mut result = ChunkResult { min_bytes: PREFIX, ..ChunkResult::default() };
        loop {
            match frames::first(&bytes[result.consumed..]) {
                Frame::Message(message) => {
                    let decoded = self.json(binding, message).map_err(|status| Error::new(status.message))?;
                    form.write(&decoded, None, &mut result.output);
                    result.consumed += PREFIX + message.len();
                }
                Frame::Wants(bytes) => {
                    result.min_bytes = bytes;
                    break;
                }
                Frame::Compressed => {
                    return Err(Error::new("the service compresses messages, which was not asked for"));
                }
            }
        }
        let Some(trailers) = end else { return Ok(result) };
        if result.consumed < bytes.len() {
            return Err(Error::new("the service broke off within a message"));
        }
        let status = Status::of_fields(&trailers);
        let status = status.unwrap_or_else(|| Status::internal("the service did not say how the call ended"));
        if status.code != 0 {
            let problem = Reply::from(status.problem(&self.pool, &self.json));
            form.write(&problem.body, Some("error"), &mut result.output);
        }
        result.trailers = trailers;
        Ok(result)
    }
}

impl GrpcJson {
    /// Content type and body for the one message of an answer.
    fn answer(&self, binding: &Binding, body: &[u8]) -> Result<(String, Vec<u8>), Status> {
        let message = match frames::first(body) {
            Frame::Message(message) if message.len() + PREFIX == body.len() => message,
            Frame::Message(_) => return Err(Status::internal("the service answered with more than one message")),
            Frame::Wants(_) => return Err(Status::internal("the service answered with no whole message")),
            Frame::Compressed => {
                return Err(Status::internal("the service compresses messages, which was not asked for"));
            }
        };
        if binding.response_body.is_none() && binding.method.output().full_name() == HTTP_BODY {
            return http_body(binding, message);
        }
        Ok(("application/json".to_owned(), self.json(binding, message)?))
    }

    fn json(&self, binding: &Binding, message: &[u8]) -> Result<Vec<u8>, Status> {
        let message = decode(binding, message)?;
        let mut json = Vec::new();
        let written = match &binding.response_body {
            None => message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &self.json),
            Some(field) => return self.field(&message, field),
        };
        written.map_err(|error| Status::internal(&format!("the answer cannot be written as JSON: {error}")))?;
        Ok(json)
    }

    /// One field, also if it has its default value.
    fn field(&self, message: &DynamicMessage, field: &FieldDescriptor) -> Result<Vec<u8>, Status> {
        let impossible = |error| Status::internal(&format!("the answer cannot be written as JSON: {error}"));
        let value = message.get_field(field);
        if let Value::Message(message) = &*value {
            let mut json = Vec::new();
            message
                .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &self.json)
                .map_err(impossible)?;
            return Ok(json);
        }
        // Alone in a message. One with its default value is left out at first, as fields of its messages are to be.
        let mut alone = DynamicMessage::new(message.descriptor());
        alone.set_field(field, value.into_owned());
        for options in [self.json.clone(), self.json.clone().skip_default_fields(false)] {
            let written = alone.serialize_with_options(serde_json::value::Serializer, &options).map_err(impossible)?;
            if let Some(value) = written.get(field.name()).or_else(|| written.get(field.json_name())) {
                return Ok(value.to_string().into_bytes());
            }
        }
        Ok(b"null".to_vec())
    }
}

fn decode(binding: &Binding, message: &[u8]) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(binding.method.output(), message).map_err(|error| {
        Status::internal(&format!("the answer is no {}: {error}", binding.method.output().full_name()))
    })
}

fn http_body(binding: &Binding, message: &[u8]) -> Result<(String, Vec<u8>), Status> {
    let message = decode(binding, message)?;
    let content_type = message.get_field_by_name("content_type").and_then(|value| value.as_str().map(str::to_owned));
    let data = message.get_field_by_name("data").and_then(|value| value.as_bytes().map(|bytes| bytes.to_vec()));
    let content_type = content_type.filter(|kind| !kind.is_empty()).unwrap_or("application/octet-stream".to_owned());
    Ok((content_type, data.unwrap_or_default()))
}

/// Removes what is gRPC's, of which these values are there.
fn clear(response: &Response, own: &[Option<Vec<u8>>]) -> Result<(), Error> {
    for (name, _) in OF_GRPC.iter().zip(own).filter(|(_, value)| value.is_some()) {
        response.remove_header(name)?;
    }
    Ok(())
}

/// What a service says behind its answer goes into the head: there is no other place for it in JSON over HTTP.
fn metadata(response: &Response, trailers: &Fields) {
    for (name, value) in trailers.iter().filter(|(name, _)| !OF_GRPC.contains(&&**name)) {
        // What may not be there is left out.
        let _ = response.append_header(name, value);
    }
}

/// Whether a client wants server-sent events.
fn wants_events(accept: &[u8]) -> bool {
    let essence =
        |range: &[u8]| range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    accept.split(|byte| *byte == b',').any(|range| essence(range) == b"text/event-stream")
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// One message, or what went wrong. JSON as it is written here has no line ends.
    fn write(self, json: &[u8], event: Option<&str>, into: &mut Vec<u8>) {
        match (self, event) {
            (Self::Lines, None) => into.extend_from_slice(json),
            (Self::Lines, Some(name)) => {
                into.extend_from_slice(format!("{{\"{name}\":").as_bytes());
                into.extend_from_slice(json);
                into.push(b'}');
            }
            (Self::Events, name) => {
                if let Some(name) = name {
                    into.extend_from_slice(format!("event: {name}\n").as_bytes());
                }
                into.extend_from_slice(b"data: ");
                into.extend_from_slice(json);
                into.push(b'\n');
            }
        }
        into.push(b'\n');
    }
}
