//! `gateway plugin test`.

use std::path::{Path, PathBuf};

use gateway_core::model::{Log, LogFormat};
use gateway_telemetry::logging::CapturedLog;

use super::{CasesArgs, Failed, Logging, TestArgs, print, run::overrides};
use crate::trial::{self, Cases};

/// Where cases are, if the command line does not say.
const USUAL: &str = "tests/cases.yaml";
/// What is kept of a case's log: all that the plugin logs, and what the gateway warns of.
const LEVEL: &str = "warn,gateway::plugin=trace";

pub(super) fn test(args: &TestArgs, logging: &Logging) -> Result<(), Failed> {
    let (mut cases, component) = found(&args.cases)?;
    if let Some(url) = &args.redis {
        cases.keep_in_redis(url);
    }
    let wanted = |name: &str| args.cases.only.as_deref().is_none_or(|part| name.contains(part));
    // A process has one log, and each case takes its lines from it.
    let asked = overrides(logging);
    let shown = asked.level.is_some();
    let level = asked.level.unwrap_or_else(|| LEVEL.to_owned());
    let log = Log { format: asked.format.unwrap_or(LogFormat::Text), level };
    let log = CapturedLog::start(&log, shown).map_err(|error| Failed::Misunderstood(error.to_string()))?;
    let mut failed = 0;
    let mut run = 0;
    for case in cases.cases.iter().filter(|case| wanted(&case.name)) {
        let outcome = trial::run(&cases, case, &component);
        let logged = log.take();
        let outcome = outcome.inspect_err(|_| {
            if !shown {
                eprint!("{logged}");
            }
        })?;
        run += 1;
        let took = outcome.took.as_millis();
        if outcome.misses.is_empty() {
            print(format_args!("ok      {} ({took} ms)", outcome.name))?;
            continue;
        }
        failed += 1;
        print(format_args!("FAILED  {} ({took} ms)", outcome.name))?;
        for miss in outcome.misses {
            print(format_args!("        {miss}"))?;
        }
        for line in logged.lines() {
            print(format_args!("        log: {line}"))?;
        }
    }
    match (run, failed) {
        (0, _) => Err(Failed::Misunderstood("no case has such a name".to_owned())),
        (run, 0) => print(format_args!("\n{run} of {run} cases are as expected")),
        (run, failed) => {
            print(format_args!("\n{} of {run} cases are as expected", run - failed))?;
            Err(Failed::NotAsExpected)
        }
    }
}

/// The cases of a file, or of the usual one in a folder, and the component: the one that is typed, or that the file names.
pub(super) fn found(args: &CasesArgs) -> Result<(Cases, PathBuf), Failed> {
    let file = if args.cases.is_dir() { args.cases.join(USUAL) } else { args.cases.clone() };
    if !file.is_file() {
        return Err(Failed::Misunderstood(format!("there is no file {}", file.display())));
    }
    let cases = Cases::read(&file).map_err(Failed::invalid)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let component = match (&args.component, &cases.component) {
        (Some(component), _) => component.clone(),
        (None, Some(component)) => folder.join(component),
        (None, None) => {
            let why = format!("{}: say `component`, or give it with --component", file.display());
            return Err(Failed::Misunderstood(why));
        }
    };
    if !component.exists() {
        return Err(Failed::Invalid(format!("{}: there is no such file; build it first", component.display())));
    }
    Ok((cases, component))
}
