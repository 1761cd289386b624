//! Between the component's exports and the author's type; called by what `export_plugin!` expands to.

use std::{cell::RefCell, time::Duration};

use super::generated::{
    attendance::exports::gateway::plugin::attendance,
    catalogue::exports::gateway::plugin::catalogue,
    imports::gateway::plugin::http,
    lifecycle::exports::gateway::plugin::lifecycle::{ConfigProblem, Manifest},
    observe::exports::gateway::plugin::observer,
    request::exports::gateway::plugin::request_filter,
    stream::exports::gateway::plugin::response_stream,
};
use crate::{
    Catalogue, Decision, Endpoint, Observer, Outcome, Phases, Plugin, Request, RequestFilter, Response, ResponseFilter,
    config,
    export::plugin_name,
    streams::{Part, Passage, ResponseStream},
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

/// The phases that the instance wants.
pub fn phases<P: Plugin>(instance: &Instance<P>) -> attendance::PhaseSet {
    let Phases { request, response, completion } = instance.borrow().as_ref().map(P::phases).unwrap_or_default();
    let wanted = [
        (request, attendance::PhaseSet::REQUEST),
        (response, attendance::PhaseSet::RESPONSE),
        (completion, attendance::PhaseSet::COMPLETION),
    ];
    let wanted = wanted.into_iter().filter(|(wants, _)| *wants);
    wanted.fold(attendance::PhaseSet::empty(), |set, (_, phase)| set | phase)
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

/// The request phase.
pub fn on_request<P: RequestFilter>(
    instance: &Instance<P>,
    raw: &http::Request,
) -> Result<request_filter::Decision, String> {
    let mut plugin = instance.borrow_mut();
    let plugin = plugin.as_mut().ok_or(NOT_CONFIGURED)?;
    match plugin.on_request(request(raw)) {
        Ok(Decision::Next) => Ok(request_filter::Decision::Next),
        Ok(Decision::Respond(reply)) => Ok(request_filter::Decision::Respond(http::Reply {
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
        })),
        Err(error) => Err(error.into_message()),
    }
}

/// The response phase.
pub fn on_response<P: ResponseFilter>(
    instance: &Instance<P>,
    raw_request: &http::Request,
    raw_response: &http::Response,
) -> Result<(), String> {
    let mut plugin = instance.borrow_mut();
    let plugin = plugin.as_mut().ok_or(NOT_CONFIGURED)?;
    plugin.on_response(request(raw_request), response(raw_response)).map_err(|error| error.into_message())
}

/// A part of a response's body.
pub fn on_part<P: ResponseStream>(
    instance: &Instance<P>,
    part: response_stream::Part,
) -> Result<response_stream::Passage, String> {
    let mut plugin = instance.borrow_mut();
    let plugin = plugin.as_mut().ok_or(NOT_CONFIGURED)?;
    let response_stream::Part { memo, bytes, end } = part;
    let Passage { taken, output, wants, memo, trailers } =
        plugin.on_part(Part { memo, bytes, end }).map_err(|error| error.into_message())?;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(response_stream::Passage { taken: number(taken), output, wants: number(wants), memo, trailers })
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
