//! `gateway completions` and `gateway man`: what a package brings along.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failed, print};

pub(super) fn completions(shell: Shell) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gateway", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// One page for the command and one for each command below it.
pub(super) fn pages(folder: &Path) -> Result<(), Failed> {
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|error| Failed::Stopped(format!("{}: {error}", folder.display())))
}
