//! Makes the book: the pages of docs/ in the order of docs/SUMMARY.md, the guides that lie beside what they are about, and a
//! reference that is made of what the gateway says of itself. `cargo xtask book` calls it.

mod assemble;
mod examples;
mod interface;
mod options;

use std::{path::PathBuf, process::ExitCode};

const HELP: &str = "\
book FOLDER       writes the book
book --reference  writes the reference of the configuration to docs/reference";

fn main() -> ExitCode {
    let Some(argument) = std::env::args_os().nth(1) else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    let written = if argument == "--reference" {
        options::write_configuration()
    } else {
        let folder = PathBuf::from(argument);
        assemble::book(&folder).map(|()| folder.join("html/index.html"))
    };
    match written {
        Ok(file) => {
            println!("{}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
