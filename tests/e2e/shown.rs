//! Every configuration that users are shown is one that the gateway takes: the files in `examples/`, and the YAML
//! in the READMEs and in `docs/`. A block that is only a part of one has `<!-- fragment -->` on the line before it. What the examples
//! do when they run is in `examples`; here none can be forgotten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{Authority, Process};

const FRAGMENT: &str = "<!-- fragment -->";
/// The value of every variable that an example takes a secret from. It has the 32 bytes of a key.
const SECRET: &str = "an example secret, known to all.";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the gateway lies in a workspace").to_owned()
}

/// Files below a folder with this ending, in order; what builds leave is not among them.
fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && !name.to_string_lossy().starts_with('.')) {
                found.extend(files_below(&path, ending));
            }
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A copy of what examples need: their folder, with the certificates and the component that a user makes first.
fn prepared() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    copy(&workspace().join("examples"), &root.join("examples"));
    let certs = root.join("examples/certs");
    fs::create_dir_all(&certs).expect("a folder");
    let authority = Authority::new();
    for name in ["api", "shop", "clients"] {
        authority.issue(&certs, name, &[&format!("{name}.example.com")]);
    }
    let components = root.join("target/wasm32-wasip2/plugin");
    fs::create_dir_all(&components).expect("a folder");
    fs::write(components.join("example_hello.wasm"), test_guests::hello()).expect("a file");
    fs::write(components.join("example_chat.wasm"), test_guests::chat()).expect("a file");
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// What `gateway check` has against a file; nothing, if all is well.
async fn problems(folder: &Path, file: &Path) -> Option<String> {
    let args = ["check".as_ref(), "-c".as_ref(), file.as_os_str()];
    let text = fs::read_to_string(file).expect("a file");
    let variables: Vec<_> = variables(&text).map(|name| (name, SECRET)).collect();
    let ended = Process::start_with(folder, args, &variables).ended().await;
    (ended.code != 0).then(|| format!("{}: exit code {}\n{}", file.display(), ended.code, ended.stderr))
}

/// The environment's variables that a configuration names.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let names =
        text.split("env: ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    names.filter(|name| !name.is_empty())
}

#[tokio::test]
async fn every_example_is_a_configuration_that_the_gateway_takes() {
    let folder = prepared();
    let mut files = files_below(&folder.path().join("examples"), ".yaml");
    // Those are for `gateway plugin test` and `gateway plugin build`.
    files.retain(|file| !file.ends_with("tests/cases.yaml") && !file.ends_with("plugin.yaml"));
    assert!(files.len() >= 5, "examples were lost: {files:?}");
    let mut broken = Vec::new();
    for file in &files {
        broken.extend(problems(folder.path(), file).await);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A fenced block of YAML.
struct Block {
    /// `README.md:12`.
    place: String,
    text: String,
    fragment: bool,
}

fn blocks(file: &Path) -> Vec<Block> {
    let text = fs::read_to_string(file).expect("a file");
    let name = file.strip_prefix(workspace()).unwrap_or(file).display();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut previous = "";
    for (number, line) in text.lines().enumerate() {
        // In a list a block is indented.
        let bare = line.trim_start();
        match &mut open {
            Some(_) if bare.starts_with("```") => blocks.extend(open.take()),
            Some(block) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None if bare == "```yaml" || bare == "```yml" => {
                let fragment = previous.trim() == FRAGMENT;
                open = Some(Block { place: format!("{name}:{}", number + 1), text: String::new(), fragment });
            }
            None => {}
        }
        if !bare.is_empty() {
            previous = line;
        }
    }
    assert!(open.is_none(), "{name}: a block has no end");
    blocks
}

#[tokio::test]
async fn the_yaml_in_readmes_and_documentation_is_what_the_gateway_takes() {
    let folder = prepared();
    let workspace = workspace();
    let mut readmes = vec![workspace.join("README.md")];
    readmes.extend(files_below(&workspace.join("plugins"), "README.md"));
    readmes.extend(files_below(&workspace.join("examples"), "README.md"));
    readmes.extend(files_below(&workspace.join("plugin-sdk"), "README.md"));
    readmes.extend(files_below(&workspace.join("wit"), "README.md"));
    readmes.extend(files_below(&workspace.join("docs"), ".md"));
    let blocks: Vec<Block> = readmes.iter().flat_map(|readme| blocks(readme)).collect();
    let whole: Vec<&Block> = blocks.iter().filter(|block| !block.fragment).collect();
    let mut broken = Vec::new();
    for (number, block) in whole.iter().enumerate() {
        // Where the files that examples name are.
        let file = folder.path().join("examples").join(format!("block-{number}.yaml"));
        fs::write(&file, &block.text).expect("a file");
        broken.extend(problems(folder.path(), &file).await.map(|problem| format!("{}: {problem}", block.place)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
