//! A small complete project to begin with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::error::ProjectError;

/// What a plugin can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    Rust,
    #[value(name = "javascript")]
    JavaScript,
    #[value(name = "typescript")]
    TypeScript,
    Python,
    Go,
    C,
}

/// Files by their paths.
type Files = &'static [(&'static str, &'static str)];

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// What every project has.
const COMMON: Files = &[
    ("tests/cases.yaml", include_str!("templates/common/cases.yaml.in")),
    ("gateway.yaml", include_str!("templates/common/gateway.yaml.in")),
    ("README.md", include_str!("templates/common/README.md.in")),
];

/// A language's part of a project.
struct Template {
    language: &'static str,
    files: Files,
    /// The SDK and where it lies, since it is published nowhere yet.
    sdk: Files,
    vendor: &'static str,
    component: &'static str,
    notes: &'static str,
}

const RUST: Template = Template {
    language: "Rust",
    files: &[
        ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
        ("plugin.yaml", include_str!("templates/rust/plugin.yaml.in")),
        ("src/lib.rs", include_str!("templates/rust/lib.rs.in")),
        (".gitignore", "/target\n"),
        ("vendor/plugin-sdk/Cargo.toml", include_str!("templates/rust/sdk.toml.in")),
        ("vendor/gateway/rules/Cargo.toml", include_str!("templates/rust/rules.toml.in")),
    ],
    sdk: SDK_RUST,
    vendor: "vendor",
    component: "target/wasm32-wasip2/release/{{crate}}.wasm",
    notes: "`cargo test` runs the tests in `src/lib.rs`, natively and without a gateway. `vendor/plugin-sdk` is the SDK: its \
            README says what a plugin can do, `cargo doc -p plugin-sdk --open` all of it. `vendor/gateway/rules` has the \
            gateway's rules, which the tests apply.",
};

const JAVASCRIPT: Template = Template {
    language: "JavaScript",
    files: &[
        ("package.json", include_str!("templates/javascript/package.json.in")),
        ("plugin.yaml", include_str!("templates/javascript/plugin.yaml.in")),
        ("plugin.js", include_str!("templates/javascript/plugin.js.in")),
        (".npmrc", "install-links=true\n"),
        (".gitignore", "/build\n/node_modules\n"),
    ],
    sdk: SDK_JAVASCRIPT,
    vendor: "vendor/gateway-plugin",
    component: "build/{{name}}.wasm",
    notes: "`vendor/gateway-plugin` is the SDK: its README says what a plugin can do, its `.d.ts` files all of it.",
};

const TYPESCRIPT: Template = Template {
    language: "TypeScript",
    files: &[
        ("package.json", include_str!("templates/typescript/package.json.in")),
        ("tsconfig.json", include_str!("templates/typescript/tsconfig.json.in")),
        ("plugin.yaml", include_str!("templates/typescript/plugin.yaml.in")),
        ("plugin.ts", include_str!("templates/typescript/plugin.ts.in")),
        (".npmrc", "install-links=true\n"),
        (".gitignore", "/build\n/node_modules\n"),
    ],
    ..JAVASCRIPT
};

const PYTHON: Template = Template {
    language: "Python",
    files: &[
        ("requirements.txt", include_str!("templates/python/requirements.txt.in")),
        ("plugin.yaml", include_str!("templates/python/plugin.yaml.in")),
        ("plugin.py", include_str!("templates/python/plugin.py.in")),
        (".gitignore", "/build\n/.venv\n__pycache__\n"),
    ],
    sdk: SDK_PYTHON,
    vendor: "vendor",
    component: "build/{{name}}.wasm",
    notes: "`vendor/gateway_plugin` is the SDK: its docstrings say what a plugin can do. The first build fetches the tools, and \
            the gateway compiles the component once, which takes some seconds.",
};

const GO: Template = Template {
    language: "Go",
    files: &[
        ("go.mod", include_str!("templates/go/go.mod.in")),
        ("plugin.yaml", include_str!("templates/go/plugin.yaml.in")),
        ("plugin.go", include_str!("templates/go/plugin.go.in")),
        (".gitignore", "/build\n"),
    ],
    sdk: SDK_GO,
    // Of a folder called `vendor` Go has a mind of its own.
    vendor: "sdk/gateway-plugin",
    component: "build/{{name}}.wasm",
    notes: "`sdk/gateway-plugin` is the SDK: `GOOS=wasip1 GOARCH=wasm go doc -all gateway-plugin` says what a plugin can do.",
};

const C: Template = Template {
    language: "C",
    files: &[
        ("plugin.yaml", include_str!("templates/c/plugin.yaml.in")),
        ("plugin.c", include_str!("templates/c/plugin.c.in")),
        (".gitignore", "/build\n/.venv\n"),
    ],
    sdk: SDK_C,
    vendor: "vendor/gateway-plugin",
    component: "build/{{name}}.wasm",
    notes: "`vendor/gateway-plugin/gateway.h` is the SDK, and says what a plugin can do.",
};

impl Language {
    fn template(self) -> &'static Template {
        match self {
            Self::Rust => &RUST,
            Self::JavaScript => &JAVASCRIPT,
            Self::TypeScript => &TYPESCRIPT,
            Self::Python => &PYTHON,
            Self::Go => &GO,
            Self::C => &C,
        }
    }
}

/// Writes a project into a new folder of the plugin's name within `parent`. Returns the folder.
///
/// # Errors
///
/// The name is none, there is something of that name already, or it cannot be written.
pub(crate) fn new(parent: &Path, name: &str, language: Language) -> Result<PathBuf, ProjectError> {
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && name.len() <= 64;
    if !is_name {
        return Err(ProjectError::Name(name.to_owned()));
    }
    let folder = parent.join(name);
    if folder.exists() {
        return Err(ProjectError::Exists(folder));
    }
    let template = language.template();
    let filled =
        COMMON.iter().chain(template.files).map(|(path, text)| (PathBuf::from(path), fill(text, template, name)));
    let sdk = template.sdk.iter().map(|(path, text)| (Path::new(template.vendor).join(path), (*text).to_owned()));
    for (path, text) in filled.chain(sdk) {
        let file = folder.join(path);
        let written = fs::create_dir_all(file.parent().unwrap_or(&folder)).and_then(|()| fs::write(&file, text));
        written.map_err(ProjectError::io(&folder))?;
    }
    Ok(folder)
}

fn fill(text: &str, template: &Template, name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    text.replace("{{component}}", template.component)
        .replace("{{language}}", template.language)
        .replace("{{notes}}", template.notes)
        .replace("{{name}}", name)
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
        let mut wanted = 0;
        for folder in ["plugin-sdk", "gateway/rules"] {
            let own = fs::read_to_string(format!("{here}{folder}/Cargo.toml")).unwrap();
            let path = format!("vendor/{folder}/Cargo.toml");
            let theirs = RUST.files.iter().find(|(file, _)| *file == path).unwrap().1;
            let dependencies = own.split_once("[dependencies]").unwrap().1;
            for line in dependencies.lines() {
                let optional = line.strip_suffix(" = { workspace = true, optional = true }");
                let Some(name) = optional.or(line.strip_suffix(".workspace = true")) else { continue };
                let Some(line) = workspace.lines().find(|line| line.starts_with(&format!("{name} = "))) else {
                    continue;
                };
                // What only others need is left out there.
                let mut line = line.replace(", \"rc\"", "");
                if optional.is_some() {
                    let (name, version) = line.split_once(" = ").unwrap();
                    let table = version.strip_suffix(" }").map_or(format!("{{ version = {version}"), str::to_owned);
                    line = format!("{name} = {table}, optional = true }}");
                }
                assert!(theirs.lines().any(|other| other == line), "{line} is not in\n{theirs}");
                wanted += 1;
            }
        }
        assert!(wanted >= 12, "{wanted}");
        let has = |files: Files, path: &str| files.iter().any(|(file, _)| *file == path);
        assert!(has(SDK_RUST, "plugin-sdk/src/lib.rs") && has(SDK_RUST, "wit/0.2/worlds.wit"));
        assert!(has(SDK_RUST, "gateway/rules/src/lib.rs"));
        assert!(has(SDK_JAVASCRIPT, "index.d.ts") && has(SDK_JAVASCRIPT, "package.json"));
        assert!(has(SDK_PYTHON, "gateway_plugin/__init__.py") && has(SDK_GO, "go.mod") && has(SDK_C, "wit/plugin.h"));
    }

    #[test]
    fn a_name_that_no_crate_can_have_is_refused() {
        for name in ["", "Greeter", "a b", "../x", "1a", "a-", "ä"] {
            assert!(new(Path::new("/nonexistent"), name, Language::Rust).is_err(), "{name}");
        }
    }
}
