//! Plugins in every language, built with its own tools: npm's, PyPI's, Go's, and a compiler for C from PyPI.

mod account;
mod c;
mod checks;
mod examples;
mod exports;
mod go;
mod messages;
mod python;
mod services;
mod typescript;
mod values;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{process::run_long, redis::Redis};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A project of this repository with the SDKs beside it, where building leaves nothing behind here.
struct Copied {
    folder: TempDir,
    project: PathBuf,
}

impl Copied {
    fn of(project: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        for part in ["plugin-sdk/c", "plugin-sdk/go", "plugin-sdk/javascript", "plugin-sdk/python", project] {
            copy(&Path::new(ROOT).join(part), &folder.path().join(part));
        }
        let project = folder.path().join(project);
        Self { folder, project }
    }

    /// The component that is built.
    async fn build(&self) -> PathBuf {
        let built = run_long(&self.project, ["plugin", "build"]).await;
        assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
        let found = fs::read_dir(self.project.join("build")).expect("a folder");
        let found = found.map(|entry| entry.expect("an entry").path());
        let is_component =
            |path: &PathBuf| path.extension().is_some_and(|end| end == "wasm") && !path.ends_with("core.wasm");
        found.into_iter().find(is_component).expect("a component")
    }

    /// All cases of a file of this repository.
    async fn passes(&self, component: &Path, cases: &str) {
        self.passes_with(component, cases, &[]).await;
    }

    /// With more arguments for the command.
    async fn passes_with(&self, component: &Path, cases: &str, more: &[&str]) {
        let component = component.to_str().expect("UTF-8");
        let cases = format!("{ROOT}/{cases}");
        let args = ["plugin", "test", &cases, "--component", component];
        let tested = run_long(self.folder.path(), args.iter().chain(more)).await;
        assert_eq!(tested.code, 0, "{}\n{}", tested.stdout, tested.stderr);
        assert!(tested.stdout.ends_with("cases are as expected"), "{}", tested.stdout);
    }
}

fn copy(from: &Path, to: &Path) {
    const LEFT: [&str; 4] = ["build", "node_modules", ".venv", "__pycache__"];
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if LEFT.iter().any(|left| entry.file_name() == *left) {
            continue;
        } else if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

async fn sdk_does_what_it_offers(language: &str) -> (Copied, PathBuf) {
    let copied = Copied::of(&format!("tests/languages/{language}"));
    let component = copied.build().await;
    copied.passes(&component, "tests/languages/cases.yaml").await;
    let redis = Redis::start().await;
    for more in [&[][..], &["--redis", &redis.url()]] {
        copied.passes_with(&component, "tests/languages/store.yaml", more).await;
    }
    messages::pass_through(&component).await;
    (copied, component)
}
