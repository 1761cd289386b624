//! Makes the book: the pages of docs/ in the order of docs/SUMMARY.md, the guides that lie beside what they are about, and a
//! reference that is made of what the gateway says of itself. `cargo xtask book` calls it.

mod assemble;
mod interface;
mod options;
mod recipes;

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(output) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("book FOLDER: where is it to be written?");
        return ExitCode::from(2);
    };
    match assemble::book(&output) {
        Ok(()) => {
            println!("{}", output.join("html/index.html").display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
