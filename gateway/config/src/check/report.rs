//! Collects problems and knows where in the file they are.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::Display,
    path::{Path, PathBuf},
};

use crate::{
    part::Part,
    problem::Problem,
    sensitive::Sensitive,
    yaml::{Node, join},
};

pub(super) struct Report<'a> {
    tree: &'a Node,
    /// What relative paths are relative to.
    folder: &'a Path,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// What of the file may not be repeated.
    pub(super) sensitive: Sensitive,
    /// The files that are read, whether or not they can be.
    files: RefCell<BTreeSet<PathBuf>>,
}

/// What was found out about a file.
pub(super) struct CheckResult {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) sensitive: Sensitive,
    /// The files that are part of the configuration, those included that cannot be read.
    pub(super) files: Vec<PathBuf>,
}

impl<'a> Report<'a> {
    pub(super) fn new(tree: &'a Node, folder: &'a Path) -> Self {
        Self {
            tree,
            folder,
            problems: Vec::new(),
            warnings: Vec::new(),
            sensitive: Sensitive::default(),
            files: RefCell::default(),
        }
    }

    /// A problem with the value at this JSON Pointer.
    pub(super) fn value(&mut self, pointer: &str, message: impl Display) {
        self.problems.push(Problem::new(self.tree.value_at(pointer), message.to_string()));
    }

    /// A problem with its key, or with all that is under it.
    pub(super) fn key(&mut self, pointer: &str, message: impl Display) {
        self.problems.push(Problem::new(self.tree.key_at(pointer), message.to_string()));
    }

    /// Something that is allowed and makes no sense, about the value at this JSON Pointer.
    pub(super) fn warn(&mut self, pointer: &str, message: impl Display) {
        self.warnings.push(Problem::new(self.tree.value_at(pointer), message.to_string()));
    }

    /// Whether there is a problem with the value at this JSON Pointer already.
    pub(super) fn is_reported(&self, pointer: &str) -> bool {
        let location = Some(self.tree.value_at(pointer));
        self.problems.iter().any(|problem| problem.location == location)
    }

    pub(super) fn line(&self, pointer: &str) -> usize {
        self.tree.value_at(pointer).line
    }

    /// The path of a file that is part of the configuration: a change of it is one of the configuration.
    pub(super) fn path(&self, typed: &str) -> PathBuf {
        let path = self.folder.join(typed);
        self.files.borrow_mut().insert(path.clone());
        path
    }

    /// The path of a file that the gateway writes.
    pub(super) fn path_of_output(&self, typed: &str) -> PathBuf {
        self.folder.join(typed)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_result(self) -> CheckResult {
        let Self { problems, warnings, sensitive, files, .. } = self;
        CheckResult { problems, warnings, sensitive, files: files.into_inner().into_iter().collect() }
    }

    /// A part that has its shape. One that has not has been reported, as the schema and the types say the
    /// same; should they ever differ, the types have the last word.
    pub(super) fn part<'p, T>(&mut self, part: &'p Part<T>, pointer: &str) -> Option<&'p T> {
        match &part.0 {
            Ok(value) => Some(value),
            Err(error) => {
                if self.is_clean() {
                    self.value(pointer, error);
                }
                None
            }
        }
    }

    /// The parts of a list that have their shape, with their places.
    pub(super) fn parts<'p, T>(&mut self, list: &'p [Part<T>], pointer: &str) -> Vec<(String, &'p T)> {
        let with_places = list.iter().enumerate().map(|(i, part)| (join(pointer, &i.to_string()), part));
        with_places.filter_map(|(place, part)| self.part(part, &place).map(|value| (place, value))).collect()
    }
}
