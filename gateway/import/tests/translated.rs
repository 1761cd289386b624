//! Each source in `sources/` with what it becomes: the configuration, and the notes as comments at its end. The files
//! are written by `UPDATE_EXPECT=1 cargo test -p gateway-import`. That `gateway check` accepts them is tested with the
//! gateway itself.

use std::{fs, path::Path};

use gateway_import::{Format, ImportError, import};

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sources"))
}

fn compare(source: &str, format: Format) {
    let text = fs::read_to_string(sources().join(source)).unwrap();
    assert_eq!(Format::detect(&text), Some(format), "{source}");
    let imported = import(format, source, &text).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut all = imported.yaml + "\n";
    for note in &imported.notes {
        all.push_str(&format!("# {source}:{}: {}\n", note.line, note.text));
    }
    let file = sources().join(format!("{source}.expected.yaml"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &all).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == all, "{source} becomes another configuration than in {}:\n{all}", file.display());
}

#[test]
fn an_nginx_conf_becomes_routes() {
    compare("nginx.conf", Format::Nginx);
}

#[test]
fn a_declarative_configuration_of_kong_becomes_routes() {
    compare("kong.yaml", Format::Kong);
}

#[test]
fn an_openapi_document_becomes_a_route_for_each_path() {
    compare("openapi.yaml", Format::OpenApi);
}

#[test]
fn ingresses_become_routes() {
    compare("ingress.yaml", Format::Ingress);
}

#[test]
fn a_source_that_cannot_be_read_is_an_error_with_its_line() {
    let error = |format, text| match import(format, "x", text) {
        Err(error) => error.to_string(),
        Ok(imported) => panic!("{}", imported.yaml),
    };
    assert_eq!(error(Format::Nginx, "http {\n  server {\n"), "line 2: the block of `server` is not closed");
    assert!(error(Format::Ingress, "a: 1\n---\nb: [\n").starts_with("line "));
    assert!(matches!(import(Format::Kong, "x", "_format_version: '3.0'\n"), Err(ImportError::Empty(_))));
    assert_eq!(Format::detect("hello: world\n"), None);
}
