//! The page of the examples, with the text of each configuration. Each is run by a test of its own.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

/// `examples/README.md`, and the text of each configuration that it lists.
pub fn page(examples: &Path) -> Result<String> {
    let list = fs::read_to_string(examples.join("README.md"))?;
    let mut page = list.trim_end().to_owned() + "\n";
    for line in list.lines().filter(|line| line.starts_with("| [")) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (Some(link), Some(shows)) = (cells.next(), cells.next()) else { continue };
        let file = link.trim_start_matches('[').split(']').next().unwrap_or_default();
        if !file.ends_with(".yaml") {
            continue;
        }
        let text = fs::read_to_string(examples.join(file)).with_context(|| file.to_owned())?;
        let mut title = shows.chars();
        let title: String = title.next().into_iter().flat_map(char::to_uppercase).chain(title).collect();
        let _ = write!(page, "\n## {title}\n\n[{file}]({file})\n\n```yaml\n{}\n```\n", text.trim_end());
    }
    Ok(page)
}
