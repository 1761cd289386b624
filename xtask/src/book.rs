//! `cargo xtask book`.

use anyhow::Result;

use crate::shell::{self, cargo, target_dir};

pub fn run() -> Result<()> {
    shell::run(cargo().args(["run", "--quiet", "--package", "book", "--"]).arg(target_dir()?.join("book")))
}
