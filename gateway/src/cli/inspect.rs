//! `gateway plugin inspect`.

use std::{collections::BTreeMap, fmt::Write, fs};

use gateway_core::model::{Data, DataAccess};
use gateway_wasm::{CodeCache, Facts, TimerSettings};
use serde_json::json;

use super::{
    Failed, InspectArgs,
    bench::{as_number, micros},
    print,
};
use crate::{
    app,
    trial::{self, Cases, Cost},
};

pub(super) fn inspect(args: &InspectArgs) -> Result<(), Failed> {
    let facts = app::inspect(&args.file).map_err(Failed::invalid)?;
    let cost = costs(args)?;
    if args.json {
        print(format_args!("{:#}", as_json(&facts, cost.as_ref())))
    } else {
        print(as_text(&facts, cost.as_ref()).trim_end())
    }
}

/// What it costs, with a configuration that is typed or that it can do without; `None` if it cannot.
fn costs(args: &InspectArgs) -> Result<Option<Cost>, Failed> {
    let config = match &args.config {
        None => None,
        Some(typed) => {
            let read = serde_yaml::from_str(typed);
            Some(read.map_err(|error| Failed::Misunderstood(format!("--config: {error}")))?)
        }
    };
    let bytes = match app::standard_component(&args.file).map_err(Failed::invalid)? {
        Some(bytes) => bytes.to_vec(),
        None => fs::read(&args.file)?,
    };
    match trial::cost(&bytes, &Cases::bare(config), |_| true, &CodeCache::User) {
        Ok(cost) => Ok(Some(cost)),
        Err(why) if args.config.is_some() => Err(Failed::invalid(why)),
        Err(_) => Ok(None),
    }
}

fn phases(facts: &Facts) -> Vec<&'static str> {
    let all =
        [("request", facts.phases.request), ("response", facts.phases.response), ("complete", facts.phases.complete)];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// The timers with the configuration that was given, in words.
pub(super) fn timers(timers: &[TimerSettings]) -> String {
    let timers = timers.iter().map(|TimerSettings { name, interval }| format!("{name} every {interval:?}"));
    timers.collect::<Vec<_>>().join(", ")
}

/// What each interface lets a plugin do, and whether the operator has to grant it.
const CAPABILITIES: [(&str, &str); 20] = [
    ("gateway:plugin/http@", "read and change the heads of requests and responses"),
    ("gateway:plugin/log@", "write to the gateway's log"),
    ("gateway:plugin/metrics@", "count and measure"),
    ("gateway:plugin/crypto@", "sign, verify and encrypt, also with secrets that are granted, and verify passwords"),
    ("gateway:plugin/sinks@", "write lines to sinks that are granted"),
    ("gateway:plugin/store@", "keep state in buckets that are granted"),
    ("gateway:plugin/http-client@", "call upstreams that are granted"),
    ("gateway:plugin/upstreams@", "choose the upstream of a request among those that are granted"),
    ("gateway:plugin/tcp@", "connect to TCP upstreams that are granted"),
    ("gateway:plugin/documents@", "look into documents of upstreams that are granted"),
    ("gateway:plugin/cache@", "keep responses in buckets that are granted"),
    ("gateway:plugin/secrets@", "read secrets that are granted"),
    ("gateway:plugin/files@", "read files that are granted"),
    ("gateway:plugin/bodies@", "replace bodies"),
    ("gateway:plugin/request-body-filter@", "read whole request bodies"),
    ("gateway:plugin/request-stream@", "read and change request bodies as they pass"),
    ("gateway:plugin/response-body-filter@", "read whole response bodies"),
    ("gateway:plugin/response-stream@", "read and change response bodies as they pass"),
    ("gateway:plugin/message-filter@", "read, change and answer the messages of WebSockets and event streams"),
    ("wasi:", "its language's runtime; no files, no sockets, no environment"),
];

fn capability(interface: &str) -> &'static str {
    CAPABILITIES.iter().find(|(prefix, _)| interface.starts_with(prefix)).map_or("", |(_, what)| what)
}

/// What it can read and write, by the keys of `grants`.
fn data(facts: &Facts) -> Vec<(&'static str, Vec<&'static str>)> {
    let bodies = [
        (Data::RequestBody, ["read request", "write request"]),
        (Data::ResponseBody, ["read response", "write response"]),
    ];
    let named = [Data::RequestHeaders, Data::ResponseHeaders, Data::Attributes];
    let of = |data: Data, words: [&'static str; 2]| {
        DataAccess::ALL
            .into_iter()
            .zip(words)
            .filter(move |(access, _)| facts.data.has(data, *access))
            .map(|(_, word)| word)
    };
    let mut all: Vec<_> =
        named.into_iter().map(|data| (data.name(), of(data, ["read", "write"]).collect::<Vec<_>>())).collect();
    all.push(("body", bodies.into_iter().flat_map(|(data, words)| of(data, words)).collect()));
    all.retain(|(_, access)| !access.is_empty());
    all
}

fn as_text(facts: &Facts, cost: Option<&Cost>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", facts.name, facts.version);
    if !facts.description.is_empty() {
        let _ = writeln!(text, "{}", facts.description);
    }
    let _ = writeln!(text, "\nsize     {} KiB", facts.size.div_ceil(1024));
    let _ = writeln!(text, "sha256   {}", facts.digest);
    let _ = writeln!(text, "phases   {}", phases(facts).join(", "));
    if facts.timers {
        let timers = match cost.map(|cost| &*cost.timers) {
            None => "unknown without a configuration".to_owned(),
            Some([]) => "none with this configuration".to_owned(),
            Some(all) => timers(all),
        };
        let _ = writeln!(text, "timers   {timers}");
    }
    let _ = writeln!(text, "calls    {}", facts.waits.describe());
    match cost {
        None => text.push_str("costs    unknown without a configuration: --config 'YAML' gives one\n"),
        Some(cost) => {
            let _ =
                writeln!(text, "ready    in {} µs: an instance is made, configured and called", micros(cost.started));
            let linear = cost.memory.div_ceil(1024);
            let touched = cost.resident.map(|bytes| format!(", of which {} KiB are touched", bytes.div_ceil(1024)));
            let _ = writeln!(text, "memory   {linear} KiB for each instance{}", touched.unwrap_or_default());
            for call in &cost.calls {
                let (median, nothing) = (micros(call.median), micros(cost.nothing));
                let failed = call.failure.as_ref().map(|why| format!("; it failed: {why}")).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "costs    {median} µs for {} of `{}`, where one that does nothing takes {nothing}{failed}",
                    call.phase, call.name
                );
            }
        }
    }
    let _ = writeln!(text, "\nIt can:");
    for (interface, functions) in &facts.imports {
        let _ = writeln!(text, "  {interface}  {}", capability(interface));
        if !interface.starts_with("wasi:") && !functions.is_empty() {
            let _ = writeln!(text, "      {}", functions.join(", "));
        }
    }
    for interface in &facts.body_exports {
        let _ = writeln!(text, "  {interface}  {}", capability(interface));
    }
    let data = data(facts);
    if !data.is_empty() {
        text.push_str("\nData of requests and responses that it can access, unless `grants` limit it:\n");
        for (key, access) in data {
            let _ = writeln!(text, "  {key}: {}", access.join(", "));
        }
    }
    let wants = [
        ("upstreams", facts.wants.upstreams),
        ("store", facts.wants.store),
        ("secrets", facts.wants.secrets),
        ("files", facts.wants.files),
        ("sinks", facts.wants.sinks),
    ];
    let wanted: Vec<_> =
        wants.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| format!("{name}: [NAME]")).collect();
    match wanted.as_slice() {
        [] => text.push_str("\nIt needs no grants.\n"),
        wanted => {
            let _ = writeln!(text, "\nIt needs `grants: {{ {} }}`.", wanted.join(", "));
        }
    }
    match &facts.config_schema {
        Some(schema) => {
            let _ = writeln!(text, "\nJSON Schema of its configuration:\n{schema:#}");
        }
        None => text.push_str("\nIt takes no configuration.\n"),
    }
    text
}

fn as_json(facts: &Facts, cost: Option<&Cost>) -> serde_json::Value {
    json!({
        "name": facts.name,
        "version": facts.version,
        "description": facts.description,
        "size": facts.size,
        "sha256": facts.digest,
        "phases": phases(facts),
        "timers": cost.filter(|_| facts.timers).map(|cost| cost.timers.iter().map(|timer| json!({
            "name": timer.name, "interval-ms": timer.interval.as_millis() as u64,
        })).collect::<Vec<_>>()),
        "calls": facts.waits.describe(),
        "imports": facts.imports,
        "bodies": facts.body_exports,
        "data": data(facts).into_iter().collect::<BTreeMap<_, _>>(),
        "grants": {
            "upstreams": facts.wants.upstreams,
            "store": facts.wants.store,
            "secrets": facts.wants.secrets,
            "files": facts.wants.files,
            "sinks": facts.wants.sinks,
        },
        "config-schema": facts.config_schema,
        "costs": cost.map(|cost| json!({
            "ready-us": as_number(cost.started),
            "memory": cost.memory,
            "touched": cost.resident,
            "nothing-us": as_number(cost.nothing),
            "calls": cost.calls.iter().map(|call| json!({
                "phase": call.phase, "median-us": as_number(call.median), "failure": call.failure,
            })).collect::<Vec<_>>(),
        })),
    })
}
