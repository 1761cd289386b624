//! Edits JSON bodies of requests and responses: values are removed, renamed, moved and set by JSON Pointer.
//!
//! A plugin of its own beside `transform`, because whoever reads bodies has them buffered.

mod content;
mod edits;
mod pointer;
#[cfg(test)]
mod tests;

use plugin_sdk::{
    Body, BodyError, Decision, Edit, Edits as HeaderEdits, Error, Phases, Plugin, Pointer, Problem, Problems, Reply,
    Request, RequestBodyFilter, RequestFilter, Response, ResponseBodyFilter, ResponseDecision, ResponseFilter,
    export_plugin, metrics,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use content::{Content, is_too_large, without_mark};
use edits::{Edits, EditsConfig, OtherContent};

/// What to change about bodies.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(example = serde_json::json!({ "request": { "set": { "/tenant": "{attribute.jwt.tenant}" } }, "response": { "remove": ["/internal"] } }))]
struct Config {
    /// Edits of the request's body, before the upstream sees it.
    request: EditsConfig,
    /// Edits of the response's body, before the client sees it.
    response: EditsConfig,
}

struct JsonBody {
    request: Edits,
    response: Edits,
    /// Makes the upstream answer with whole bodies that are not compressed.
    plainly: HeaderEdits,
    /// The fields that were about a body that is another one now, of the request and of the response.
    sent_anew: HeaderEdits,
    edited: HeaderEdits,
    /// The fields of a response that the client does not get.
    withheld: HeaderEdits,
    warned_at: Option<u64>,
}

/// While responses are withheld, each instance says so once in this time: every request would be a flood.
const SILENCE_MS: u64 = 10_000;
/// They were of the other body (RFC 9110 §8.8.3, RFC 9530 §2).
const OF_THE_BODY: [&str; 5] = ["etag", "content-digest", "repr-digest", "digest", "content-md5"];

impl Plugin for JsonBody {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let request = Edits::read(config.request, &Pointer::from("/request"), &mut problems);
        let response = Edits::read(config.response, &Pointer::from("/response"), &mut problems);
        if problems.is_empty() && request.is_empty() && response.is_empty() {
            problems.add(
                "",
                "has no edits: give `request` or `response` at least one of `remove`, `rename`, `move` and `set`",
            );
        }
        for (side, edits) in [("/request", &request), ("/response", &response)] {
            for (i, (_, value)) in edits.set.iter().enumerate() {
                problems.note(Pointer::from(side).then("set"), check(value).map_err(|why| format!("value {i}: {why}")));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let plainly = [
            Edit::set_header("accept-encoding").always("identity"),
            Edit::remove_header("range"),
            Edit::remove_header("if-range"),
            // RFC 3229: what has changed, instead of the whole.
            Edit::remove_header("a-im"),
        ];
        // An upstream that checks them would refuse the body.
        let sent_anew: Vec<_> = OF_THE_BODY[1..].iter().map(|name| Edit::remove_header(*name)).collect();
        let edited: Vec<_> = OF_THE_BODY.iter().map(|name| Edit::remove_response_header(*name)).collect();
        let others =
            ["content-encoding", "content-range", "content-language", "content-location", "content-disposition"];
        let more = ["accept-ranges", "last-modified", "expires", "age"];
        let withheld = others.iter().chain(&more).map(|name| Edit::remove_response_header(*name));
        let fixed = [
            Edit::set_response_header("content-type").always("application/problem+json"),
            Edit::set_response_header("cache-control").always("no-store"),
        ];
        let withheld: Vec<_> = edited.iter().cloned().chain(withheld).chain(fixed).collect();
        Ok(Self {
            request,
            response,
            plainly: HeaderEdits::new(&plainly),
            sent_anew: HeaderEdits::new(&sent_anew),
            edited: HeaderEdits::new(&edited),
            withheld: HeaderEdits::new(&withheld),
            warned_at: None,
        })
    }

    fn phases(&self) -> Phases {
        // Responses are edited if the request asks for such as can be.
        Phases { request: true, response: !self.response.is_empty(), completion: false, ..Phases::default() }
    }
}

impl RequestFilter for JsonBody {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        if self.request.is_empty() {
            return self.forward(request);
        }
        let content = RequestContent::of(request);
        if content.kind == Content::Other && self.request.other_content == OtherContent::Pass {
            return self.forward(request);
        }
        if content.kind != Content::Json && request.header_bytes("content-length").is_some_and(|length| length != b"0")
        {
            return Ok(refuse(request, UNSUPPORTED));
        }
        Ok(Decision::ReadBody)
    }
}

impl RequestBodyFilter for JsonBody {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        match self.edit_request(request, body)? {
            Ok(()) => self.forward(request),
            Err(refusal) => Ok(refuse(request, refusal)),
        }
    }
}

impl ResponseFilter for JsonBody {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let content = ResponseContent::of(response);
        if content.kind == Content::Other && !content.is_part && self.response.other_content == OtherContent::Pass {
            return Ok(ResponseDecision::Next);
        }
        // Not read to find out: it may be a stream without an end.
        if let Some(why) = content.unreadable()
            && !is_bodiless(request, response)
        {
            return self.withhold(request, response, why);
        }
        Ok(ResponseDecision::ReadBody)
    }
}

impl ResponseBodyFilter for JsonBody {
    fn on_response_body(
        &mut self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        match self.edit_response(request, response, body)? {
            Ok(()) => Ok(ResponseDecision::Next),
            Err(why) => self.withhold(request, response, why),
        }
    }
}

export_plugin!(JsonBody: request, request_body, response, response_body);

/// Why a request does not pass: a status, and words for the client.
type Refusal = (u16, &'static str);

const UNSUPPORTED: Refusal = (415, "the body must be JSON in UTF-8, and not compressed");

fn refuse(request: &Request, (status, detail): Refusal) -> Decision {
    let mut problem = Problem::new(status).detail(detail).member("request-id", request.id());
    if status == 415 {
        // RFC 9110 §15.5.16.
        problem = problem.with_header("accept-encoding", "identity");
    }
    problem.into()
}

/// What the head of a request says about its body.
struct RequestContent {
    kind: Content,
    /// It has a content type.
    typed: bool,
}

impl RequestContent {
    fn of(request: &Request) -> Self {
        let types = request.header_values("content-type");
        let typed = types.iter().any(|value| !value.trim_ascii().is_empty());
        Self { kind: Content::of(&types, &request.header_values("content-encoding")), typed }
    }
}

/// What the head of a response says about its body.
struct ResponseContent {
    kind: Content,
    is_part: bool,
}

impl ResponseContent {
    fn of(response: &Response) -> Self {
        let kind = Content::of(&response.header_values("content-type"), &response.header_values("content-encoding"));
        Self { kind, is_part: response.status() == 206 || response.header_bytes("content-range").is_some() }
    }

    /// Why the body cannot be edited, if the head says so.
    fn unreadable(&self) -> Option<&'static str> {
        match self.kind {
            _ if self.is_part => Some("it is a part"),
            Content::Other => Some("it is not JSON"),
            Content::Unreadable(why) => Some(why),
            Content::Json => None,
        }
    }
}

impl JsonBody {
    /// Responses are edited if the request asks for such as can be.
    fn forward(&self, request: &Request) -> Result<Decision, Error> {
        if !self.response.is_empty() {
            self.plainly.apply(request, None, [])?;
        }
        Ok(Decision::Next)
    }

    fn edit_request(&self, request: &Request, body: Result<Body, BodyError>) -> Result<Result<(), Refusal>, Error> {
        let body = match body {
            Ok(body) => body,
            Err(BodyError::TooLarge(_)) => return Ok(Err((413, "the body is too large"))),
            Err(error) => return Err(error.into()),
        };
        let content = RequestContent::of(request);
        let text = without_mark(&body.bytes);
        if text.is_empty() {
            return Ok(Ok(()));
        }
        if content.kind != Content::Json {
            return Ok(Err(UNSUPPORTED));
        }
        // RFC 9110 §14.4: a part of a document is none.
        if request.header_bytes("content-range").is_some() {
            return Ok(Err((400, "the body must be a whole document")));
        }
        if is_too_large(text) {
            return Ok(Err((413, "the body has too many values")));
        }
        let Ok(mut document) = serde_json::from_slice::<Value>(text) else {
            let why = if content.typed {
                (400, "the body is not JSON, though its content type says so")
            } else {
                (415, "the body must be JSON")
            };
            return Ok(Err(why));
        };
        if self.request.apply(&mut document, |value| fill(value, request)).is_err() {
            return Ok(Err((422, "the body is not of the shape that this service expects")));
        }
        match request.replace_body(Body { bytes: serde_json::to_vec(&document)?, trailers: body.trailers }) {
            Ok(()) => {}
            Err(BodyError::TooLarge(_)) => return Ok(Err((413, "the body is too large"))),
            Err(error) => return Err(error.into()),
        }
        self.sent_anew.apply(request, None, [])?;
        Ok(Ok(()))
    }

    /// The inner error says why the response cannot be edited.
    fn edit_response(
        &self,
        request: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<Result<(), &'static str>, Error> {
        let body = match body {
            Ok(body) => body,
            Err(BodyError::TooLarge(_)) => return Ok(Err("it is too large")),
            Err(_) => return Ok(Err("it broke off")),
        };
        let text = without_mark(&body.bytes);
        let edited = if text.is_empty() {
            // The answer to a `HEAD`, or a 304: its fields are about a body that nobody gets.
            Vec::new()
        } else if let Some(why) = ResponseContent::of(response).unreadable() {
            return Ok(Err(why));
        } else if is_too_large(text) {
            return Ok(Err("it has too many values"));
        } else {
            let Ok(mut document) = serde_json::from_slice::<Value>(text) else {
                return Ok(Err("it is not JSON, though it may be taken for it"));
            };
            if let Err(why) = self.response.apply(&mut document, |value| fill(value, request)) {
                return Ok(Err(why));
            }
            serde_json::to_vec(&document)?
        };
        if response.replace_body(Body { bytes: edited, trailers: body.trailers }).is_err() {
            return Ok(Err("it is too large when it has been edited"));
        }
        self.edited.apply(request, Some(response), [])?;
        Ok(Ok(()))
    }

    /// The client gets 502 instead of what could not be edited. As the plugin does not fail, `on-error: skip` does not let
    /// the response pass either.
    fn withhold(&mut self, request: &Request, response: &Response, why: &str) -> Result<ResponseDecision, Error> {
        metrics::add("json_body_withheld", 1, &[("route", &request.route())]);
        let now = request.received_at();
        if self.warned_at.is_none_or(|then| now.saturating_sub(then) >= SILENCE_MS) {
            self.warned_at = Some(now);
            plugin_sdk::warn!("a response could not be edited, and is withheld: {why}"; status = response.status());
        }
        let problem = Problem::new(502).detail("the service sent an invalid response");
        let reply: Reply = problem.member("request-id", request.id()).into();
        response.replace_body(reply.body)?;
        response.set_status(502)?;
        self.withheld.apply(request, Some(response), [])?;
        Ok(ResponseDecision::Next)
    }
}

/// Whether it is known, without a look at the body, that there is none (RFC 9110 §6.4.1).
fn is_bodiless(request: &Request, response: &Response) -> bool {
    matches!(response.status(), 204 | 304)
        || response.header_bytes("content-length").is_some_and(|length| length == b"0")
        || request.method() == "HEAD"
}

/// Where a placeholder's value comes from.
fn placeholder(name: &str, request: &Request) -> Option<String> {
    match name.split_once('.') {
        Some(("attribute", key)) => request.attribute(key),
        Some(("header", name)) => request.header(name),
        Some(("path", name)) => request.path_parameter(name),
        Some(("request", "id")) => Some(request.id()),
        Some(("client", "address")) => Some(request.client_address()),
        _ => None,
    }
}

/// A text with its placeholders, and what stands between them.
fn parts(text: &str) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("`{` without `}`")?;
        let known =
            ["attribute.", "header.", "path."].iter().any(|kind| name.len() > kind.len() && name.starts_with(kind));
        if !known && !matches!(name, "request.id" | "client.address") {
            return Err(format!(
                "unknown placeholder `{{{name}}}`; there are attribute.KEY, header.NAME, path.NAME, request.id, client.address"
            ));
        }
        parts.push((before, Some(name)));
        rest = after;
    }
    parts.push((rest, None));
    Ok(parts)
}

fn check(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => parts(text).map(drop),
        Value::Array(values) => values.iter().try_for_each(check),
        Value::Object(members) => members.values().try_for_each(check),
        _ => Ok(()),
    }
}

/// The value with its placeholders' values, which are texts and never more; `None` if one is missing.
fn fill(value: &Value, request: &Request) -> Option<Value> {
    Some(match value {
        Value::String(text) => {
            let mut filled = String::new();
            for (before, name) in parts(text).ok()? {
                filled.push_str(before);
                if let Some(name) = name {
                    filled.push_str(&placeholder(name, request)?);
                }
            }
            filled.into()
        }
        Value::Array(values) => Value::Array(values.iter().map(|value| fill(value, request)).collect::<Option<_>>()?),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| Some((name.clone(), fill(value, request)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}
