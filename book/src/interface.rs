//! The reference of the plugin interface, from its text.

use std::{fs, path::Path};

use anyhow::Result;

/// The files of a folder, one after the other in the order of their names.
pub fn text(folder: &Path) -> Result<String> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(|file| Ok(fs::read_to_string(file)?)).collect()
}

/// A page with a part for each interface: its comments as text, what is in it as it is.
pub fn page(wit: &str) -> String {
    let mut page = "# The plugin interface\n\nGenerated from [wit/0.2](../../wit/README.md). \
                    What the types cannot express is on [a page of its own](../../wit/README.md).\n"
        .to_owned();
    let mut comments: Vec<&str> = Vec::new();
    let mut lines = wit.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("///") {
            comments.push(comment.trim());
            continue;
        }
        if line.starts_with("@unstable") {
            comments.extend(["", "**Unstable:** any release may change it."]);
            continue;
        }
        if line.starts_with('@') {
            continue;
        }
        let head = line.strip_prefix("interface ").or_else(|| line.strip_prefix("world "));
        if let Some((name, after)) = head.and_then(|head| head.split_once(" {")) {
            let kind = if line.starts_with("world") { " (world)" } else { "" };
            page.push_str(&format!("\n## {name}{kind}\n"));
            if !comments.is_empty() {
                page.push_str(&format!("\n{}\n", comments.join("\n")));
            }
            page.push_str("\n```wit\n");
            if after.is_empty() {
                let body = lines.by_ref().take_while(|line| *line != "}");
                body.for_each(|line| page.push_str(&format!("{}\n", line.strip_prefix("  ").unwrap_or(line))));
            } else {
                page.push_str(&format!("{line}\n"));
            }
            page.push_str("```\n");
        }
        comments.clear();
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_text_and_the_rest_stays() {
        let page = page(
            "package a:b;\n\n/// Says\n/// more.\n@since(version = 0.2.0)\ninterface x {\n  /// Does.\n  y: func();\n}\nworld z { import x; }\n",
        );
        let expected = "\n## x\n\nSays\nmore.\n\n```wit\n/// Does.\ny: func();\n```\n\n## z (world)\n\n```wit\nworld z { import x; }\n```\n";
        assert!(page.ends_with(expected), "{page}");
    }
}
