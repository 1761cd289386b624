//! A small complete project to begin with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What a plugin can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
}

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The project's own files, by their paths.
const RUST: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("rust/Cargo.toml.in")),
    ("plugin.yaml", include_str!("rust/plugin.yaml.in")),
    ("src/lib.rs", include_str!("rust/lib.rs.in")),
    ("tests/cases.yaml", include_str!("rust/cases.yaml.in")),
    ("gateway.yaml", include_str!("rust/gateway.yaml.in")),
    ("README.md", include_str!("rust/README.md.in")),
    (".gitignore", "/target\n"),
    ("vendor/plugin-sdk/Cargo.toml", include_str!("rust/sdk.toml.in")),
];

/// Writes a project into a new folder of the plugin's name within `parent`. Returns the folder.
///
/// # Errors
///
/// The name is none, there is something of that name already, or it cannot be written.
pub fn new(parent: &Path, name: &str, language: Language) -> Result<PathBuf, String> {
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && name.len() <= 64;
    if !is_name {
        return Err(format!("`{name}` is no name for a plugin: lower-case letters, digits and dashes, a letter first"));
    }
    let folder = parent.join(name);
    let named = |error: io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        return Err(format!("{}: is there already", folder.display()));
    }
    let Language::Rust = language;
    let filled = RUST.iter().map(|(path, text)| (*path, fill(text, name)));
    // Not published anywhere yet, so that it comes along.
    let sdk = SDK.iter().map(|(path, text)| (*path, (*text).to_owned()));
    for (path, text) in filled.chain(sdk) {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&folder)).and_then(|()| fs::write(&file, text)).map_err(named)?;
    }
    Ok(folder)
}

fn fill(text: &str, name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    text.replace("{{name}}", name)
        .replace("{{crate}}", &name.replace('-', "_"))
        .replace("{{Type}}", &words.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_comes_along_with_the_versions_that_it_has_here() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
        let workspace = fs::read_to_string(format!("{here}Cargo.toml")).unwrap();
        let own = fs::read_to_string(format!("{here}plugin-sdk/Cargo.toml")).unwrap();
        let theirs = RUST.iter().find(|(path, _)| *path == "vendor/plugin-sdk/Cargo.toml").unwrap().1;
        let mut wanted = 0;
        let dependencies = own.split_once("[dependencies]").unwrap().1;
        for name in dependencies.lines().filter_map(|line| line.strip_suffix(".workspace = true")) {
            let Some(line) = workspace.lines().find(|line| line.starts_with(&format!("{name} = "))) else { continue };
            // What only others need is left out there.
            let line = line.replace(", \"rc\"", "");
            assert!(theirs.lines().any(|other| other == line), "{line} is not in\n{theirs}");
            wanted += 1;
        }
        assert!(wanted >= 8, "{wanted}");
        assert!(SDK.iter().any(|(path, _)| *path == "vendor/plugin-sdk/src/lib.rs"));
        assert!(SDK.iter().any(|(path, _)| *path == "vendor/wit/plugin.wit"));
    }

    #[test]
    fn a_name_that_no_crate_can_have_is_refused() {
        for name in ["", "Greeter", "a b", "../x", "1a", "a-", "ä"] {
            assert!(new(Path::new("/nonexistent"), name, Language::Rust).is_err(), "{name}");
        }
    }
}
