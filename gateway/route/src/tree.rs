//! Path patterns as a tree of segments.

use std::{cmp::Ordering, collections::HashMap, ops::ControlFlow};

use ahash::RandomState;
use gateway_core::model::{PathPattern, Segment};
use smallvec::SmallVec;

/// The patterns of one host. Each node stands for the segments from the root to it.
///
/// A search reaches a node only from its parent, and at most once; so it visits no more nodes than there are,
/// and no more than 2ⁿ within the first n segments: a hostile path cannot make it longer than the patterns do.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, usize, RandomState>,
    parameter: Option<usize>,
    /// Routes whose pattern ends here.
    here: Vec<usize>,
    /// Routes whose pattern ends here with `{*rest}`.
    rest: Vec<usize>,
}

/// A step of the search that is still to be done.
enum Step<'p> {
    /// `None` where the path has ended.
    Enter(usize, Option<&'p str>),
    Rest(usize),
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Tree {
    pub(super) fn insert(&mut self, route: usize, pattern: &PathPattern) {
        let mut at = 0;
        for segment in &pattern.segments {
            at = match segment {
                Segment::Literal(text) => self.literal(at, text),
                Segment::Parameter(_) => match self.nodes[at].parameter {
                    Some(node) => node,
                    None => {
                        let node = self.plant();
                        self.nodes[at].parameter = Some(node);
                        node
                    }
                },
                Segment::Rest(_) => {
                    self.nodes[at].rest.push(route);
                    return;
                }
            };
        }
        if pattern.segments.is_empty() {
            // The root path has one segment, which is empty.
            at = self.literal(at, "");
        }
        self.nodes[at].here.push(route);
    }

    /// Orders the routes that have the same pattern. Nothing is inserted any more then, and what room there is for more is
    /// given back.
    pub(super) fn sort_by(&mut self, mut order: impl FnMut(&usize, &usize) -> Ordering) {
        for node in &mut self.nodes {
            for routes in [&mut node.here, &mut node.rest] {
                routes.sort_by(&mut order);
                routes.shrink_to_fit();
            }
        }
        self.nodes.shrink_to_fit();
    }

    /// Shows the routes whose pattern matches, the most specific first. `path` lacks its leading slash.
    pub(super) fn search<R>(&self, path: &str, mut visit: impl FnMut(usize) -> ControlFlow<R>) -> ControlFlow<R> {
        // Alternatives lie on the stack with the most specific on top.
        let mut steps: SmallVec<[Step<'_>; 16]> = SmallVec::new();
        steps.push(Step::Enter(0, Some(path)));
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(node, None) => {
                    let node = &self.nodes[node];
                    node.here.iter().chain(&node.rest).try_for_each(|&route| visit(route))?;
                }
                Step::Rest(node) => self.nodes[node].rest.iter().try_for_each(|&route| visit(route))?,
                Step::Enter(index, Some(path)) => {
                    let node = &self.nodes[index];
                    let (segment, tail) = match path.split_once('/') {
                        Some((segment, tail)) => (segment, Some(tail)),
                        None => (path, None),
                    };
                    if !node.rest.is_empty() {
                        steps.push(Step::Rest(index));
                    }
                    if let Some(child) = node.parameter.filter(|_| !segment.is_empty()) {
                        steps.push(Step::Enter(child, tail));
                    }
                    if let Some(&child) = node.literals.get(segment) {
                        steps.push(Step::Enter(child, tail));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn literal(&mut self, at: usize, text: &str) -> usize {
        if let Some(&node) = self.nodes[at].literals.get(text) {
            return node;
        }
        let node = self.plant();
        self.nodes[at].literals.insert(text.to_owned(), node);
        node
    }

    fn plant(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }
}
