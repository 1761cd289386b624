//! Does what its configuration says with things that have to be waited for.

use std::{hint::black_box, thread, time::Duration};

use plugin_sdk::{
    Body, BodyError, Decision, Error, MessageFilter, Plugin, Problems, Reply, Request, RequestBodyFilter,
    RequestFilter, Response, ResponseBodyFilter, ResponseDecision, ResponseFilter, export_plugin,
    http_client::Call,
    messages::{Message, MessageResult, Sender},
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "do")]
    deed: Deed,
    /// The upstream to call.
    #[serde(default)]
    upstream: String,
    #[serde(default = "second")]
    timeout_ms: u64,
}

fn second() -> u64 {
    1000
}

#[derive(Clone, Copy, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Calls the upstream and answers with what it says, or with 599 and the error.
    CallUpstream,
    /// Says the length of the request's body in `x-length`, or the error; and in the response's `x-length`, why the request's body
    /// can no longer be replaced.
    ReadRequest,
    /// Says the length of the response's body in `x-length`, or the error.
    ReadResponse,
    /// Replaces the bodies of both.
    Replace,
    /// Reads the body, and replaces it with one byte changed.
    Flip,
    /// Reads the body, replaces it, and then traps.
    ReplaceThenTrap,
    /// Sleeps for `timeout-ms`.
    Sleep,
    Loop,
    Count,
    /// Calls the upstream for each message of a client, and sends on what it says.
    CallForMessages,
}

struct Waiter {
    config: Config,
    calls: u32,
}

impl Plugin for Waiter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        Ok(Self { config, calls: 0 })
    }
}

impl RequestFilter for Waiter {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        self.calls += 1;
        match self.config.deed {
            Deed::CallUpstream => {
                let timeout = Duration::from_millis(self.config.timeout_ms);
                let call = Call::get(&self.config.upstream, "/from-plugin").with_timeout(timeout).send();
                return Ok(call.unwrap_or_else(|error| Reply::new(599).with_text(error.to_string())).into());
            }
            Deed::ReadRequest | Deed::Flip | Deed::ReplaceThenTrap => return Ok(Decision::ReadBody),
            Deed::Replace => request.replace_body("replaced")?,
            Deed::Sleep => thread::sleep(Duration::from_millis(self.config.timeout_ms)),
            Deed::Loop => {
                let mut turns = 0_u64;
                loop {
                    turns = black_box(turns.wrapping_add(1));
                }
            }
            Deed::Count => request.set_header("x-calls", self.calls.to_string())?,
            Deed::ReadResponse | Deed::CallForMessages => {}
        }
        Ok(Decision::Next)
    }
}

impl RequestBodyFilter for Waiter {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        if let Deed::Flip = self.config.deed {
            let mut bytes = body?.bytes;
            if let Some(first) = bytes.first_mut() {
                *first = b'!';
            }
            request.replace_body(bytes)?;
            return Ok(Decision::Next);
        }
        if let Deed::ReplaceThenTrap = self.config.deed {
            body?;
            request.replace_body("replaced")?;
            panic!("after the replacement");
        }
        request.set_header("x-length", length(body))?;
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Waiter {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        match self.config.deed {
            Deed::ReadRequest => {
                // Already on its way.
                let replaced = request.replace_body("late");
                response.set_header("x-length", replaced.map_or_else(|error| error.to_string(), |()| String::new()))?;
            }
            Deed::ReadResponse => return Ok(ResponseDecision::ReadBody),
            Deed::Replace => response.replace_body("replaced")?,
            Deed::CallForMessages => return Ok(ResponseDecision::StreamMessages(Vec::new())),
            _ => {}
        }
        Ok(ResponseDecision::Next)
    }
}

impl ResponseBodyFilter for Waiter {
    fn on_response_body(
        &mut self,
        _: &Request,
        response: &Response,
        body: Result<Body, BodyError>,
    ) -> Result<ResponseDecision, Error> {
        response.set_header("x-length", length(body))?;
        Ok(ResponseDecision::Next)
    }
}

impl MessageFilter for Waiter {
    fn on_message(&mut self, sender: Sender, _: Message, _: &[u8]) -> Result<MessageResult, Error> {
        if sender == Sender::Upstream {
            return Ok(MessageResult::pass());
        }
        let reply = Call::get(&self.config.upstream, "/from-plugin").send()?;
        Ok(MessageResult::replace(String::from_utf8_lossy(&reply.body).into_owned()))
    }
}

fn length(body: Result<Body, BodyError>) -> String {
    body.map_or_else(|error| error.to_string(), |body| body.bytes.len().to_string())
}

export_plugin!(Waiter: request, request_body, response, response_body, messages);
