//! What was expected beside what was.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::Value;

use super::{
    Got,
    expect::{Expect, ExpectBody, ExpectCalls, ExpectRequest},
    service::Seen,
    values::ExpectFields,
};

/// What of a long text is shown.
const SHOWN: usize = 200;

/// What happened in a step.
pub(super) struct Happened<'a> {
    /// The requests of the service behind the route.
    pub(super) seen: &'a [Seen],
    /// Those of the other services.
    pub(super) others: &'a BTreeMap<&'a str, Vec<Seen>>,
    /// None if the client disconnected.
    pub(super) got: Option<&'a Got>,
}

/// What is not as expected, each with its place in the case.
pub(super) fn misses(expect: &Expect, happened: &Happened<'_>) -> Vec<String> {
    let mut misses = Misses(Vec::new());
    let seen = happened.seen.last();
    if let Some(answered) = expect.answered {
        misses.compare("answered", &answered.to_string(), &seen.is_none().to_string());
    }
    match (&expect.request, seen) {
        (Some(_), None) => misses.0.push("request: expected that the service is asked, and it was not".to_owned()),
        (Some(expected), Some(seen)) => misses.request("request", expected, seen),
        (None, _) => {}
    }
    for (name, expected) in &expect.services {
        let place = format!("services.{name}");
        match happened.others.get(name.as_str()) {
            Some(calls) => misses.calls(&place, expected, calls),
            None => misses.0.push(format!("{place}: there is no such service in `services`")),
        }
    }
    match (&expect.response, happened.got) {
        (Some(_), None) => {
            misses.0.push("response: the client disconnected or sent no request, so there is none".to_owned())
        }
        (Some(expected), Some(got)) => {
            if let Some(status) = expected.status {
                misses.compare("response.status", &status.to_string(), got.head.status.as_str());
            }
            misses.fields("response", &expected.headers, &got.head.headers);
            misses.body("response", &expected.body(), &got.body);
        }
        (None, _) => {}
    }
    misses.0
}

/// The result of a timer beside the expected one: a part of the error, or none.
pub(super) fn timer_misses(expected: Option<&str>, called: Result<(), String>) -> Vec<String> {
    let mut misses = Misses(Vec::new());
    match (expected, called) {
        (None, Ok(())) => {}
        (None, Err(error)) => misses.0.push(format!("timer: it failed: {error}")),
        (Some(_), Ok(())) => misses.0.push("timer-fails: expected that the timer fails, and it did not".to_owned()),
        (Some(part), Err(error)) if error.contains(part) => {}
        (Some(part), Err(error)) => misses.compare("timer-fails", part, &error),
    }
    misses.0
}

struct Misses(Vec<String>);

impl Misses {
    fn calls(&mut self, place: &str, expected: &ExpectCalls, calls: &[Seen]) {
        match expected {
            ExpectCalls::Times(times) => self.times(place, *times, calls),
            ExpectCalls::InOrder(requests) => {
                self.times(place, requests.len(), calls);
                for (number, (expected, seen)) in requests.iter().zip(calls).enumerate() {
                    self.request(&format!("{place}[{number}]"), expected, seen);
                }
            }
            ExpectCalls::Each(_) if calls.is_empty() => self.0.push(format!("{place}: expected a request, was none")),
            ExpectCalls::Each(expected) => calls.iter().for_each(|seen| self.request(place, expected, seen)),
        }
    }

    fn times(&mut self, place: &str, times: usize, calls: &[Seen]) {
        if times != calls.len() {
            let all = calls.iter().map(|seen| format!("{} {}", seen.head.method, seen.head.uri)).collect::<Vec<_>>();
            let all = if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) };
            self.0.push(format!("{place}: expected {times} requests, was {}{all}", calls.len()));
        }
    }

    fn request(&mut self, place: &str, expected: &ExpectRequest, seen: &Seen) {
        if let Some(method) = &expected.method {
            self.compare(&format!("{place}.method"), method, seen.head.method.as_str());
        }
        if let Some(path) = &expected.path {
            self.compare(&format!("{place}.path"), path, &seen.head.uri.to_string());
        }
        self.fields(place, &expected.headers, &seen.head.headers);
        self.body(place, &expected.body(), &seen.body);
    }

    fn compare(&mut self, what: &str, expected: &str, found: &str) {
        if expected != found {
            self.0.push(format!("{what}: expected {}, was {}", short(expected.as_bytes()), short(found.as_bytes())));
        }
    }

    fn fields(&mut self, whose: &str, expected: &ExpectFields, found: &HeaderMap) {
        for (name, values) in expected.all() {
            let lines: Vec<&[u8]> = found.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
            if lines != values {
                self.0.push(format!("{whose}.headers.{name}: expected {}, was {}", listed(&values), listed(&lines)));
            }
        }
    }

    fn body(&mut self, whose: &str, expected: &ExpectBody<'_>, found: &[u8]) {
        if let Some(body) = expected.body
            && body.0 != found
        {
            self.0.push(format!("{whose}.body: expected {}, was {}", short(&body.0), short(found)));
        }
        if let Some(size) = expected.size
            && size.0 != found.len() as u64
        {
            self.0.push(format!("{whose}.size: expected {} bytes, was {}", size.0, found.len()));
        }
        if let Some(part) = expected.contains
            && !String::from_utf8_lossy(found).contains(part)
        {
            let (part, found) = (short(part.as_bytes()), short(found));
            self.0.push(format!("{whose}.contains: expected {part} in the body, which was {found}"));
        }
        if let Some(expected) = expected.json {
            match serde_json::from_slice::<Value>(found) {
                Ok(found) => self.json(&format!("{whose}.json"), expected, &found),
                Err(error) => {
                    self.0.push(format!("{whose}.json: the body is no JSON: {error}; it was {}", short(found)))
                }
            }
        }
    }

    /// Of an object only what is expected is looked at.
    fn json(&mut self, place: &str, expected: &Value, found: &Value) {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                for (key, value) in expected {
                    let place = format!("{place}.{key}");
                    match found.get(key) {
                        Some(found) => self.json(&place, value, found),
                        None => self.0.push(format!("{place}: expected {value}, was not there")),
                    }
                }
            }
            _ if expected == found => {}
            _ => self.compare(place, &expected.to_string(), &found.to_string()),
        }
    }
}

fn listed(values: &[&[u8]]) -> String {
    match values {
        [] => "none".to_owned(),
        values => values.iter().map(|value| short(value)).collect::<Vec<_>>().join(" and "),
    }
}

/// In quotes, with what a terminal would obey and what is not UTF-8 escaped, and not longer than a line or two.
fn short(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN * 4)]);
    let shown: String = text.chars().take(SHOWN).collect();
    let quoted = match std::str::from_utf8(bytes) {
        Ok(_) => format!("{shown:?}"),
        Err(_) => format!("\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii()),
    };
    if shown.len() < bytes.len() && bytes.len() > SHOWN {
        format!("{quoted} … ({} bytes)", bytes.len())
    } else {
        quoted
    }
}
