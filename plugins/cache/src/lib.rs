//! Keeps responses and gives them again: a shared cache as RFC 9111 has it.
//!
//! The plugin decides; heads and bodies stay in the gateway. `request` is the story of a request that comes, `response`
//! that of a response. What is kept and for how long is decided in `freshness`, what tells requests apart in `key` and
//! `vary`, what a client need not be sent in `preconditions`. `note` is what is written down about a stored response,
//! `memo` what one phase tells the other.

mod config;
mod directives;
mod freshness;
mod key;
mod memo;
mod note;
mod preconditions;
mod request;
mod response;
mod status;
#[cfg(test)]
mod tests;
mod vary;

use plugin_sdk::{
    Decision, Error, Phases, Plugin, Problems, Request, RequestFilter, Response, ResponseDecision, ResponseFilter,
    Selection, cache::Cache, export_plugin,
};

pub use config::Config;
use config::Settings;

/// The plugin.
pub struct Cached {
    settings: Settings,
    bucket: Cache,
    selection: Selection,
    response_selection: Selection,
}

impl Plugin for Cached {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let settings = config.check()?;
        let bucket = Cache::new(settings.bucket.clone());
        let selection = request::selection(&settings);
        let response_selection = response::selection(&settings);
        Ok(Self { settings, bucket, selection, response_selection })
    }

    fn phases(&self) -> Phases {
        Phases { local_cache: !self.settings.shared, ..Phases::default() }
    }
}

impl RequestFilter for Cached {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        request::handle(self, request)
    }
}

impl ResponseFilter for Cached {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        response::handle(self, request, response)?;
        Ok(ResponseDecision::Next)
    }
}

export_plugin!(Cached: request, response);
