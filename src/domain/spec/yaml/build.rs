//! From saphyr-parser's events to the tree, within limits.
//!
//! Refuses what a `lain.yaml` has no use for (several documents, tags, keys that are not text)
//! and what would exhaust memory (deep nesting, aliases of aliases). Anchors, aliases and merge
//! keys work, as they did in LAIN: YAML's own means against repetition.

use super::super::error::{Place, SpecCode};
use super::super::report::{Finding, Path, Report, shown};
use super::events::{
    EventSource, Step, place, refuse_tag, scalar_style, syntax_error, too_deep, width,
};
use super::{Content, Entry, Node, Scalar, Style};
use saphyr_parser::{Event, Parser, Span};
use std::collections::HashMap;

/// Bytes of a file that are read at most.
pub(in crate::domain::spec) const MAX_BYTES: usize = 1024 * 1024;
/// Levels of nesting.
pub(super) const MAX_DEPTH: usize = 32;
/// Nodes, those of expanded aliases included.
const MAX_NODES: usize = 100_000;
/// Bytes of text in the nodes, those of expanded aliases included.
const MAX_TEXT: usize = 8 * MAX_BYTES;

/// Reads `text`, which has passed the checks on its characters, into a tree.
///
/// `None` if there is no tree to go on with; the report then says why.
pub(in crate::domain::spec) fn read(text: &str, report: &mut Report<'_>) -> Option<Node> {
    let mut builder = Builder::default();
    for event in EventSource(Some(Parser::new_from_str(text))) {
        let step = match event {
            Ok((event, span)) => builder.on_event(event, span, report),
            Err(error) => Err(Box::new(syntax_error(&error, text))),
        };
        match step {
            Ok(()) => {}
            Err(finding) => {
                report.error(*finding);
                return None;
            }
        }
    }
    if builder.root.is_none() {
        let place = Place { line: 1, column: 1 };
        let finding = Finding::new(
            SpecCode::DocumentCount,
            place,
            Path::root(),
            "the file is empty",
        );
        report.error(finding.expected("a mapping with at least `appname`"));
    }
    builder.root
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    documents: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    text: usize,
}

struct Frame {
    place: Place,
    width: u32,
    anchor: usize,
    height: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, Place>,
        key: Option<Key>,
    },
}

struct Key {
    text: String,
    quoted: bool,
    place: Place,
    width: u32,
}

/// A node that aliases can refer to, with what one more copy costs.
struct Anchored {
    node: Node,
    height: usize,
    nodes: usize,
    text: usize,
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, span: Span, report: &mut Report<'_>) -> Step {
        match event {
            Event::DocumentStart(_) => self.start_document(&span),
            Event::Scalar(text, style, anchor, tag) => {
                let style = scalar_style(style, tag.as_deref(), &span)?;
                let content = Content::Scalar(Scalar {
                    text: text.into_owned(),
                    style,
                });
                let node = Node {
                    place: place(&span.start),
                    width: width(&span),
                    content,
                };
                self.finish_node(node, 1, anchor, report)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), &span)?;
                self.open(&span, anchor, FrameKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), &span)?;
                let kind = FrameKind::Map {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                };
                self.open(&span, anchor, kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(report),
            Event::Alias(anchor) => self.alias(anchor, &span, report),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn start_document(&mut self, span: &Span) -> Step {
        self.documents += 1;
        if self.documents > 1 {
            let message = "a second YAML document starts here";
            let finding = Finding::new(
                SpecCode::DocumentCount,
                place(&span.start),
                Path::root(),
                message,
            );
            return Err(Box::new(
                finding.expected("one document; one lain.yaml describes one app"),
            ));
        }
        Ok(())
    }

    fn open(&mut self, span: &Span, anchor: usize, kind: FrameKind) -> Step {
        let place = place(&span.start);
        self.check_depth(self.stack.len() + 1, place)?;
        self.stack.push(Frame {
            place,
            width: width(span).max(1),
            anchor,
            height: 1,
            kind,
        });
        Ok(())
    }

    fn check_depth(&self, depth: usize, place: Place) -> Step {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(Box::new(too_deep(place)))
    }

    fn close(&mut self, report: &mut Report<'_>) -> Step {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let content = match frame.kind {
            FrameKind::List(items) => Content::List(items),
            FrameKind::Map { entries, seen, .. } => Content::Map(self.merge(entries, seen)?),
        };
        let node = Node {
            place: frame.place,
            width: frame.width,
            content,
        };
        self.finish_node(node, frame.height, frame.anchor, report)
    }

    fn alias(&mut self, anchor: usize, span: &Span, report: &mut Report<'_>) -> Step {
        let at = place(&span.start);
        let Some(anchored) = self.anchors.get(&anchor) else {
            let message = "this alias stands for something that contains it";
            return Err(Box::new(Finding::new(
                SpecCode::TooComplex,
                at,
                Path::root(),
                message,
            )));
        };
        let (height, nodes, text) = (anchored.height, anchored.nodes, anchored.text);
        self.check_depth(self.stack.len() + height, at)?;
        self.spend(nodes, text, at)?;
        // The copy keeps the places of the original: that is where a wrong value must be mended.
        let node = self.anchors[&anchor].node.clone();
        self.place_node(node, height, report)
    }

    fn spend(&mut self, nodes: usize, text: usize, place: Place) -> Step {
        self.nodes += nodes;
        self.text += text;
        if self.nodes <= MAX_NODES && self.text <= MAX_TEXT {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values, those of aliases included");
        Err(Box::new(Finding::new(
            SpecCode::TooComplex,
            place,
            Path::root(),
            message,
        )))
    }

    /// A node that the file writes out: counted, remembered if it has an anchor, and placed.
    fn finish_node(
        &mut self,
        node: Node,
        height: usize,
        anchor: usize,
        report: &mut Report<'_>,
    ) -> Step {
        let text = node.scalar().map_or(0, |scalar| scalar.text.len());
        self.spend(1, text, node.place)?;
        if anchor > 0 {
            let (nodes, text) = cost(&node);
            self.spend(nodes, text, node.place)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    height,
                    nodes,
                    text,
                },
            );
        }
        self.place_node(node, height, report)
    }

    fn place_node(&mut self, node: Node, height: usize, report: &mut Report<'_>) -> Step {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.height = frame.height.max(height + 1);
        match &mut frame.kind {
            FrameKind::List(items) => items.push(node),
            FrameKind::Map {
                key: slot @ None, ..
            } => *slot = Some(as_key(node)?),
            FrameKind::Map { key, .. } => {
                if let Some(key) = key.take() {
                    self.place_entry(key, node, report);
                }
            }
        }
        Ok(())
    }

    /// Adds an entry to the innermost mapping, unless its key is there already.
    fn place_entry(&mut self, key: Key, mut node: Node, report: &mut Report<'_>) {
        let Some(FrameKind::Map { entries, seen, .. }) = self.stack.last_mut().map(|f| &mut f.kind)
        else {
            return;
        };
        if let Some(first) = seen.get(&key.text).copied() {
            let message = format!("key `{}` is given twice", shown(&key.text));
            let path = self.path(&key.text);
            let finding = Finding::new(SpecCode::DuplicateKey, key.place, path, message);
            return report.error(finding.width(key.width).other(first));
        }
        seen.insert(key.text.clone(), key.place);
        point_at_key(&mut node, key.place, key.width);
        let Key {
            text,
            quoted,
            place,
            width,
        } = key;
        entries.push(Entry {
            key: text,
            quoted,
            place,
            width,
            node,
        });
    }

    /// The path of a key of the innermost mapping.
    fn path(&self, last: &str) -> String {
        let outer = self.stack.iter().rev().skip(1).rev();
        let mut path = String::new();
        for frame in outer {
            match &frame.kind {
                FrameKind::List(items) => path.push_str(&format!("[{}]", items.len())),
                FrameKind::Map { key, .. } => {
                    let key = key.as_ref().map_or(String::new(), |key| shown(&key.text));
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(&key);
                }
            }
        }
        if path.is_empty() {
            shown(last)
        } else {
            format!("{path}.{}", shown(last))
        }
    }

    /// Carries out `<<`: its mapping's entries are added where the key is not given already.
    fn merge(
        &mut self,
        mut entries: Vec<Entry>,
        mut seen: HashMap<String, Place>,
    ) -> Result<Vec<Entry>, Box<Finding>> {
        let Some(index) = entries.iter().position(|e| e.key == "<<" && !e.quoted) else {
            return Ok(entries);
        };
        let merge = entries.remove(index);
        let sources = merge
            .node
            .items()
            .unwrap_or(std::slice::from_ref(&merge.node));
        for source in sources {
            let Some(merged) = source.entries() else {
                let message = format!("`<<` merges mappings, this is {}", source.describe());
                let finding = Finding::new(SpecCode::UnsupportedYaml, source.place, "<<", message);
                return Err(Box::new(
                    finding
                        .width(source.width)
                        .expected("an alias of a mapping, or a list of them"),
                ));
            };
            for entry in merged {
                if !seen.contains_key(&entry.key) {
                    seen.insert(entry.key.clone(), entry.place);
                    entries.push(entry.clone());
                }
            }
        }
        Ok(entries)
    }
}

/// A mapping, a list or nothing has no text to point at: if it is elsewhere, its key is shown.
fn point_at_key(node: &mut Node, place: Place, width: u32) {
    let textless = node
        .scalar()
        .is_none_or(|scalar| scalar.text.is_empty() && scalar.style == Style::Plain);
    if textless && (node.place.line != place.line || node.scalar().is_some()) {
        (node.place, node.width) = (place, width);
    }
}

fn cost(node: &Node) -> (usize, usize) {
    let add = |(n, t): (usize, usize), (m, u): (usize, usize)| (n + m, t + u);
    match &node.content {
        Content::Scalar(scalar) => (1, scalar.text.len()),
        Content::List(items) => items.iter().map(cost).fold((1, 0), add),
        Content::Map(entries) => entries
            .iter()
            .map(|e| add(cost(&e.node), (1, e.key.len())))
            .fold((1, 0), add),
    }
}

fn as_key(node: Node) -> Result<Key, Box<Finding>> {
    match node.content {
        Content::Scalar(scalar) => {
            let quoted = scalar.style == Style::Quoted;
            Ok(Key {
                text: scalar.text,
                quoted,
                place: node.place,
                width: node.width,
            })
        }
        Content::List(_) | Content::Map(_) => {
            let message = "a key must be text";
            let finding =
                Finding::new(SpecCode::UnsupportedYaml, node.place, Path::root(), message);
            Err(Box::new(finding.suggest(
                "put quotes around a value that starts with { or [",
            )))
        }
    }
}
