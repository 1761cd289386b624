//! A plugin's own counters, gauges and histograms. Names, labels and their number are checked where they are kept.

use wasmtime::Result;

use crate::{bindings::metrics::Host, instance::state::State};

impl Host for State {
    fn add(&mut self, counter: String, by: u64, labels: Vec<(String, String)>) -> Result<()> {
        self.metrics.add(&counter, by, &labels);
        Ok(())
    }

    fn observe(&mut self, histogram: String, value: f64, labels: Vec<(String, String)>) -> Result<()> {
        self.metrics.observe(&histogram, value, &labels);
        Ok(())
    }

    fn set_gauge(&mut self, gauge: String, value: f64, labels: Vec<(String, String)>) -> Result<()> {
        self.metrics.set_gauge(&gauge, value, &labels);
        Ok(())
    }

    fn add_to_gauge(&mut self, gauge: String, by: f64, labels: Vec<(String, String)>) -> Result<()> {
        self.metrics.add_to_gauge(&gauge, by, &labels);
        Ok(())
    }
}
