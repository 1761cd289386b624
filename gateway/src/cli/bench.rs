//! `gateway plugin bench`.

use std::{fs, time::Duration};

use gateway_wasm::CodeCache;
use serde_json::json;

use super::{BenchArgs, Failed, print, trial::found};
use crate::trial::{Cost, cost};

pub(super) fn bench(args: &BenchArgs) -> Result<(), Failed> {
    let (cases, component) = found(&args.cases)?;
    let bytes = fs::read(&component).map_err(|error| Failed::Invalid(format!("{}: {error}", component.display())))?;
    let wanted = |name: &str| args.cases.only.as_deref().is_none_or(|part| name.contains(part));
    let measured = cost(&bytes, &cases, wanted, &CodeCache::Off).map_err(Failed::invalid)?;
    if measured.calls.is_empty() {
        return Err(Failed::Misunderstood("no case has such a name".to_owned()));
    }
    if args.json { print(as_json(&measured, bytes.len())) } else { print(as_text(&measured, bytes.len()).trim_end()) }
}

/// In microseconds, with a decimal where it tells anything.
pub(super) fn micros(time: Duration) -> String {
    let micros = time.as_nanos() as f64 / 1000.0;
    if micros < 10.0 { format!("{micros:.1}") } else { format!("{micros:.0}") }
}

/// In microseconds, for machines.
pub(super) fn as_number(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn as_text(cost: &Cost, size: usize) -> String {
    let mut text = format!(
        "size      {} KiB\ncompiled  in {} ms, once: what is compiled is kept\nready     in {} µs: an instance is made, configured and called",
        size.div_ceil(1024),
        cost.compiled.as_millis(),
        micros(cost.started),
    );
    let touched = cost.resident.map(|bytes| format!(", of which {} KiB are touched", bytes.div_ceil(1024)));
    let linear = cost.memory.div_ceil(1024);
    text.push_str(&format!("\nmemory    {linear} KiB for each instance{}\n", touched.unwrap_or_default()));
    text.push_str(&format!("\nCalls of a warm instance; one that does nothing takes {} µs:\n\n", micros(cost.nothing)));
    text.push_str("    median   fastest  µs\n");
    for call in &cost.calls {
        let line = format!("  {:>8}  {:>8}  {}: {}", micros(call.median), micros(call.fastest), call.phase, call.name);
        text.push_str(&line);
        text.push('\n');
        if let Some(failure) = &call.failure {
            text.push_str(&format!("                      it failed: {failure}\n"));
        }
    }
    text
}

fn as_json(cost: &Cost, size: usize) -> serde_json::Value {
    let call = |call: &crate::trial::Call| {
        json!({
            "case": call.name,
            "phase": call.phase,
            "median-us": as_number(call.median),
            "fastest-us": as_number(call.fastest),
            "failure": call.failure,
        })
    };
    json!({
        "size": size,
        "compiled-ms": cost.compiled.as_millis() as u64,
        "ready-us": as_number(cost.started),
        "memory": cost.memory,
        "touched": cost.resident,
        "nothing-us": as_number(cost.nothing),
        "calls": cost.calls.iter().map(call).collect::<Vec<_>>(),
    })
}
