//! `gateway import`.

use std::{
    fs::{self, OpenOptions},
    io::Write,
};

use gateway_config::yaml::MAX_BYTES;
use gateway_import::Format;

use super::{Failed, ImportArgs, ImportFormat, complain, print};

pub(super) fn import(args: &ImportArgs) -> Result<(), Failed> {
    let file = args.file.display();
    let unreadable = |error: std::io::Error| Failed::Misunderstood(format!("cannot read {file}: {error}"));
    if fs::metadata(&args.file).map_err(unreadable)?.len() > MAX_BYTES as u64 {
        return Err(Failed::Misunderstood(format!("{file} is over {} MiB", MAX_BYTES / 1024 / 1024)));
    }
    let text = fs::read_to_string(&args.file).map_err(unreadable)?;
    let format = args.from.map(format).or_else(|| Format::detect(&text)).ok_or_else(|| {
        Failed::Misunderstood(format!("cannot tell what {file} is; name it with `--from nginx|kong|openapi|ingress`"))
    })?;
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    let imported = gateway_import::import(format, &name, &text)
        .map_err(|error| Failed::Invalid(format!("{file}: as {format}: {error}")))?;
    match &args.output {
        None => print(imported.yaml.trim_end())?,
        Some(output) => {
            let failed = |error| Failed::Stopped(format!("cannot write {}: {error}", output.display()));
            let mut written = OpenOptions::new().write(true).create_new(true).open(output).map_err(failed)?;
            written.write_all(imported.yaml.as_bytes()).map_err(failed)?;
        }
    }
    for note in &imported.notes {
        complain(format_args!("{file}:{}: {}", note.line, note.text));
    }
    match imported.notes.len() {
        0 => {}
        1 => complain("1 thing has no counterpart, or another meaning; check the configuration with `gateway check`"),
        n => complain(format_args!(
            "{n} things have no counterpart, or another meaning; check the configuration with `gateway check`"
        )),
    }
    Ok(())
}

fn format(named: ImportFormat) -> Format {
    match named {
        ImportFormat::Nginx => Format::Nginx,
        ImportFormat::Kong => Format::Kong,
        ImportFormat::Openapi => Format::OpenApi,
        ImportFormat::Ingress => Format::Ingress,
    }
}
