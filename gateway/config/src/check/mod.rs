//! From what was typed to what it means, with every problem on the way. First the shape, against the JSON
//! Schema; then what no schema can say. What is broken in its shape is left out of the second step, and
//! everything else is still checked, so that one run shows all there is to mend.

mod action;
mod admin;
mod certificates;
mod data_grants;
mod files;
mod from_plugin;
mod headers;
mod health;
mod itself;
mod listeners;
mod names;
mod order;
mod overlap;
mod paths;
mod plugins;
mod range;
mod readings;
mod report;
mod resilience;
mod routes;
mod settings;
mod shape;
mod stage;
mod state;
mod tracing;
mod unkeyed;
mod upstreams;

pub(crate) use names::cut;
pub use settings::log_level;

use std::{
    collections::HashSet,
    fs,
    io::Read,
    path::Path,
    sync::{Arc, LazyLock},
    thread,
};

use gateway_core::model::{Config, Dns};
use jsonschema::Validator;
use serde_json::{Map, Value};

use self::{
    plugins::Plugins,
    report::{CheckResult, Report},
    shape::{Misfit, What},
};
use crate::{
    catalog::Catalog,
    file::File,
    problem::Problems,
    schema,
    sensitive::{Redaction, Sensitive},
    yaml::{self, MAX_BYTES},
};

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<String, Problems> {
    let cannot = |reason: &str| Problems::whole(path, format!("cannot read the configuration: {reason}"));
    let file = fs::File::open(path).map_err(|e| cannot(&files::reason(&e)))?;
    let mut bytes = Vec::new();
    // One more than allowed, so that the check for the size sees it.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| cannot(&files::reason(&e)))?;
    String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8"))
}

/// A configuration without problems, and what is known of its text.
#[derive(Debug)]
pub struct Checked {
    pub config: Config,
    /// What is allowed and makes no sense, each with its place in the file.
    pub warnings: Problems,
    /// What distinguishes its secrets from other values, wherever its text is shown.
    pub sensitive: Arc<Sensitive>,
}

/// Reads and checks a configuration file.
#[cfg(test)]
pub fn load(path: &Path, catalog: &mut dyn Catalog) -> Result<Checked, Problems> {
    check(&read(path)?, path, catalog)
}

/// Checks a configuration. `path` names it in messages, and its folder is what relative paths in it are
/// relative to.
pub fn check(text: &str, path: &Path, catalog: &mut dyn Catalog) -> Result<Checked, Problems> {
    let (config, outcome) = looked_at(text, path, |file, report| meaning(file, catalog, report))?;
    match config {
        Some(mut config) if outcome.problems.is_empty() => {
            config.files_read = outcome.files;
            let warnings = match outcome.warnings {
                none if none.is_empty() => Problems::default(),
                warnings => Problems::new(path, &Redaction::of_text(text, &outcome.sensitive), warnings),
            };
            Ok(Checked { config, warnings, sensitive: Arc::new(outcome.sensitive) })
        }
        _ => {
            let problems = Problems::new(path, &Redaction::of_text(text, &outcome.sensitive), outcome.problems);
            Err(problems.with_files(outcome.files))
        }
    }
}

/// Looks at the components that a configuration defines, and at nothing else of it that has the right shape.
pub fn definitions(text: &str, path: &Path, catalog: &mut dyn Catalog) -> Result<(), Problems> {
    let (_, outcome) = looked_at(text, path, |file, report| Some(Plugins::new(file, catalog, report).used()))?;
    match &outcome.problems[..] {
        [] => Ok(()),
        _ => Err(Problems::new(path, &Redaction::of_text(text, &outcome.sensitive), outcome.problems)),
    }
}

/// What a text is as a file, and what was found out about it.
fn looked_at<T>(
    text: &str,
    path: &Path,
    look: impl FnOnce(&File, &mut Report<'_>) -> Option<T>,
) -> Result<(Option<T>, CheckResult), Problems> {
    let failed = |problems| {
        let redaction = Redaction::of_any_text(text, &Sensitive::default(), |word| WORDS.contains(word));
        Problems::new(path, &redaction, problems)
    };
    let tree = yaml::parse(text).map_err(failed)?;
    let mut report = Report::new(&tree, path.parent().unwrap_or(Path::new("")));
    let mut json = tree.to_json();
    if json.is_null() {
        // An empty file lacks what is required, like any other.
        json = Value::Object(Map::new());
    }
    shape(&mut json, &mut report);
    let found = match serde_json::from_value::<File>(json) {
        Ok(file) => {
            report.sensitive = Sensitive::new(file.secrets.keys().cloned());
            look(&file, &mut report)
        }
        Err(error) => {
            if report.is_clean() {
                report.value("", error.to_string());
            }
            None
        }
    };
    Ok((found, report.into_result()))
}

/// The schema of the file, compiled once.
static SCHEMA: LazyLock<(Value, Validator)> = LazyLock::new(|| {
    let schema = schema::base();
    let validator = range::validator(&schema).expect("a test compiles this schema");
    (schema, validator)
});

/// The keys of the file, without those that users choose.
static WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    fn keys(schema: &Value, words: &mut HashSet<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            words.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(map) => map.values().for_each(|value| keys(value, words)),
            Value::Array(items) => items.iter().for_each(|item| keys(item, words)),
            _ => {}
        }
    }
    let mut words = HashSet::new();
    keys(&SCHEMA.0, &mut words);
    words
});

/// Reports all that does not fit the schema, and prepares the rest for the typed step.
fn shape(json: &mut Value, report: &mut Report<'_>) {
    let (schema, validator) = &*SCHEMA;
    for misfit in shape::misfits(validator, schema, json) {
        let said_elsewhere = misfit.is_said_elsewhere();
        let Misfit { pointer, message, on_key, what } = misfit;
        match on_key {
            _ if said_elsewhere => {}
            true => report.key(&pointer, message),
            false => report.value(&pointer, message),
        }
        let (parent, token) = pointer.rsplit_once('/').unwrap_or_default();
        match what {
            What::UnknownKey(_) => remove(json, parent, token),
            // Null fits no type: what lacks the key becomes a broken part.
            What::MissingKey { key, .. } if !pointer.is_empty() => {
                if let Some(Value::Object(map)) = json.pointer_mut(&pointer) {
                    map.insert(key, Value::Null);
                }
            }
            // All that is said of other values still holds.
            What::OutOfRange(nearest) => {
                if let Some(value) = json.pointer_mut(&pointer) {
                    *value = Value::String(nearest);
                }
            }
            // Where everything has a default, the others can still be checked.
            What::Other if parent.is_empty() => remove(json, parent, token),
            What::Other => {
                if let Some((parent, token)) = with_default(&pointer) {
                    remove(json, parent, token);
                }
            }
            What::MissingKey { .. } => {}
        }
    }
}

/// The value that this one is or belongs to, if it can be left out: parent and key of a key of a part in which nothing is required.
fn with_default(pointer: &str) -> Option<(&str, &str)> {
    let slashes = pointer.match_indices('/').map(|(at, _)| at).skip(1);
    slashes.map(|at| pointer.split_at(at)).find_map(|(part, rest)| {
        let tokens: Vec<&str> = part.split('/').skip(1).collect();
        let has_defaults = matches!(
            tokens[..],
            ["log" | "paths" | "limits" | "timeouts"]
                | ["routes", _, "paths" | "limits" | "timeouts"]
                | ["plugins", _, "limits"]
                | ["upstreams", _, "limits" | "timeouts" | "retry" | "circuit-breaker"]
        );
        has_defaults.then(|| (part, rest[1..].split('/').next().unwrap_or_default()))
    })
}

fn remove(json: &mut Value, parent: &str, token: &str) {
    if let Some(Value::Object(map)) = json.pointer_mut(parent) {
        map.shift_remove(&token.replace("~1", "/").replace("~0", "~"));
    }
}

/// Where something is missing, the report says so.
fn meaning(file: &File, catalog: &mut dyn Catalog, report: &mut Report<'_>) -> Option<Config> {
    let listeners = listeners::listeners(file, report);
    let secrets = settings::secrets(file, report);
    let admin = admin::admin(file, &listeners, &secrets, report);
    let log = settings::log(file, report);
    let trusted_proxies = settings::trusted_proxies(file, report);
    let paths = settings::paths(file, report);
    let limits = settings::limits(file, report);
    let timeouts = settings::timeouts(file, report);
    let sinks = settings::sinks(file, report);
    let state = state::state(file, report);
    let dns = settings::dns(file, report);
    let upstreams = upstreams::upstreams(file, report);
    itself::warn(&listeners, admin.as_ref(), &upstreams, report);
    let files = settings::files(file, &upstreams, report);
    for (name, why) in catalog.may_read(&secrets, &files, dns.as_ref().unwrap_or(&Dns::default())) {
        report.value(&yaml::join(&yaml::join("/files", &name), "reflection"), why);
    }
    let tracing = tracing::tracing(file, &upstreams, &secrets, report);
    let mut plugins = Plugins::new(file, catalog, report);
    let global_plugins = plugins.list(&file.global_plugins, "/global-plugins", report);
    let mut context = routes::Context {
        listeners: &listeners,
        upstreams: &upstreams,
        plugins: &mut plugins,
        global_plugins: &global_plugins,
        limits: &limits,
        timeouts: &timeouts,
        paths: paths.unwrap_or_default(),
    };
    let routes = routes::routes(file, &mut context, report);
    paths?;
    Some(Config {
        workers: file.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)),
        listeners,
        admin,
        log: log?,
        tracing,
        trusted_proxies,
        limits,
        timeouts,
        secrets,
        files,
        sinks,
        state: state?,
        dns: dns?,
        upstreams,
        plugins: plugins.used(),
        global_plugins,
        routes,
        files_read: Vec::new(),
    })
}
