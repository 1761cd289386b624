//! What is wrong with a configuration, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::sensitive::Redaction;

/// A place in the file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Absent where the file as a whole is the problem.
    pub location: Option<Location>,
    pub message: String,
}

/// Everything that is wrong with one file, in the order of the file. Displayed without colours, one
/// `FILE:LINE:COLUMN: message` each with the line it is about, and their number at the end.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    file: PathBuf,
    items: Vec<(Problem, Option<String>)>,
    /// The files that the configuration names and reads.
    files: Vec<PathBuf>,
}

/// Longer lines are shown around the column only.
const SHOWN: usize = 120;

impl Problem {
    pub(super) fn new(location: Location, message: impl Into<String>) -> Self {
        Self { location: Some(location), message: message.into() }
    }
}

impl Problems {
    /// What is shown of the file has no secrets in it: problems end up in logs and at operators who may not see them.
    pub(super) fn new(file: &Path, redaction: &Redaction, mut problems: Vec<Problem>) -> Self {
        problems.iter_mut().for_each(|problem| problem.message = redaction.apply(&problem.message));
        problems.sort_by(|a, b| (a.location, &a.message).cmp(&(b.location, &b.message)));
        problems.dedup();
        let lines: Vec<&str> = redaction.text.iter().flat_map(|text| text.lines()).collect();
        let excerpt = |problem: &Problem| {
            let location = problem.location?;
            lines.get(location.line.checked_sub(1)?).map(|line| excerpt(line, location))
        };
        let items = problems.into_iter().map(|problem| (problem.clone(), excerpt(&problem))).collect();
        Self { file: file.to_owned(), items, files: Vec::new() }
    }

    pub(super) fn with_files(self, files: Vec<PathBuf>) -> Self {
        Self { files, ..self }
    }

    /// The files that the configuration names and reads: a change of one may solve a problem.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// A problem with the file itself.
    pub(super) fn whole(file: &Path, message: impl Into<String>) -> Self {
        Self::new(file, &Redaction::default(), vec![Problem { location: None, message: message.into() }])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.items.iter().map(|(problem, _)| problem)
    }

    /// Each with its place, in one line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let file = self.file.display();
        self.items.iter().map(move |(problem, _)| match problem.location {
            Some(Location { line, column }) => format!("{file}:{line}:{column}: {}", problem.message),
            None => format!("{file}: {}", problem.message),
        })
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (problem, excerpt) in &self.items {
            write!(f, "{}", self.file.display())?;
            if let Some(Location { line, column }) = problem.location {
                write!(f, ":{line}:{column}")?;
            }
            writeln!(f, ": {}", problem.message)?;
            if let Some(excerpt) = excerpt {
                writeln!(f, "{excerpt}")?;
            }
        }
        match self.items.len() {
            1 => f.write_str("1 problem"),
            n => write!(f, "{n} problems"),
        }
    }
}

impl std::error::Error for Problems {}

/// The line with its number, and a caret under the column.
fn excerpt(line: &str, Location { line: number, column }: Location) -> String {
    // A terminal must not obey what a file contains.
    let plain: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let column = column.clamp(1, plain.len() + 1) - 1;
    let first = if plain.len() <= SHOWN { 0 } else { column.saturating_sub(SHOWN / 2) };
    let last = plain.len().min(first + SHOWN);
    let shown: String = plain[first..last].iter().collect();
    let caret = " ".repeat(column - first);
    format!("{number:>5} | {}\n      | {caret}^", shown.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize, message: &str) -> Problem {
        Problem::new(Location { line, column }, message)
    }

    fn problems(text: &str, problems: Vec<Problem>) -> Problems {
        Problems::new(Path::new("g.yaml"), &Redaction::nothing_in(text), problems)
    }

    #[test]
    fn problems_are_shown_in_the_order_of_the_file_with_the_line_and_a_caret() {
        let problems = problems("a: 1\n  b: 2\n", vec![at(2, 3, "second"), at(1, 1, "first")]);
        let expected =
            "g.yaml:1:1: first\n    1 | a: 1\n      | ^\ng.yaml:2:3: second\n    2 |   b: 2\n      |   ^\n2 problems";
        assert_eq!(problems.to_string(), expected);
    }

    #[test]
    fn a_long_line_is_cut_around_the_column_and_control_characters_are_not_repeated() {
        let line = format!("{}\u{1b}{}", "a".repeat(500), "b".repeat(500));
        let shown = problems(&line, vec![at(1, 502, "here")]).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < SHOWN + 10), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn a_column_behind_the_end_of_the_line_is_no_trouble() {
        let shown = problems("ab", vec![at(1, 9, "x"), at(7, 1, "y")]).to_string();
        assert!(shown.contains("|   ^"), "{shown}");
    }
}
