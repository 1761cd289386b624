//! `gateway plugin new` and `gateway plugin build`.

use std::path::Path;

use super::{BuildArgs, Failed, NewArgs, complain, print};
use crate::project::{self, Purpose};

pub(super) fn new(args: &NewArgs) -> Result<(), Failed> {
    let folder = project::new(Path::new(""), &args.name, args.lang).map_err(Failed::misunderstood)?;
    print(format_args!(
        "Created {} with a test and a README. Next:\n\n  cd {}\n  gateway plugin build\n  gateway plugin test",
        folder.display(),
        args.name
    ))
}

pub(super) fn build(args: &BuildArgs) -> Result<(), Failed> {
    let built = project::build(&args.folder, Purpose::Use, |line| complain(format_args!("$ {line}")))
        .map_err(Failed::invalid)?;
    let facts = &built.facts;
    let phases =
        [("request", facts.phases.request), ("response", facts.phases.response), ("complete", facts.phases.complete)];
    let phases: Vec<_> = phases.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    print(format_args!(
        "{}: {} {}, {} KiB, phases: {}",
        built.component.display(),
        facts.name,
        facts.version,
        facts.size.div_ceil(1024),
        phases.join(", ")
    ))
}
