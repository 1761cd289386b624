//! Embeds the SDKs and the plugin that does nothing, so that the gateway needs no other file.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use component_build::Place;

fn main() -> ExitCode {
    match embed_sdk().and_then(|()| embed_noop()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot embed files: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The SDKs, for the projects that `gateway plugin new` writes: files by the paths that they have there.
fn embed_sdk() -> Result<(), Box<dyn Error>> {
    let place = Place::of_build_script(1)?;
    let workspace = place.workspace();
    let mut code = String::new();
    let sdks: [(&str, &str, &[&str]); 5] = [
        ("RUST", "", &["plugin-sdk/src", "gateway/rules/src", "wit", "plugin-sdk/README.md"]),
        ("JAVASCRIPT", "plugin-sdk/javascript", &["."]),
        ("PYTHON", "plugin-sdk/python", &["gateway_plugin"]),
        ("GO", "plugin-sdk/go", &["."]),
        ("C", "plugin-sdk/c", &["."]),
    ];
    for (language, base, parts) in sdks {
        let base = workspace.join(base);
        let mut files = Vec::new();
        for part in parts {
            let part = base.join(part);
            // A file that is added is embedded too.
            println!("cargo::rerun-if-changed={}", part.display());
            files_below(&part, &mut files)?;
        }
        files.sort();
        writeln!(code, "const SDK_{language}: Files = &[")?;
        for file in &files {
            let path: PathBuf = file.strip_prefix(&base)?.components().collect();
            writeln!(code, "    ({path:?}, include_str!({file:?})),")?;
        }
        code.push_str("];\n");
    }
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("sdk.rs"), code)?;
    Ok(())
}

/// A plugin that does nothing, as a core module: what others cost is told beside it.
fn embed_noop() -> Result<(), Box<dyn Error>> {
    let text = Place::of_build_script(1)?.workspace().join("gateway/src/trial/noop.wat");
    println!("cargo::rerun-if-changed={}", text.display());
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("noop.wasm"), wat::parse_file(text)?)?;
    Ok(())
}

/// What is written by hand or committed; not what tools leave behind.
fn files_below(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    const ENDS: [&str; 16] =
        ["rs", "wit", "md", "js", "ts", "json", "py", "typed", "toml", "go", "mod", "s", "c", "h", "txt", "pem"];
    if path.is_file() {
        if path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) {
            files.push(path.components().collect());
        }
        return Ok(());
    }
    if path.file_name().is_some_and(|name| name == "node_modules" || name == "__pycache__") {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        files_below(&entry?.path(), files)?;
    }
    Ok(())
}
