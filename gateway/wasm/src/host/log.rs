//! Lines for the gateway's own log.

use wasmtime::Result;

use crate::{
    bindings::log::{Host, Level},
    instance::state::State,
};

impl Host for State {
    fn emit(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let (output, speaker) = self.speak();
        output.log(speaker, level, &message, &fields);
        Ok(())
    }
}
