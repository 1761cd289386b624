//! A YAML document as a tree of byte ranges, with its comments.
//!
//! The configuration itself is read by `config::yaml`, which drops comments, anchors and quotes. What hides secrets needs
//! all of them: a value's range in the text is what is replaced, and an alias may put a value into a secret's place that
//! is defined elsewhere.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// Deeper documents are not taken apart; `config::yaml` rejects them too.
const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(super) struct Document {
    pub(super) roots: Vec<Node>,
    pub(super) comments: Vec<Comment>,
}

#[derive(Debug)]
pub(super) struct Node {
    /// 0 for none.
    pub(super) anchor: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// The anchor that it refers to.
    Alias(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    /// With escapes resolved.
    pub(super) value: String,
    pub(super) style: Style,
    /// Without quotes, and without the head of a block scalar.
    pub(super) range: Range<usize>,
    /// Of the range's begin, in characters.
    pub(super) column: usize,
    /// Within braces or brackets, where plain scalars may contain less.
    pub(super) in_flow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

impl Style {
    pub(super) fn is_quoted(self) -> bool {
        matches!(self, Self::Single | Self::Double)
    }
}

/// From behind its `#` to the end of the line.
#[derive(Debug)]
pub(super) struct Comment {
    pub(super) range: Range<usize>,
    pub(super) line: usize,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.value),
            Kind::List(_) | Kind::Map(_) | Kind::Alias(_) => None,
        }
    }
}

/// A collection that has begun and not ended.
enum Open {
    List { anchor: usize, items: Vec<Node> },
    Map { anchor: usize, entries: Vec<(Node, Node)>, key: Option<Node> },
}

impl Document {
    /// `None` for a text that is not YAML, or that is nested too deeply.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut document = Self { roots: Vec::new(), comments: Vec::new() };
        let mut open: Vec<Open> = Vec::new();
        // Once within braces or brackets, everything is until they are closed.
        let mut flow = 0_usize;
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.ok()?;
            let node = match event {
                Event::Comment(..) => {
                    let range = span.byte_range()?;
                    document.comments.push(Comment { range: range.start + 1..range.end, line: span.start.line() });
                    continue;
                }
                Event::Scalar(value, style, anchor, _) => {
                    Node { anchor, kind: Kind::Scalar(scalar(text, value.into_owned(), style, &span, flow > 0)?) }
                }
                Event::Alias(anchor) => Node { anchor: 0, kind: Kind::Alias(anchor) },
                Event::SequenceStart(style, anchor, _) => {
                    flow += usize::from(flow > 0 || style == StructureStyle::Flow);
                    begin(&mut open, Open::List { anchor, items: Vec::new() })?;
                    continue;
                }
                Event::MappingStart(style, anchor, _) => {
                    flow += usize::from(flow > 0 || style == StructureStyle::Flow);
                    begin(&mut open, Open::Map { anchor, entries: Vec::new(), key: None })?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    flow = flow.saturating_sub(1);
                    match open.pop()? {
                        Open::List { anchor, items } => Node { anchor, kind: Kind::List(items) },
                        Open::Map { anchor, entries, .. } => Node { anchor, kind: Kind::Map(entries) },
                    }
                }
                _ => continue,
            };
            match open.last_mut() {
                None => document.roots.push(node),
                Some(Open::List { items, .. }) => items.push(node),
                Some(Open::Map { entries, key, .. }) => match key.take() {
                    None => *key = Some(node),
                    Some(key) => entries.push((key, node)),
                },
            }
        }
        open.is_empty().then_some(document)
    }
}

fn begin(open: &mut Vec<Open>, collection: Open) -> Option<()> {
    open.push(collection);
    (open.len() <= MAX_DEPTH).then_some(())
}

fn scalar(text: &str, value: String, style: ScalarStyle, span: &Span, in_flow: bool) -> Option<Scalar> {
    let mut range = span.byte_range()?;
    let source = text.get(range.clone())?;
    let style = match style {
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
        ScalarStyle::Plain => Style::Plain,
    };
    match style {
        Style::Single | Style::Double => {
            // The quotes are part of the span.
            range = range.start + 1..range.end.checked_sub(1).filter(|end| *end > range.start)?;
        }
        // Empty lines before and behind belong to the text around it.
        Style::Literal | Style::Folded => {
            range.start += source.len() - source.trim_start().len();
            range.end -= source.len() - source.trim_end().len();
            range.end = range.end.max(range.start);
        }
        Style::Plain => {}
    }
    let line = text[..range.start].rfind('\n').map_or(0, |end| end + 1);
    let column = text[line..range.start].chars().count();
    Some(Scalar { value, style, range, column, in_flow })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_and_comments_know_their_ranges() {
        let text = "a: &x 'q''x' # c\nb: |\n  one\n\n  two\n\nü: [*x, plain\n  more] # d\n";
        let document = Document::parse(text).unwrap();
        let comments: Vec<_> = document.comments.iter().map(|comment| &text[comment.range.clone()]).collect();
        assert_eq!(comments, [" c", " d"]);
        let Kind::Map(entries) = &document.roots[0].kind else { panic!() };
        let source = |node: &Node| match &node.kind {
            Kind::Scalar(scalar) => text[scalar.range.clone()].to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(source(&entries[0].1), "q''x");
        assert_eq!(source(&entries[1].1), "one\n\n  two");
        let Kind::List(items) = &entries[2].1.kind else { panic!() };
        assert!(matches!(items[0].kind, Kind::Alias(anchor) if anchor == entries[0].1.anchor));
        assert_eq!(source(&items[1]), "plain\n  more");
    }

    #[test]
    fn what_is_no_document_is_not_taken_apart() {
        assert!(Document::parse("a: [1").is_none());
        assert!(Document::parse(&"[".repeat(10_000)).is_none());
        assert!(Document::parse("").is_some_and(|document| document.roots.is_empty()));
    }
}
