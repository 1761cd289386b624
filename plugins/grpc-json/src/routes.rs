//! From method and path to a binding. Literals go before `*`, and that before `**`.

use std::{borrow::Cow, collections::HashMap};

use percent_encoding::percent_decode_str;

use crate::rule::{Binding, Segment, Variable};

#[derive(Default)]
pub(crate) struct Routes {
    bindings: Vec<Binding>,
    root: Node,
}

#[derive(Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    /// What ends here, and what takes all that follows.
    ends: Vec<End>,
    rests: Vec<End>,
}

struct End {
    verb: String,
    suffix: Option<String>,
    binding: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchedMethod {
    Binding(usize),
    /// Other methods have that path.
    OtherMethod,
    Nothing,
}

impl Routes {
    /// Adds a binding, unless another one has its place.
    pub(crate) fn add(&mut self, binding: Binding) -> Result<(), String> {
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &binding.template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::One => node = node.one.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        let ends = if rest { &mut node.rests } else { &mut node.ends };
        let suffix = &binding.template.suffix;
        if let Some(other) = ends.iter().find(|end| end.verb == binding.verb && end.suffix == *suffix) {
            let other = self.bindings[other.binding].method.full_name().to_owned();
            return Err(format!("has the same method and path as {other}"));
        }
        ends.push(End { verb: binding.verb.clone(), suffix: suffix.clone(), binding: self.bindings.len() });
        self.bindings.push(binding);
        Ok(())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Binding> {
        self.bindings.get(index)
    }

    pub(crate) fn all(&self) -> &[Binding] {
        &self.bindings
    }

    /// The path begins with a slash, and is as it was sent.
    pub(crate) fn find(&self, verb: &str, path: &str) -> MatchedMethod {
        let segments = segments(path);
        let mut found = MatchedMethod::Nothing;
        self.root.find(verb, &segments, &mut found);
        found
    }
}

impl Node {
    /// Leaves the first binding of the method in `found`, and says whether there is one.
    fn find(&self, verb: &str, segments: &[&str], found: &mut MatchedMethod) -> bool {
        let Some((first, after)) = segments.split_first() else {
            return ended(&self.ends, verb, None, found) || ended(&self.rests, verb, None, found);
        };
        // What follows the last colon may be a verb of its own.
        let colon = if after.is_empty() { first.rsplit_once(':') } else { None };
        if let Some((segment, suffix)) = colon {
            let node = |node: &Node, found: &mut MatchedMethod| ended(&node.ends, verb, Some(suffix), found);
            if self.literals.get(segment).is_some_and(|child| node(child, found))
                || !segment.is_empty() && self.one.as_ref().is_some_and(|child| node(child, found))
            {
                return true;
            }
        }
        if self.literals.get(*first).is_some_and(|child| child.find(verb, after, found)) {
            return true;
        }
        if !first.is_empty() && self.one.as_ref().is_some_and(|child| child.find(verb, after, found)) {
            return true;
        }
        let suffix = segments.last().and_then(|last| last.rsplit_once(':')).map(|(_, suffix)| suffix);
        suffix.is_some() && ended(&self.rests, verb, suffix, found) || ended(&self.rests, verb, None, found)
    }
}

fn ended(ends: &[End], verb: &str, suffix: Option<&str>, found: &mut MatchedMethod) -> bool {
    let mut ends = ends.iter().filter(|end| end.suffix.as_deref() == suffix).peekable();
    if ends.peek().is_some() && *found == MatchedMethod::Nothing {
        *found = MatchedMethod::OtherMethod;
    }
    // The method's own before those of any.
    let end = ends.clone().find(|end| end.verb == verb).or_else(|| ends.find(|end| end.verb == "*"));
    if let Some(end) = end {
        *found = MatchedMethod::Binding(end.binding);
    }
    end.is_some()
}

fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// What a variable of the binding got, decoded; `None` if it is not UTF-8 then.
pub(crate) fn captured<'a>(binding: &Binding, variable: &Variable, path: &'a str) -> Option<Cow<'a, str>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = match &binding.template.suffix {
        Some(suffix) => path.strip_suffix(suffix.as_str()).and_then(|path| path.strip_suffix(':')).unwrap_or(path),
        None => path,
    };
    let Variable { from, count, .. } = *variable;
    let start = match from.checked_sub(1) {
        None => 0,
        Some(slash) => path.match_indices('/').nth(slash)?.0 + 1,
    };
    let last = count.map(|count| from + count - 1);
    let end = last.and_then(|slash| path.match_indices('/').nth(slash)).map_or(path.len(), |(at, _)| at);
    let text = path.get(start..end)?;
    if count == Some(1) {
        return percent_decode_str(text).decode_utf8().ok();
    }
    // Over several segments a slash stays distinguishable from `%2F`.
    let (mut decoded, mut done) = (Vec::with_capacity(text.len()), 0);
    for (at, _) in text.to_ascii_lowercase().match_indices("%2f") {
        decoded.extend(percent_decode_str(&text[done..at]));
        done = at + 3;
        decoded.extend_from_slice(&text.as_bytes()[at..done]);
    }
    decoded.extend(percent_decode_str(&text[done..]));
    String::from_utf8(decoded).ok().map(Cow::Owned)
}
