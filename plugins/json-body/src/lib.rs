//! Edits JSON bodies of requests and responses: values are removed, renamed, moved and set by JSON Pointer.
//!
//! A plugin of its own beside `transform`, because whoever reads bodies has them buffered.

mod edits;
mod pointer;
#[cfg(test)]
mod tests;

use plugin_sdk::{
    BodyError, Decision, Error, Phases, Plugin, Pointer, Problem, Problems, Request, RequestFilter, Response,
    ResponseFilter, export_plugin, json,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use edits::{Edits, EditsConfig};

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
}

impl Plugin for JsonBody {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let request = Edits::read(config.request, &Pointer::from("/request"), &mut problems);
        let response = Edits::read(config.response, &Pointer::from("/response"), &mut problems);
        if problems.is_empty() && request.is_empty() && response.is_empty() {
            problems.add("", "says nothing to do: give `request` or `response` some edits");
        }
        for (side, edits) in [("/request", &request), ("/response", &response)] {
            for (i, (_, value)) in edits.set.iter().enumerate() {
                problems.note(Pointer::from(side).then("set"), check(value).map_err(|why| format!("value {i}: {why}")));
            }
        }
        problems.or(Self { request, response })
    }

    fn phases(&self) -> Phases {
        Phases { request: !self.request.is_empty(), response: !self.response.is_empty(), completion: false }
    }
}

impl RequestFilter for JsonBody {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        if !is_plain_json(request.header("content-type"), request.header("content-encoding")) {
            return Ok(Decision::Next);
        }
        let refuse = |status, detail: &str| {
            let problem = Problem::new(status).detail(detail).member("request-id", request.id());
            Ok(Decision::from(problem))
        };
        let body = match request.read_body() {
            Ok(body) => body,
            Err(BodyError::TooLarge(_)) => return refuse(413, "the body is too large"),
            Err(error) => return Err(error.into()),
        };
        if body.is_empty() {
            return Ok(Decision::Next);
        }
        let Ok(mut document) = serde_json::from_slice::<Value>(&body) else {
            return refuse(400, "the body is not JSON, though its content type says so");
        };
        match self.request.apply(&mut document, |value| fill(value, request)) {
            Ok(()) => {
                request.replace_body(serde_json::to_vec(&document)?)?;
                Ok(Decision::Next)
            }
            Err(_) => refuse(422, "the body is not of the shape that this service expects"),
        }
    }
}

impl ResponseFilter for JsonBody {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error> {
        if !is_plain_json(response.header("content-type"), response.header("content-encoding")) {
            return Ok(());
        }
        let body = response.read_body()?;
        // The answer to a `HEAD`, or a 304.
        if body.is_empty() {
            return Ok(());
        }
        let mut document = serde_json::from_slice::<Value>(&body)
            .map_err(|_| Error::new("the response's body is not JSON, though its content type says so"))?;
        self.response.apply(&mut document, |value| fill(value, request)).map_err(Error::new)?;
        response.replace_body(serde_json::to_vec(&document)?)?;
        // They were of the other body (RFC 9110 §8.8.3, RFC 9530 §2).
        for name in ["etag", "content-digest", "digest", "content-md5"] {
            response.remove_header(name)?;
        }
        Ok(())
    }
}

export_plugin!(JsonBody: request, response);

/// What says nothing of its type is left alone.
fn is_plain_json(content_type: Option<String>, encoding: Option<String>) -> bool {
    content_type.is_some_and(|kind| {
        !kind.trim().is_empty() && json::is_plain(kind.as_bytes(), encoding.unwrap_or_default().trim().as_bytes())
    })
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
