//! Writes one line for each exchange to a sink, whatever ended it.
//!
//! Whatever clients, upstreams and plugins choose is escaped where it is written (`escape`), so that one exchange
//! is one line and no value can pass for another.

mod common;
mod config;
mod digits;
mod escape;
mod json;
mod redact;
mod source;
mod time;

use plugin_sdk::{
    Observer, Outcome, Plugin, Problems, Request, Response, export_plugin,
    sinks::{self, SinkError},
    warn,
};

use crate::{
    common::Common,
    config::{Config, Format},
    json::Json,
};

struct AccessLog {
    sink: String,
    /// One exchange in so many, of those that went well.
    sample: u64,
    layout: Layout,
    /// The line under construction; kept, so that a warm instance does not allocate for it.
    line: Vec<u8>,
    /// A sink that is not there is said once, not once a request.
    warned: bool,
}

enum Layout {
    Json(Json),
    Common(Common),
}

/// What an exchange was and how it ended.
struct Facts<'a> {
    request: &'a Request,
    outcome: &'a Outcome,
}

impl Facts<'_> {
    fn went_well(&self) -> bool {
        self.outcome.failure.is_none() && self.status() < 400
    }

    /// The status, or nginx's 499 for a client that left before there was one.
    fn status(&self) -> u16 {
        self.outcome.status.unwrap_or(499)
    }
}

impl AccessLog {
    /// By the identifier alone, so that all gateways that an exchange passes with it draw alike.
    fn is_drawn(&self, request: &Request) -> bool {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = request.id().bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        // The low bits of this hash (FNV-1a) are those of the last bytes alone.
        (hash ^ hash >> 32).is_multiple_of(self.sample)
    }
}

impl Plugin for AccessLog {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.sink.is_empty() {
            problems.add("/sink", "names no sink");
        }
        let layout = match config.format {
            Format::Json => Layout::Json(Json::new(&config, &mut problems)),
            Format::Common => Layout::Common(Common::new(&config, false, &mut problems)),
            Format::Combined => Layout::Common(Common::new(&config, true, &mut problems)),
        };
        let sample = config.sample.get().into();
        problems.or(Self { sink: config.sink, sample, layout, line: Vec::with_capacity(512), warned: false })
    }
}

impl Observer for AccessLog {
    fn on_complete(&mut self, request: &Request, response: Option<&Response>, outcome: &Outcome) {
        let facts = Facts { request, outcome };
        if self.sample > 1 && facts.went_well() && !self.is_drawn(request) {
            return;
        }
        self.line.clear();
        let values = match &self.layout {
            Layout::Json(json) => json.read(request, response),
            Layout::Common(common) => common.read(request, response),
        };
        match &self.layout {
            Layout::Json(json) => json.write(&facts, &values, &mut self.line),
            Layout::Common(common) => common.write(&facts, &values, &mut self.line),
        }
        // A full sink is counted by the gateway.
        if let Err(error @ SinkError::Denied(_)) = sinks::write(&self.sink, &self.line)
            && !self.warned
        {
            self.warned = true;
            warn!("nothing is logged: {error}");
        }
    }
}

export_plugin!(AccessLog: observe);

#[cfg(test)]
mod tests;
