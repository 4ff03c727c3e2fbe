//! [`Scene`]: where each node, frame, line and label of a picture stands. Every open group is laid out by itself and is
//! then a box of the group around it.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::Item;
use super::layout::{Link, Point, Port, Rank, Size, layout};
use super::outline::{Kind, Line, Outline};
use super::text;

/// What a node looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    Parameter,
    Leaf,
    Constant,
    Operation,
    Custom,
    Checkpoint,
    Group,
    Loss,
}

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// A formula or a name.
    Main,
    /// What it is, and its shape.
    Small,
    /// Of the sweep.
    Sweep,
}

impl Ink {
    pub(super) fn size(self) -> f64 {
        match self {
            Self::Main => 14.0,
            Self::Small | Self::Sweep => 11.5,
        }
    }

    pub(super) fn leading(self) -> f64 {
        match self {
            Self::Main => 19.0,
            Self::Small | Self::Sweep => 15.0,
        }
    }
}

/// Lines of text.
pub(super) type Texts = Vec<(Ink, String)>;

/// A node or a closed group.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) corner: Point,
    pub(super) size: Point,
    pub(super) look: Look,
    pub(super) texts: Texts,
}

/// The frame of an open group.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) corner: Point,
    pub(super) size: Point,
    pub(super) title: String,
    /// The left end of the title.
    pub(super) title_at: f64,
}

/// Whether a line has the head of an arrow at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Arrow,
    None,
}

/// A line: a value down, and if the sweep passes, its cotangent up.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) points: Vec<Point>,
    /// The end of the value's arrow, below.
    pub(super) down: Head,
    /// The end of the cotangent's arrow, above, if there is one.
    pub(super) up: Option<Head>,
}

/// A label beside a line.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) corner: Point,
    pub(super) texts: Texts,
}

/// Everything in a picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) nodes: Vec<Node>,
    pub(super) frames: Vec<Frame>,
    pub(super) wires: Vec<Wire>,
    pub(super) labels: Vec<Label>,
}

/// Whether the sweep is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    Drawn,
    Hidden,
}

/// Space in a box around its text, and in a frame around its content.
const INSIDE: Point = (14.0, 7.0);
const PADDING: f64 = 14.0;
const HEADER: f64 = 28.0;
/// The width of the end of a line at a frame.
const OPENING: f64 = 18.0;
/// From a line to its label.
pub(super) const TO_LABEL: f64 = 9.0;
/// Texts are broken at about this many signs.
const BROKEN: usize = 58;

/// Returns the picture of the items.
pub(super) fn scene(outline: &Outline, items: &[Item], sweep: Sweep) -> Scene {
    let used = used(outline);
    Builder { outline, sweep, used }.block(items, 0, outline.lines.len()).scene
}

/// Returns by line the lines that use it.
fn used(outline: &Outline) -> Vec<Vec<usize>> {
    let mut used = vec![Vec::new(); outline.lines.len()];
    for (at, line) in outline.lines.iter().enumerate() {
        line.uses.iter().for_each(|operand| used[operand.line].push(at));
    }
    used
}

struct Builder<'a> {
    outline: &'a Outline,
    sweep: Sweep,
    /// By line: the lines that use it.
    used: Vec<Vec<usize>>,
}

/// A laid out group: the picture, and where the lines from outside and to outside meet its border, by line.
#[derive(Default)]
struct Block {
    scene: Scene,
    enters: BTreeMap<usize, f64>,
    leaves: BTreeMap<usize, f64>,
}

/// The range of lines of an item.
fn range(item: &Item) -> (usize, usize) {
    match item {
        Item::Line(line) => (*line, line + 1),
        Item::Closed(closed) => (closed.first, closed.end),
        Item::Open(open) => {
            (open.items.first().map_or(0, |item| range(item).0), open.items.last().map_or(0, |item| range(item).1))
        }
    }
}

impl Builder<'_> {
    /// Lays out items: those of the lines from `first` to before `end`.
    fn block(&self, items: &[Item], first: usize, end: usize) -> Block {
        let inside = |line: usize| (first..end).contains(&line);
        let operands = |(first, end): (usize, usize)| -> BTreeSet<usize> {
            let lines = self.outline.lines[first..end].iter();
            lines
                .flat_map(|line| &line.uses)
                .map(|used| used.line)
                .filter(|line| !(first..end).contains(line))
                .collect()
        };
        let entering: Vec<usize> = operands((first, end)).into_iter().collect();
        let outside = |line: &usize| self.used[*line].iter().any(|&user| !inside(user));
        let leaving: Vec<usize> = (first..end).filter(outside).collect();

        let blocks: Vec<Option<Block>> = items.iter().map(|item| self.inner(item)).collect();
        let texts: Vec<Texts> = items.iter().map(|item| self.texts(item)).collect();
        let opening = |rank| Size { width: OPENING, height: 0.0, rank };
        let mut sizes = vec![opening(Rank::First); entering.len()];
        for ((item, block), texts) in items.iter().zip(&blocks).zip(&texts) {
            let (width, height) = match block {
                Some(block) => (block.scene.width, block.scene.height),
                None => box_size(self.look(item), texts),
            };
            let rank = if matches!(item, Item::Line(_)) { Rank::Late } else { Rank::Free };
            sizes.push(Size { width, height, rank });
        }
        sizes.resize(sizes.len() + leaving.len(), opening(Rank::Last));

        let item_of = |line: usize| {
            let at = items.iter().position(|item| (range(item).0..range(item).1).contains(&line));
            at.expect("the items hold the lines of the group")
        };
        let (mut links, mut wires, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let closed = |at: usize| blocks[at].is_none();
        for (to, item) in items.iter().enumerate() {
            for line in operands(range(item)) {
                let enters = blocks[to].as_ref().map_or(Port::Any, |block| port(&block.enters, line));
                let from = inside(line).then(|| item_of(line));
                let (place, leaves, start) = match from {
                    None => (entering.partition_point(|&own| own < line), Port::Any, Head::None),
                    Some(from) => match &blocks[from] {
                        Some(block) => (entering.len() + from, port(&block.leaves, line), Head::None),
                        None => (entering.len() + from, Port::Any, Head::Arrow),
                    },
                };
                let label = self.label(line, item, from.is_some());
                let size = (label.iter().map(width).fold(0.0, f64::max), height(&label));
                let size = if label.is_empty() { size } else { (size.0 + TO_LABEL, size.1) };
                links.push(Link { from: place, to: entering.len() + to, leaves, enters, label: size });
                let down = if closed(to) { Head::Arrow } else { Head::None };
                wires.push((down, self.passes(line, range(item)).then_some(start)));
                labels.push(label);
            }
        }
        for (at, &line) in leaving.iter().enumerate() {
            let from = item_of(line);
            let leaves = blocks[from].as_ref().map_or(Port::Any, |block| port(&block.leaves, line));
            let place = entering.len() + from;
            let to = entering.len() + items.len() + at;
            links.push(Link { from: place, to, leaves, enters: Port::Any, label: (0.0, 0.0) });
            let start = if closed(from) { Head::Arrow } else { Head::None };
            let passes = self.used[line].iter().any(|&user| !inside(user) && self.passes(line, (user, user + 1)));
            wires.push((Head::None, passes.then_some(start)));
            labels.push(Vec::new());
        }
        let placed = layout(&sizes, &links);
        let mut scene = Scene { width: placed.width, height: placed.height, ..Scene::default() };
        for (at, (item, (block, texts))) in items.iter().zip(blocks.into_iter().zip(texts)).enumerate() {
            let corner = placed.boxes[entering.len() + at];
            let size = sizes[entering.len() + at];
            match block {
                Some(block) => scene.take(block.scene, corner),
                None => {
                    let look = self.look(item);
                    scene.nodes.push(Node { corner, size: (size.width, size.height), look, texts });
                }
            }
        }
        for ((mut points, (down, up)), link) in placed.lines.into_iter().zip(wires).zip(&links) {
            let item = link.from.checked_sub(entering.len()).and_then(|at| items.get(at));
            if let (Some(item), Some(start)) = (item, points.first_mut())
                && matches!(self.look(item), Look::Parameter | Look::Leaf)
            {
                start.1 -= above_ellipse(*start, placed.boxes[link.from], sizes[link.from]);
            }
            scene.wires.push(Wire { points, down, up });
        }
        for (&corner, texts) in placed.labels.iter().zip(labels) {
            if !texts.is_empty() {
                scene.labels.push(Label { corner, texts });
            }
        }
        let at = |position: usize| placed.boxes[position].0 + OPENING / 2.0;
        let enters = entering.iter().enumerate().map(|(k, &line)| (line, at(k))).collect();
        let below = entering.len() + items.len();
        let leaves = leaving.iter().enumerate().map(|(k, &line)| (line, at(below + k))).collect();
        Block { scene, enters, leaves }
    }

    /// Lays out an open group with its frame; `None` for any other item.
    fn inner(&self, item: &Item) -> Option<Block> {
        let Item::Open(open) = item else { return None };
        let (first, end) = range(item);
        let Block { scene, enters, leaves } = self.block(&open.items, first, end);
        let shift = |ports: BTreeMap<usize, f64>| -> BTreeMap<usize, f64> {
            ports.into_iter().map(|(line, x)| (line, x + PADDING)).collect()
        };
        let (enters, leaves) = (shift(enters), shift(leaves));
        let title_width = text::width(&open.title, Ink::Small.size()) + 16.0;
        let (title_at, width) = title_place(enters.values().copied(), title_width, scene.width + 2.0 * PADDING);
        let height = scene.height + HEADER + PADDING;
        let mut framed = Scene { width, height, ..Scene::default() };
        let frame = Frame { corner: (0.0, 0.0), size: (width, height), title: open.title.clone(), title_at };
        framed.frames.push(frame);
        framed.take(scene, (PADDING, HEADER));
        // Lines from and to outside reach the border.
        let straight = |x: f64, from: f64, to: f64| vec![(x, from), (x, to)];
        for (&line, &x) in &enters {
            let passes = self.passes(line, (first, end)).then_some(Head::None);
            framed.wires.push(Wire { points: straight(x, 0.0, HEADER), down: Head::None, up: passes });
        }
        for (&line, &x) in &leaves {
            let outside = |&&user: &&usize| !(first..end).contains(&user);
            let passes = self.used[line].iter().filter(outside).any(|&user| self.passes(line, (user, user + 1)));
            let up = passes.then_some(Head::None);
            framed.wires.push(Wire { points: straight(x, height - PADDING, height), down: Head::None, up });
        }
        Some(Block { scene: framed, enters, leaves })
    }

    /// Returns whether the sweep passes from these lines to an operand, and is drawn.
    fn passes(&self, operand: usize, (first, end): (usize, usize)) -> bool {
        let mut uses = self.outline.lines[first..end].iter().flat_map(|line| &line.uses);
        self.sweep == Sweep::Drawn && uses.any(|used| used.line == operand && used.rule.is_some())
    }

    /// Returns the label of the line from an operand to an item.
    fn label(&self, operand: usize, item: &Item, whole: bool) -> Texts {
        let Line { name, shape, .. } = &self.outline.lines[operand];
        let mut texts = Vec::new();
        if whole {
            texts.push((Ink::Small, shape.to_string()));
        }
        if !self.passes(operand, range(item)) {
            return texts;
        }
        match item {
            Item::Line(line) => {
                let uses = self.outline.lines[*line].uses.iter().filter(|used| used.line == operand);
                for rule in uses.filter_map(|used| used.rule.as_ref()) {
                    let contribution = format!("{} : {shape}", self.outline.contribution(operand, rule));
                    texts.extend(broken(&contribution).into_iter().map(|text| (Ink::Sweep, text)));
                }
            }
            // Inside, or not shown: the rules.
            Item::Open(_) | Item::Closed(_) if whole => texts.push((Ink::Sweep, format!("d{name} : {shape}"))),
            Item::Open(_) | Item::Closed(_) => {}
        }
        texts
    }

    fn look(&self, item: &Item) -> Look {
        let Item::Line(line) = *item else { return Look::Group };
        match self.outline.lines[line].kind {
            _ if self.outline.is_loss(line) => Look::Loss,
            Kind::Parameter => Look::Parameter,
            Kind::Leaf => Look::Leaf,
            Kind::Constant => Look::Constant,
            Kind::Operation => Look::Operation,
            Kind::Custom => Look::Custom,
            Kind::Checkpoint => Look::Checkpoint,
        }
    }

    /// Returns the text in a box.
    fn texts(&self, item: &Item) -> Texts {
        let at = match item {
            Item::Open(_) => return Vec::new(),
            Item::Closed(closed) => {
                return vec![(Ink::Main, closed.title.clone()), (Ink::Small, closed.content.clone())];
            }
            Item::Line(at) => *at,
        };
        let line = &self.outline.lines[at];
        let mut texts: Texts = broken(&line.assignment()).into_iter().map(|text| (Ink::Main, text)).collect();
        let described = match line.kind {
            Kind::Custom | Kind::Checkpoint => line.call.clone(),
            // The formula or the outline says it.
            Kind::Operation | Kind::Parameter | Kind::Leaf | Kind::Constant => String::new(),
        };
        // No line leaves it that would have its shape beside it.
        let shape = if self.used[at].is_empty() { line.shape.to_string() } else { String::new() };
        let small = format!("{described} {shape}");
        if !small.trim().is_empty() {
            texts.push((Ink::Small, small.trim().into()));
        }
        if self.sweep == Sweep::Drawn && line.reached {
            let (name, shape) = (&line.name, &line.shape);
            texts.push((
                Ink::Sweep,
                match (line.kind, self.outline.root == Some(at)) {
                    (Kind::Parameter | Kind::Leaf, _) => format!(".grad += d{name}"),
                    (_, true) if shape.elements() == 1 => format!("g = d{name} = 1"),
                    (_, true) => format!("g = d{name} : {shape}, the seed"),
                    (_, false) => format!("g = d{name}"),
                },
            ));
        }
        texts
    }
}

impl Scene {
    /// Adds another picture at a place in this one.
    fn take(&mut self, other: Self, (x, y): Point) {
        let moved = |point: Point| (point.0 + x, point.1 + y);
        self.nodes.extend(other.nodes.into_iter().map(|node| Node { corner: moved(node.corner), ..node }));
        self.labels.extend(other.labels.into_iter().map(|label| Label { corner: moved(label.corner), ..label }));
        self.frames.extend(other.frames.into_iter().map(|frame| Frame {
            corner: moved(frame.corner),
            title_at: frame.title_at + x,
            ..frame
        }));
        self.wires.extend(other.wires.into_iter().map(|wire| {
            let points = wire.points.iter().copied().map(moved).collect();
            Wire { points, ..wire }
        }));
    }
}

/// Returns the height of the lower end of a box above its side at a point: an ellipse ends higher than the box around it.
fn above_ellipse((x, _): Point, (left, _): Point, Size { width, height, .. }: Size) -> f64 {
    let from_middle = (2.0 * (x - left) / width - 1.0).clamp(-1.0, 1.0);
    height / 2.0 * (1.0 - (1.0 - from_middle * from_middle).sqrt())
}

fn port(ports: &BTreeMap<usize, f64>, line: usize) -> Port {
    ports.get(&line).map_or(Port::Any, |&x| Port::At(x))
}

/// Returns the size of a box with this text.
fn box_size(look: Look, texts: &Texts) -> Point {
    let (width, height) = (texts.iter().map(width).fold(0.0, f64::max), height(texts));
    // An ellipse holds a rectangle of 1/√2 of its axes, the others lose their corners.
    let (wider, higher) = match look {
        Look::Parameter | Look::Leaf => (0.3 * width + 10.0, 0.3 * height),
        Look::Constant | Look::Loss => (28.0, 2.0),
        Look::Checkpoint | Look::Custom => (12.0, 0.0),
        Look::Operation | Look::Group => (0.0, 0.0),
    };
    ((width + wider + 2.0 * INSIDE.0).max(52.0), (height + higher + 2.0 * INSIDE.1).max(34.0))
}

/// Returns the width of a line of text.
pub(super) fn width((ink, line): &(Ink, String)) -> f64 {
    text::width(line, ink.size())
}

/// Returns the height of lines of text.
pub(super) fn height(texts: &Texts) -> f64 {
    texts.iter().map(|(ink, _)| ink.leading()).sum()
}

/// Returns where the title of a frame starts, to the left if no line passes there, and the width of the frame.
fn title_place(lines: impl Iterator<Item = f64>, title: f64, width: f64) -> (f64, f64) {
    let mut left = 4.0;
    let mut lines: Vec<f64> = lines.collect();
    lines.sort_by(f64::total_cmp);
    for line in lines {
        if line - OPENING / 2.0 - left >= title {
            break;
        }
        left = line + OPENING / 2.0;
    }
    (left + 8.0, width.max(left + title))
}

/// Returns a long text in several lines.
fn broken(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + word.chars().count() > BROKEN {
            lines.push(format!("  {word}"));
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
