//! Which tests failed and why, for the last lines of a run: of a long log often only its end is kept.

use std::io::{BufRead, BufReader, Read, Write};

/// What is kept of one test's message.
const LINES: usize = 4;
const LINE: usize = 300;
/// Failures beyond this number are only counted.
const FAILURES: usize = 12;

/// The failed tests in the output of libtest, each with the beginning of its message.
#[derive(Default)]
pub struct Failures {
    found: Vec<Failure>,
    count: usize,
    /// Whether the lines that come are the output of a failed test.
    inside: bool,
}

struct Failure {
    test: String,
    message: Vec<String>,
    /// Whether a panic has been seen: the lines before it are the test's other output.
    panicked: bool,
    /// Whether the message has ended.
    complete: bool,
}

impl Failures {
    /// Passes on what is read, and reads along.
    pub fn follow(&mut self, output: impl Read, mut to: impl Write) -> std::io::Result<()> {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            to.write_all(&line)?;
            to.flush()?;
            self.line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.count += 1;
            self.inside = self.found.len() < FAILURES;
            if self.inside {
                self.found.push(Failure {
                    test: test.to_owned(),
                    message: Vec::new(),
                    panicked: false,
                    complete: false,
                });
            }
        } else if line == "failures:" || line.starts_with("test result:") {
            self.inside = false;
        } else if let (true, Some(failure)) = (self.inside, self.found.last_mut()) {
            failure.line(line);
        }
    }

    /// A few lines for each failed test; empty if all passed.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for failure in &self.found {
            lines.push(format!("  {}", failure.test));
            lines.extend(failure.message.iter().map(|line| format!("    {line}")));
        }
        if self.count > self.found.len() {
            lines.push(format!("  and {} more", self.count - self.found.len()));
        }
        lines
    }
}

impl Failure {
    fn line(&mut self, line: &str) {
        if line.is_empty() || self.complete {
            return;
        }
        if !self.panicked && line.contains("panicked at") {
            self.panicked = true;
            self.message.clear();
        }
        if line.starts_with("note: ") || line.starts_with("stack backtrace:") {
            self.complete = self.panicked;
        } else if !self.panicked && self.message.len() == LINES {
            // A test that returns an error says so at its end.
            self.message.remove(0);
            self.message.push(shortened(line));
        } else if self.message.len() < LINES {
            self.message.push(shortened(line));
        }
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(output: &str) -> Vec<String> {
        let mut failures = Failures::default();
        let mut passed_on = Vec::new();
        failures.follow(output.as_bytes(), &mut passed_on).unwrap();
        assert_eq!(String::from_utf8(passed_on).unwrap(), output);
        failures.lines()
    }

    #[test]
    fn a_failed_test_is_named_with_its_panic_and_without_its_log() {
        let lines = lines_of(
            "test a ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\nstarted on port 1\n\n\
             thread 'a' (7) panicked at tests/a.rs:1:2:\nassertion failed\n  left: 1\n right: 2\n\
             note: run with `RUST_BACKTRACE=1`\n\n\nfailures:\n    a\n\ntest result: FAILED. 1 passed; 1 failed\n",
        );
        let panic = "    thread 'a' (7) panicked at tests/a.rs:1:2:";
        assert_eq!(lines, ["  a", panic, "    assertion failed", "      left: 1", "     right: 2"]);
    }

    #[test]
    fn an_error_that_a_test_returned_is_at_the_end_of_its_output() {
        let lines = lines_of("failures:\n\n---- a stdout ----\n1\n2\n3\n4\nError: gone\n\nfailures:\n    a\n");
        assert_eq!(lines, ["  a", "    2", "    3", "    4", "    Error: gone"]);
    }

    #[test]
    fn many_failures_are_counted() {
        let output: String = (0..FAILURES + 3).map(|n| format!("---- t{n} stdout ----\n")).collect();
        let lines = lines_of(&output);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (FAILURES + 1, "  and 3 more"));
    }
}
