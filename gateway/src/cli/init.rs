//! `gateway init`: a first configuration.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use super::{Failed, InitArgs, print, schema};
use crate::app::{self, Source, StartError};

/// What is written; the address of the service is filled in.
const CONFIG: &str = include_str!("init.yaml");
const SERVICE: &str = "\"http://127.0.0.1:9001\"";

pub(super) fn init(args: &InitArgs) -> Result<(), Failed> {
    let file = args.file.display();
    if fs::exists(&args.file).unwrap_or(false) {
        return Err(exists(&args.file));
    }
    // JSON's strings are YAML's.
    let service = serde_json::Value::from(args.upstream.trim_end_matches('/')).to_string();
    let text = CONFIG.replace(SERVICE, &service);
    // The rest of the text is valid, so a problem is one of the URL. There is no file then.
    app::check(&Source::Text { text: text.clone(), base: PathBuf::from(".") }).map_err(|error| {
        let problem = match &error {
            StartError::Config(problems) => problems.iter().next().map(|problem| problem.message.clone()),
            _ => None,
        };
        match problem {
            Some(problem) => Failed::Misunderstood(format!("--upstream {}: {problem}", args.upstream)),
            None => error.into(),
        }
    })?;
    let mut opened = match OpenOptions::new().write(true).create_new(true).open(&args.file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(&args.file)),
        opened => opened.map_err(|error| Failed::Stopped(format!("cannot create {file}: {error}")))?,
    };
    opened.write_all(text.as_bytes()).map_err(|error| Failed::Stopped(format!("cannot write {file}: {error}")))?;
    let schema_file = args.file.with_file_name(schema::FILE);
    schema::write(&schema_file)?;
    print(format_args!(
        "{file} forwards all requests to {}.\n{} is for completion in editors.\n\n  gateway check -c {file}\n  gateway run -c {file}\n  curl -i http://127.0.0.1:8080/",
        args.upstream,
        schema_file.display()
    ))
}

fn exists(file: &std::path::Path) -> Failed {
    Failed::Misunderstood(format!("{} exists already; name another file", file.display()))
}
