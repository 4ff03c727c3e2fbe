//! [`Item`]: what a picture shows. Groups are open or closed, so that a large recording stays readable.

use std::collections::BTreeMap;

use super::outline::Outline;

/// What stands in a picture, or in an open group.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A node, by its line.
    Line(usize),
    /// A frame around items.
    Open(Open),
    /// Several lines as one box.
    Closed(Closed),
}

/// A group that shows its items.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) title: String,
    pub(super) items: Vec<Item>,
}

/// Lines that are drawn as one box: those from `first` to before `end`.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) title: String,
    pub(super) content: String,
}

/// The number of boxes into which a long row of nodes or layers is gathered.
const GATHERED: usize = 20;

/// Returns what a picture of at most about `budget` nodes shows.
pub(super) fn fold(outline: &Outline, budget: usize) -> Vec<Item> {
    let tree = tree(outline, 0, outline.lines.len(), &mut outline.groups.iter().map(|_| false).collect::<Vec<_>>());
    open(outline, &tree, budget.max(1))
}

/// A line, or a group with its parts.
enum Tree {
    Line(usize),
    Group { first: usize, end: usize, title: String, parts: Vec<Tree> },
}

impl Tree {
    fn range(&self) -> (usize, usize) {
        match *self {
            Self::Line(line) => (line, line + 1),
            Self::Group { first, end, .. } => (first, end),
        }
    }

    fn lines(&self) -> usize {
        let (first, end) = self.range();
        end - first
    }
}

/// Returns the outermost groups and the lines between them, of the lines from `first` to before `end`. `taken` marks the
/// groups that are around them.
fn tree(outline: &Outline, first: usize, end: usize, taken: &mut Vec<bool>) -> Vec<Tree> {
    let (mut parts, mut line) = (Vec::new(), first);
    while line < end {
        let Some((at, range)) = outline.groups_at(line).find(|(at, range)| !taken[*at] && range.end <= end) else {
            parts.push(Tree::Line(line));
            line += 1;
            continue;
        };
        taken[at] = true;
        let inner = tree(outline, range.first, range.end, taken);
        parts.push(Tree::Group { first: range.first, end: range.end, title: range.name.clone(), parts: inner });
        line = range.end;
    }
    parts
}

/// Opens groups as far as the budget allows.
fn open(outline: &Outline, parts: &[Tree], budget: usize) -> Vec<Item> {
    let lines: usize = parts.iter().map(Tree::lines).sum();
    if parts.len() > budget {
        return gather(outline, parts, budget.min(GATHERED));
    }
    let spare = budget - parts.len();
    let item = |part: &Tree| match part {
        Tree::Line(line) => Item::Line(*line),
        Tree::Group { title, parts, .. } => {
            // All that there is, or a share by size.
            let share = if lines <= budget { part.lines() } else { 1 + spare * part.lines() / lines };
            let nested = parts.iter().any(|part| matches!(part, Tree::Group { .. }));
            if part.lines() <= share || nested && share >= 4 {
                Item::Open(Open { title: title.clone(), items: open(outline, parts, share) })
            } else {
                closed(outline, std::slice::from_ref(part))
            }
        }
    };
    parts.iter().map(item).collect()
}

/// Gathers neighbours into at most `count` boxes.
fn gather(outline: &Outline, parts: &[Tree], count: usize) -> Vec<Item> {
    parts.chunks(parts.len().div_ceil(count)).map(|parts| closed(outline, parts)).collect()
}

/// Returns neighbours as one box: a group under its name, others with their numbers.
fn closed(outline: &Outline, parts: &[Tree]) -> Item {
    let first = parts.first().map_or(0, |part| part.range().0);
    let end = parts.last().map_or(0, |part| part.range().1);
    if let [Tree::Line(line)] = *parts {
        return Item::Line(line);
    }
    let number = |line: usize| outline.lines[line].id;
    let (title, inner) = match parts {
        [Tree::Group { title, parts, .. }] => (title.clone(), &**parts),
        _ => (format!("nodes {} to {}", number(first), number(end - 1)), parts),
    };
    Item::Closed(Closed { first, end, title, content: content(outline, inner) })
}

/// Returns how many of what there are: `3 Linear, 2 tanh`.
fn content(outline: &Outline, parts: &[Tree]) -> String {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (order, part) in parts.iter().enumerate() {
        let kind = match part {
            Tree::Line(line) => outline.lines[*line].op,
            Tree::Group { title, .. } => title.split(' ').next().unwrap_or_default(),
        };
        counts.entry(kind).or_insert((order, 0)).1 += 1;
    }
    let mut kinds: Vec<_> = counts.into_iter().collect();
    // The most frequent first, then in their order.
    kinds.sort_by_key(|&(_, (order, count))| (std::cmp::Reverse(count), order));
    let more = if kinds.len() > 3 { ", …" } else { "" };
    let list: Vec<String> = kinds.iter().take(3).map(|(kind, (_, count))| format!("{count} {kind}")).collect();
    format!("{}{more}", list.join(", "))
}
