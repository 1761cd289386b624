//! Does what its configuration says with things that have to be waited for.

use std::{hint::black_box, thread, time::Duration};

use plugin_sdk::{
    Decision, Error, Plugin, Problems, Reply, Request, RequestFilter, Response, ResponseFilter, export_plugin,
    http_client::Call,
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
    /// Says the length of the request's body in `x-length`, or the error.
    ReadRequest,
    /// Says the length of the response's body in `x-length`, or the error.
    ReadResponse,
    /// Replaces the bodies of both.
    Replace,
    /// Reads the body, replaces it, and then traps.
    ReplaceThenTrap,
    /// Sleeps for `timeout-ms`.
    Sleep,
    Loop,
    Count,
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
            Deed::ReadRequest => {
                let text = request.read_body().map_or_else(|error| error.to_string(), |body| body.len().to_string());
                request.set_header("x-length", text)?;
            }
            Deed::Replace => request.replace_body("replaced")?,
            Deed::ReplaceThenTrap => {
                request.read_body()?;
                request.replace_body("replaced")?;
                panic!("after the replacement");
            }
            Deed::Sleep => thread::sleep(Duration::from_millis(self.config.timeout_ms)),
            Deed::Loop => {
                let mut turns = 0_u64;
                loop {
                    turns = black_box(turns.wrapping_add(1));
                }
            }
            Deed::Count => request.set_header("x-calls", self.calls.to_string())?,
            Deed::ReadResponse => {}
        }
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Waiter {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error> {
        match self.config.deed {
            Deed::ReadRequest => {
                // Already on its way.
                let text = request.read_body().map_or_else(|error| error.to_string(), |body| body.len().to_string());
                response.set_header("x-length", text)?;
            }
            Deed::ReadResponse => {
                let text = response.read_body().map_or_else(|error| error.to_string(), |body| body.len().to_string());
                response.set_header("x-length", text)?;
            }
            Deed::Replace => response.replace_body("replaced")?,
            _ => {}
        }
        Ok(())
    }
}

export_plugin!(Waiter: request, response);
