//! Lines to where the operator said.

use gateway_telemetry::sinks::Refused;
use wasmtime::Result;

use crate::{
    bindings::sinks::{Host, SinkError},
    instance::state::State,
};

impl Host for State {
    fn write(&mut self, sink: String, line: Vec<u8>) -> Result<std::result::Result<(), SinkError>> {
        if !self.identity.grants.sinks.allows(&sink) {
            return Ok(Err(SinkError::Denied(sink)));
        }
        Ok(self.services()?.shared.sinks.write(&sink, &line).map_err(|refused| match refused {
            Refused::Unknown => SinkError::Denied(sink),
            Refused::Dropped => SinkError::Dropped,
        }))
    }
}
