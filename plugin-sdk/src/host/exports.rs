//! Between the component's exports and the author's type; called by what `export_plugin!` expands to.

use std::{cell::RefCell, time::Duration};

use super::generated::{
    active_phases::exports::gateway::plugin::active_phases,
    catalogue::exports::gateway::plugin::catalogue,
    imports::gateway::plugin::{bodies, http},
    lifecycle::exports::gateway::plugin::lifecycle::{ConfigProblem, Manifest},
    messages::exports::gateway::plugin::message_filter,
    observe::exports::gateway::plugin::observer,
    timers::exports::gateway::plugin::timers,
};
use super::wasm::body_error;
use crate::{
    Body, BodyError, Catalogue, Decision, Endpoint, Error, MessageFilter, Observer, Outcome, Phases, Plugin, Reply,
    Request, RequestBodyFilter, RequestFilter, RequestStream, Response, ResponseBodyFilter, ResponseDecision,
    ResponseFilter, ResponseStream, Timer, Timers,
    body::{Chunk, ChunkResult},
    config,
    export::plugin_name,
    messages::{Close, Message, MessageResult, Sender, ServerSentEvent},
};

type Instance<P> = RefCell<Option<P>>;

/// The gateway configures each instance first.
const NOT_CONFIGURED: &str = "the plugin was called before it was configured";

/// What the plugin is.
pub fn describe<P: Plugin>(package: &'static str, version: &str, description: &str) -> Manifest {
    Manifest {
        name: plugin_name(P::NAME, package).to_owned(),
        version: version.to_owned(),
        description: description.to_owned(),
        config_schema: config::schema::<P>(),
    }
}

/// Makes the instance anew.
pub fn configure<P: Plugin>(instance: &Instance<P>, json: &str) -> Result<(), Vec<ConfigProblem>> {
    match config::configure(json) {
        Ok(plugin) => {
            *instance.borrow_mut() = Some(plugin);
            Ok(())
        }
        Err(problems) => Err(problems
            .into_iter()
            .map(|problem| ConfigProblem { pointer: problem.pointer, message: problem.message })
            .collect()),
    }
}

/// The active phases of the instance.
pub fn phases<P: Plugin>(instance: &Instance<P>) -> active_phases::PhaseSet {
    let phases = instance.borrow().as_ref().map(P::phases).unwrap_or_default();
    let Phases { request, response, completion, local_cache } = phases;
    let active = [
        (request, active_phases::PhaseSet::REQUEST),
        (response, active_phases::PhaseSet::RESPONSE),
        (completion, active_phases::PhaseSet::COMPLETION),
        (local_cache, active_phases::PhaseSet::LOCAL_CACHE),
    ];
    let active = active.into_iter().filter(|(is_active, _)| *is_active);
    active.fold(active_phases::PhaseSet::empty(), |set, (_, phase)| set | phase)
}

/// What the instance has an answer for.
pub fn endpoints<P: Catalogue>(instance: &Instance<P>) -> Vec<catalogue::Endpoint> {
    let endpoints = instance.borrow().as_ref().map(P::endpoints).unwrap_or_default();
    endpoints.into_iter().map(|Endpoint { method, path, about }| catalogue::Endpoint { method, path, about }).collect()
}

/// The same, described to clients.
pub fn openapi<P: Catalogue>(instance: &Instance<P>) -> String {
    let document = instance.borrow().as_ref().and_then(P::openapi);
    document.map_or_else(String::new, |document| document.to_string())
}

/// The timers of the instance.
pub fn timers<P: Timers>(instance: &Instance<P>) -> Vec<timers::Timer> {
    let timers = instance.borrow().as_ref().map(P::timers).unwrap_or_default();
    let lowered = |Timer { name, interval }| timers::Timer {
        name,
        interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
    };
    timers.into_iter().map(lowered).collect()
}

/// A call of a timer.
pub fn on_timer<P: Timers>(instance: &Instance<P>, name: &str) -> Result<(), String> {
    call(instance, |plugin| plugin.on_timer(name))
}

/// The request phase.
pub fn on_request<P: RequestFilter>(instance: &Instance<P>, raw: &http::Request) -> Result<http::Decision, String> {
    call(instance, |plugin| plugin.on_request(request(raw))).map(decision)
}

/// The request phase, with the whole body.
pub fn on_request_body<P: RequestBodyFilter>(
    instance: &Instance<P>,
    raw: &http::Request,
    body: Result<bodies::Body, bodies::BodyError>,
) -> Result<http::Decision, String> {
    call(instance, |plugin| plugin.on_request_body(request(raw), read(body))).map(decision)
}

/// The response phase.
pub fn on_response<P: ResponseFilter>(
    instance: &Instance<P>,
    raw_request: &http::Request,
    raw_response: &http::Response,
) -> Result<http::ResponseDecision, String> {
    let decided = call(instance, |plugin| plugin.on_response(request(raw_request), response(raw_response)));
    decided.map(response_decision)
}

/// The response phase, with the whole body.
pub fn on_response_body<P: ResponseBodyFilter>(
    instance: &Instance<P>,
    raw_request: &http::Request,
    raw_response: &http::Response,
    body: Result<bodies::Body, bodies::BodyError>,
) -> Result<http::ResponseDecision, String> {
    let decided =
        call(instance, |plugin| plugin.on_response_body(request(raw_request), response(raw_response), read(body)));
    decided.map(response_decision)
}

/// A chunk of a request body.
pub fn on_request_chunk<P: RequestStream>(
    instance: &Instance<P>,
    chunk: bodies::Chunk,
) -> Result<bodies::ChunkResult, String> {
    call(instance, |plugin| plugin.on_request_chunk(arrived(chunk))).map(chunk_result)
}

/// A chunk of a response body.
pub fn on_response_chunk<P: ResponseStream>(
    instance: &Instance<P>,
    chunk: bodies::Chunk,
) -> Result<bodies::ChunkResult, String> {
    call(instance, |plugin| plugin.on_response_chunk(arrived(chunk))).map(chunk_result)
}

/// A message of a WebSocket, or an event.
pub fn on_message<P: MessageFilter>(
    instance: &Instance<P>,
    sender: message_filter::Sender,
    message: message_filter::Message,
    state: &[u8],
) -> Result<message_filter::MessageResult, String> {
    let sender = match sender {
        message_filter::Sender::Client => Sender::Client,
        message_filter::Sender::Upstream => Sender::Upstream,
    };
    let message = match message {
        message_filter::Message::Text(text) => Message::Text(text),
        message_filter::Message::Binary(bytes) => Message::Binary(bytes),
        message_filter::Message::Event(message_filter::ServerSentEvent { id, name, data }) => {
            Message::Event(ServerSentEvent { id, name, data })
        }
    };
    call(instance, |plugin| plugin.on_message(sender, message, state)).map(message_result)
}

fn message_result(result: MessageResult) -> message_filter::MessageResult {
    let MessageResult { output, replies, close, state } = result;
    let sent = |messages: Vec<Message>| messages.into_iter().map(sent).collect();
    let close = close.map(|Close { code, reason }| message_filter::Close { code, reason });
    message_filter::MessageResult { output: output.map(sent), replies: sent(replies), close, state }
}

fn sent(message: Message) -> message_filter::Message {
    match message {
        Message::Text(text) => message_filter::Message::Text(text),
        Message::Binary(bytes) => message_filter::Message::Binary(bytes),
        Message::Event(ServerSentEvent { id, name, data }) => {
            message_filter::Message::Event(message_filter::ServerSentEvent { id, name, data })
        }
    }
}

fn call<P, T>(instance: &Instance<P>, phase: impl FnOnce(&mut P) -> Result<T, Error>) -> Result<T, String> {
    let mut plugin = instance.borrow_mut();
    let plugin = plugin.as_mut().ok_or(NOT_CONFIGURED)?;
    phase(plugin).map_err(Error::into_message)
}

fn decision(decision: Decision) -> http::Decision {
    match decision {
        Decision::Next => http::Decision::Next,
        Decision::Respond(Reply { status, headers, body }) => {
            http::Decision::Respond(http::Reply { status, headers, body })
        }
        Decision::ReadBody => http::Decision::ReadBody,
        Decision::StreamBody(state) => http::Decision::StreamBody(state),
        Decision::AwaitRelease => http::Decision::AwaitRelease,
    }
}

fn response_decision(decision: ResponseDecision) -> http::ResponseDecision {
    match decision {
        ResponseDecision::Next => http::ResponseDecision::Next,
        ResponseDecision::ReadBody => http::ResponseDecision::ReadBody,
        ResponseDecision::StreamBody(state) => http::ResponseDecision::StreamBody(state),
        ResponseDecision::StreamMessages(state) => http::ResponseDecision::StreamMessages(state),
    }
}

fn read(body: Result<bodies::Body, bodies::BodyError>) -> Result<Body, BodyError> {
    match body {
        Ok(bodies::Body { bytes, trailers }) => Ok(Body { bytes, trailers }),
        Err(error) => Err(body_error(error)),
    }
}

fn arrived(chunk: bodies::Chunk) -> Chunk {
    let bodies::Chunk { state, bytes, end } = chunk;
    Chunk { state, bytes, end }
}

fn chunk_result(result: ChunkResult) -> bodies::ChunkResult {
    let ChunkResult { consumed, output, min_bytes, state, trailers } = result;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    bodies::ChunkResult { consumed: number(consumed), output, min_bytes: number(min_bytes), state, trailers }
}

/// The end of an exchange.
pub fn on_complete<P: Observer>(
    instance: &Instance<P>,
    raw_request: &http::Request,
    raw_response: Option<&http::Response>,
    outcome: observer::Outcome,
) {
    if let Some(plugin) = instance.borrow_mut().as_mut() {
        let outcome = Outcome {
            status: outcome.status,
            failure: outcome.failure,
            upstream: outcome.upstream,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            duration: Duration::from_micros(outcome.duration_us),
            upstream_duration: outcome.upstream_us.map(Duration::from_micros),
            plugins_duration: Duration::from_micros(outcome.plugins_us),
            request_stream_state: outcome.request_stream_state,
            response_stream_state: outcome.response_stream_state,
            message_state: outcome.message_state,
        };
        plugin.on_complete(request(raw_request), raw_response.map(response), &outcome);
    }
}

fn request(raw: &http::Request) -> &Request {
    // SAFETY: `Request` is a transparent wrapper of this type.
    unsafe { &*std::ptr::from_ref(raw).cast() }
}

fn response(raw: &http::Response) -> &Response {
    // SAFETY: `Response` is a transparent wrapper of this type.
    unsafe { &*std::ptr::from_ref(raw).cast() }
}
