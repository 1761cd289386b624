//! Folders and files: every plugin is documented and tested, every example is used by a test, no file is
//! too long to read.

use std::collections::BTreeSet;

use super::Source;

const MAX_LINES: usize = 600;

pub fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = plugins(sources);
    findings.extend(examples(sources));
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            findings.push(format!("{}: has {lines} lines, over {MAX_LINES}; split it", source.path));
        }
    }
    findings
}

fn plugins(sources: &[Source]) -> Vec<String> {
    let folder =
        |source: &Source| source.path.strip_prefix("plugins/")?.split_once('/').map(|(name, _)| name.to_owned());
    let folders: BTreeSet<String> = sources.iter().filter_map(folder).collect();
    let mut findings = Vec::new();
    for name in folders {
        let prefix = format!("plugins/{name}/");
        let mut files = sources.iter().filter(|source| source.path.starts_with(&prefix));
        if !files.clone().any(|file| file.path == format!("{prefix}README.md")) {
            findings.push(format!("{prefix}: has no README.md"));
        }
        if !files.any(is_test) {
            findings.push(format!("{prefix}: has no tests"));
        }
    }
    findings
}

/// Configurations among the examples are to be run by a test, and so to be found in one.
fn examples(sources: &[Source]) -> Vec<String> {
    let is_yaml = |path: &str| path.ends_with(".yaml") || path.ends_with(".yml");
    let examples = sources.iter().filter(|source| source.path.starts_with("examples/") && is_yaml(&source.path));
    let mut findings = Vec::new();
    for example in examples {
        let name = example.path.strip_prefix("examples/").unwrap_or(&example.path);
        if !sources.iter().any(|source| is_test(source) && source.text.contains(name)) {
            findings.push(format!("{}: no test names {name}", example.path));
        }
    }
    findings
}

fn is_test(source: &Source) -> bool {
    source.path.ends_with(".rs") && (source.text.contains("#[test]") || source.text.contains("::test]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn a_plugin_without_readme_or_tests_is_found() {
        let sources = [source("plugins/jwt/src/lib.rs", "fn f() {}"), source("plugins/cors/README.md", "")];
        let expected = ["plugins/cors/: has no tests", "plugins/jwt/: has no README.md", "plugins/jwt/: has no tests"];
        assert_eq!(check(&sources), expected);
    }

    #[test]
    fn an_example_that_no_test_names_is_found() {
        let sources = [
            source("examples/used.yaml", ""),
            source("examples/forgotten.yaml", ""),
            source("gateway/tests/examples.rs", "#[tokio::test] async fn f() { run(\"used.yaml\") }"),
        ];
        assert_eq!(check(&sources), ["examples/forgotten.yaml: no test names forgotten.yaml"]);
    }

    #[test]
    fn a_file_too_long_to_read_is_found() {
        let findings = check(&[source("a.rs", &"\n".repeat(601)), source("b.rs", &"\n".repeat(600))]);
        assert_eq!(findings, ["a.rs: has 601 lines, over 600; split it"]);
    }
}
