//! A picture in the language of Graphviz.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::fold::{Closed, Item, Open};
use super::outline::{Kind, Outline};
use super::scene::Sweep;
use super::text::dot as quoted;

/// The colours are legible on light and on dark pages: nodes bring their own ground.
const HEAD: &str = r##"digraph tape {
  bgcolor="transparent"; compound=true; fontname="Helvetica"; fontsize=11; fontcolor="#7d8894"; color="#9aa7b5";
  node [fontname="Helvetica", fontsize=13, style=filled, fontcolor="#1b2733", margin="0.12,0.06"];
  edge [fontname="Helvetica", fontsize=11, color="#7d8894", fontcolor="#7d8894", arrowsize=0.7];
"##;

/// Returns the items in the language of `dot`.
pub(super) fn dot(outline: &Outline, items: &[Item], sweep: Sweep) -> String {
    let mut writer =
        Writer { outline, sweep, out: HEAD.into(), groups: 0, home: vec![String::new(); outline.lines.len()] };
    writer.items(items, 1);
    writer.edges();
    writer.out += "}\n";
    writer.out
}

struct Writer<'a> {
    outline: &'a Outline,
    sweep: Sweep,
    out: String,
    /// The number of groups so far.
    groups: usize,
    /// By line: the box that it is drawn in.
    home: Vec<String>,
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{:indent$}{line}", "", indent = 2 * depth);
    }

    fn items(&mut self, items: &[Item], depth: usize) {
        for item in items {
            match item {
                Item::Line(line) => self.node(*line, depth),
                Item::Closed(closed) => self.closed(closed, depth),
                Item::Open(Open { title, items }) => {
                    self.groups += 1;
                    let group = self.groups;
                    self.line(depth, format_args!("subgraph cluster_{group} {{"));
                    let title = quoted(std::slice::from_ref(title));
                    self.line(depth + 1, format_args!(r#"label={title}; style="dashed,rounded"; labeljust=l;"#));
                    self.items(items, depth + 1);
                    self.line(depth, format_args!("}}"));
                }
            }
        }
    }

    fn node(&mut self, at: usize, depth: usize) {
        let line = &self.outline.lines[at];
        let shape = match line.kind {
            _ if self.outline.is_loss(at) => r##"shape=hexagon, fillcolor="#fbdcdc", color="#b01c1c""##,
            Kind::Parameter => r##"shape=ellipse, fillcolor="#fff0cc", color="#a85b00""##,
            Kind::Leaf => r##"shape=ellipse, peripheries=2, fillcolor="#dcf3e2", color="#14763a""##,
            Kind::Constant => r##"shape=parallelogram, fillcolor="#e1ebf7", color="#2f5f98""##,
            Kind::Operation => r##"shape=box, fillcolor="#ffffff", color="#3b4b5c""##,
            Kind::Custom => r##"shape=box, peripheries=2, fillcolor="#ffffff", color="#3b4b5c""##,
            Kind::Checkpoint => r##"shape=box3d, fillcolor="#ffffff", color="#3b4b5c""##,
        };
        let mut label = vec![line.assignment()];
        if line.is_computed() {
            label.push(line.call.clone());
        }
        label.push(line.shape.to_string());
        let label = quoted(&label);
        self.home[at] = format!("n{}", line.id);
        self.line(depth, format_args!("n{} [label={label}, {shape}];", line.id));
    }

    fn closed(&mut self, Closed { first, end, title, content }: &Closed, depth: usize) {
        self.groups += 1;
        let (group, label) = (self.groups, quoted(&[title.clone(), content.clone()]));
        self.home[*first..*end].fill(format!("g{group}"));
        let look = r##"shape=box, style="filled,rounded", fillcolor="#ebe4f6", color="#6b3fa0""##;
        self.line(depth, format_args!("g{group} [label={label}, {look}];"));
    }

    fn edges(&mut self) {
        // A value that a closed group uses several times leads to it once.
        let mut drawn: BTreeSet<(usize, String)> = BTreeSet::new();
        for (at, line) in self.outline.lines.iter().enumerate() {
            for used in &line.uses {
                let (from, to) = (self.home[used.line].clone(), self.home[at].clone());
                if from == to {
                    continue;
                }
                let operand = &self.outline.lines[used.line];
                let single = to == format!("n{}", line.id);
                let first = drawn.insert((used.line, to.clone()));
                if first {
                    let label = quoted(&[operand.shape.to_string()]);
                    self.line(1, format_args!("{from} -> {to} [label={label}];"));
                }
                let Some(rule) = used.rule.as_ref().filter(|_| self.sweep == Sweep::Drawn && (single || first)) else {
                    continue;
                };
                let rule =
                    if single { self.outline.contribution(used.line, rule) } else { format!("d{}", operand.name) };
                let label = quoted(&[rule, operand.shape.to_string()]);
                let look = r##"style=dashed, constraint=false, color="#c2378a", fontcolor="#c2378a""##;
                self.line(1, format_args!("{to} -> {from} [label={label}, {look}];"));
            }
        }
    }
}
