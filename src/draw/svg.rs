//! A picture as SVG: one file, with the colours for light and for dark pages in it.

use std::fmt::Write;

use super::layout::Point;
use super::scene::{Frame, Head, Ink, Label, Look, Node, Scene, TO_LABEL, Texts, Wire, height};
use super::text::{self, xml};

/// The colours on a light and on a dark page: what is coloured, which property, and both colours. They are written out,
/// because not every program that reads SVG knows variables.
const COLOURS: [(&str, &str, &str, &str); 25] = [
    ("text", "fill", "#1b2733", "#e9eef3"),
    (".small", "fill", "#566270", "#a9b5c1"),
    (".title", "fill", "#566270", "#a9b5c1"),
    (".sweep", "fill", "#b3136b", "#ff7fc0"),
    (".frame", "fill", "#f4f6f9", "#141a20"),
    (".frame", "stroke", "#9aa7b5", "#56636f"),
    (".wire", "stroke", "#66727f", "#8a97a5"),
    (".head", "fill", "#66727f", "#8a97a5"),
    (".up", "stroke", "#b3136b", "#ff7fc0"),
    (".up-head", "fill", "#b3136b", "#ff7fc0"),
    (".operation", "fill", "#ffffff", "#232c35"),
    (".operation", "stroke", "#3b4b5c", "#9fb0c0"),
    (".custom, .tape .checkpoint", "fill", "#ffffff", "#232c35"),
    (".custom, .tape .checkpoint", "stroke", "#3b4b5c", "#9fb0c0"),
    (".parameter", "fill", "#fff0cc", "#46340f"),
    (".parameter", "stroke", "#a85b00", "#f0b44d"),
    (".leaf", "fill", "#dcf3e2", "#16391f"),
    (".leaf", "stroke", "#14763a", "#58c67c"),
    (".constant", "fill", "#e1ebf7", "#1a3352"),
    (".constant", "stroke", "#2f5f98", "#7db2ee"),
    (".group", "fill", "#ebe4f6", "#32264a"),
    (".group", "stroke", "#6b3fa0", "#b794ec"),
    (".loss", "fill", "#fbdcdc", "#4d1a1d"),
    (".loss", "stroke", "#b01c1c", "#ff8a86"),
    (".inner", "fill", "none", "none"),
];

/// Everything else about the looks. All rules are for this picture alone, also within a page.
const STYLE: &str = "\
.tape text { font-family: 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; font-size: 11.5px; stroke: none; }
.tape .main { font-size: 14px; }
.tape .title { font-weight: 600; }
.tape .node text { text-anchor: middle; }
.tape .node, .tape .key { stroke-width: 1.5; }
.tape .inner { stroke-width: 1; }
.tape .frame { stroke-dasharray: 5 4; }
.tape .wire { fill: none; stroke-width: 1.4; }
.tape .up { fill: none; stroke-width: 1.4; stroke-dasharray: 5 3; }
";

/// Returns the style sheet.
fn style() -> String {
    let rule = |(what, property, light, dark): &(&str, &str, &str, &str)| {
        [light, dark].map(|colour| format!(".tape {what} {{ {property}: {colour}; }}\n"))
    };
    let rules: Vec<[String; 2]> = COLOURS.iter().map(rule).collect();
    let [light, dark] = [0, 1].map(|page| rules.iter().map(|rule| &*rule[page]).collect::<String>());
    format!("{STYLE}{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n")
}

/// The space around the picture.
const MARGIN: f64 = 16.0;
/// From the middle of a line to the value's and to the cotangent's.
const APART: f64 = 3.5;

/// Returns the picture.
pub(super) fn svg(scene: &Scene, description: &str) -> String {
    let legend = legend(scene);
    let legend_width = legend.iter().map(|entry| entry.width()).sum::<f64>();
    let width = scene.width.max(legend_width.min(420.0));
    let (rows, legend_height) = flow(legend, width);
    let total = (width + 2.0 * MARGIN, scene.height + legend_height + 3.0 * MARGIN);

    let mut out = Writer(String::new());
    out.line(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0}" height="{1:.0}" viewBox="0 0 {0:.0} {1:.0}" role="img" class="tape">"#,
        total.0.ceil(),
        total.1.ceil()
    ));
    out.line(format_args!("<title>{}</title>", xml(description)));
    out.line(format_args!("<style>\n{}</style>", style()));
    let left = MARGIN + (width - scene.width) / 2.0;
    out.line(format_args!(r#"<g transform="translate({left:.1} {MARGIN:.1})">"#));
    scene.frames.iter().for_each(|frame| out.frame(frame));
    scene.wires.iter().for_each(|wire| out.wire(wire));
    scene.nodes.iter().for_each(|node| out.node(node));
    scene.labels.iter().for_each(|label| out.label(label));
    out.line(format_args!("</g>"));
    out.line(format_args!(r#"<g transform="translate({MARGIN:.1} {:.1})">"#, scene.height + 2.0 * MARGIN));
    rows.iter().for_each(|(entry, corner)| out.entry(entry, *corner));
    out.line(format_args!("</g>"));
    out.line(format_args!("</svg>"));
    out.0
}

/// What the legend explains.
enum Entry {
    Look(Look),
    Value,
    Cotangent,
}

impl Entry {
    fn text(&self) -> &'static str {
        match self {
            Self::Look(Look::Parameter) => "parameter",
            Self::Look(Look::Leaf) => "leaf",
            Self::Look(Look::Constant) => "constant",
            Self::Look(Look::Operation) => "operation",
            Self::Look(Look::Custom) => "custom operation",
            Self::Look(Look::Checkpoint) => "checkpoint",
            Self::Look(Look::Group) => "several nodes",
            Self::Look(Look::Loss) => "loss",
            Self::Value => "value",
            Self::Cotangent => "cotangent",
        }
    }

    fn width(&self) -> f64 {
        26.0 + 8.0 + text::width(self.text(), Ink::Small.size()) + 14.0
    }
}

/// Returns an entry for each kind of thing in the picture.
fn legend(scene: &Scene) -> Vec<Entry> {
    let mut looks: Vec<Look> = scene.nodes.iter().map(|node| node.look).collect();
    looks.sort_unstable();
    looks.dedup();
    let mut legend: Vec<Entry> = looks.into_iter().map(Entry::Look).collect();
    if !scene.wires.is_empty() {
        legend.push(Entry::Value);
    }
    if scene.wires.iter().any(|wire| wire.up.is_some()) {
        legend.push(Entry::Cotangent);
    }
    legend
}

/// Returns the place of each entry, in as many rows as the width takes, and their height.
fn flow(legend: Vec<Entry>, width: f64) -> (Vec<(Entry, Point)>, f64) {
    let (mut x, mut y, mut placed) = (0.0, 0.0, Vec::new());
    for entry in legend {
        let needed = entry.width();
        if x > 0.0 && x + needed > width + 14.0 {
            (x, y) = (0.0, y + 22.0);
        }
        placed.push((entry, (x, y)));
        x += needed;
    }
    (placed, y + 18.0)
}

struct Writer(String);

impl Writer {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn frame(&mut self, Frame { corner, size, title, title_at }: &Frame) {
        self.line(format_args!(
            r#"<rect class="frame" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="8"/>"#,
            corner.0, corner.1, size.0, size.1
        ));
        self.line(format_args!(
            r#"<text class="title" x="{title_at:.1}" y="{:.1}">{}</text>"#,
            corner.1 + 18.0,
            xml(title)
        ));
    }

    fn wire(&mut self, Wire { points, down, up }: &Wire) {
        let shift = if up.is_some() { APART } else { 0.0 };
        self.path("wire", points, -shift, *down, Head::None);
        if let Some(up) = up {
            self.path("up", points, shift, Head::None, *up);
        }
    }

    /// Writes a line through points: straight down from each second one to the next, else bent, and the heads of arrows at
    /// its lower and its upper end.
    fn path(&mut self, class: &str, points: &[Point], shift: f64, below: Head, above: Head) {
        let [Some(&first), Some(&last)] = [points.first(), points.last()] else { return };
        let shorter = |head: Head| if head == Head::Arrow { 6.0 } else { 0.0 };
        let mut data = format!("M{:.1} {:.1}", first.0 + shift, first.1 + shorter(above));
        for (at, pair) in points.windows(2).enumerate() {
            let [(x, y), (to_x, to_y)] = [pair[0], pair[1]];
            let to_y = if at + 2 == points.len() { to_y - shorter(below) } else { to_y };
            // Writing to a string does not fail.
            let _ = if at % 2 == 0 || x == to_x {
                write!(data, " L{:.1} {to_y:.1}", to_x + shift)
            } else {
                let middle = (y + to_y) / 2.0;
                write!(
                    data,
                    " C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {to_y:.1}",
                    x + shift,
                    to_x + shift,
                    to_x + shift
                )
            };
        }
        self.line(format_args!(r#"<path class="{class}" d="{data}"/>"#));
        let head_class = if class == "up" { "up-head" } else { "head" };
        for (head, (x, y), size) in [(below, last, -8.0), (above, first, 8.0)] {
            if head == Head::Arrow {
                let (x, back) = (x + shift, y + size);
                self.line(format_args!(
                    r#"<path class="{head_class}" d="M{x:.1} {y:.1} L{:.1} {back:.1} L{:.1} {back:.1} Z"/>"#,
                    x - 3.6,
                    x + 3.6
                ));
            }
        }
    }

    fn node(&mut self, Node { corner, size, look, texts }: &Node) {
        self.line(format_args!(r#"<g class="node {}">"#, class(*look)));
        self.outline(*look, *corner, *size);
        let x = corner.0 + size.0 / 2.0;
        self.texts(texts, x, corner.1 + (size.1 - height(texts)) / 2.0);
        self.line(format_args!("</g>"));
    }

    /// Writes the outline of a node.
    fn outline(&mut self, look: Look, (x, y): Point, (width, height): Point) {
        let (right, bottom, middle) = (x + width, y + height, y + height / 2.0);
        let ellipse = |inset: f64, class: &str| {
            format!(
                r#"<ellipse{class} cx="{:.1}" cy="{middle:.1}" rx="{:.1}" ry="{:.1}"/>"#,
                x + width / 2.0,
                width / 2.0 - inset,
                height / 2.0 - inset
            )
        };
        let rect = |radius: f64| {
            format!(r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="{radius}"/>"#)
        };
        let slant = 10.0_f64.min(width / 4.0);
        let bar = |x: f64| format!(r#"<path class="inner" d="M{x:.1} {y:.1} V{bottom:.1}"/>"#);
        let outline = match look {
            Look::Parameter => ellipse(0.0, ""),
            Look::Leaf => format!("{}{}", ellipse(0.0, ""), ellipse(3.0, r#" class="inner""#)),
            Look::Constant => format!(
                r#"<polygon points="{:.1},{y:.1} {right:.1},{y:.1} {:.1},{bottom:.1} {x:.1},{bottom:.1}"/>"#,
                x + slant,
                right - slant
            ),
            Look::Loss => format!(
                r#"<polygon points="{:.1},{y:.1} {:.1},{y:.1} {right:.1},{middle:.1} {1:.1},{bottom:.1} {0:.1},{bottom:.1} {x:.1},{middle:.1}"/>"#,
                x + slant,
                right - slant
            ),
            Look::Operation => rect(3.0),
            Look::Custom => format!("{}{}", rect(3.0), rect_inside((x, y), (width, height))),
            Look::Checkpoint => format!("{}{}{}", rect(3.0), bar(x + 6.0), bar(right - 6.0)),
            Look::Group => rect(10.0),
        };
        self.line(format_args!("{outline}"));
    }

    fn texts(&mut self, texts: &Texts, x: f64, top: f64) {
        let mut y = top;
        for (ink, line) in texts {
            // The base line is at three quarters of the line.
            let base = y + ink.leading() * 0.76;
            self.line(format_args!(
                r#"<text class="{}" x="{x:.1}" y="{base:.1}">{}</text>"#,
                ink_class(*ink),
                xml(line)
            ));
            y += ink.leading();
        }
    }

    fn label(&mut self, Label { corner, texts }: &Label) {
        self.texts(texts, corner.0 + TO_LABEL, corner.1);
    }

    fn entry(&mut self, entry: &Entry, (x, y): Point) {
        match entry {
            Entry::Look(look) => {
                self.line(format_args!(r#"<g class="key {}">"#, class(*look)));
                self.outline(*look, (x, y + 1.0), (26.0, 16.0));
                self.line(format_args!("</g>"));
            }
            Entry::Value => self.sample("wire", [(x, y + 9.0), (x + 18.0, y + 9.0)], x + 26.0),
            Entry::Cotangent => self.sample("up", [(x + 8.0, y + 9.0), (x + 26.0, y + 9.0)], x),
        }
        let text = entry.text();
        self.line(format_args!(r#"<text class="small" x="{:.1}" y="{:.1}">{text}</text>"#, x + 33.0, y + 13.0));
    }

    /// Writes a level arrow to `tip`.
    fn sample(&mut self, class: &str, [(x, y), (to_x, _)]: [Point; 2], tip: f64) {
        self.line(format_args!(r#"<path class="{class}" d="M{x:.1} {y:.1} H{to_x:.1}"/>"#));
        let (head, back) = if class == "up" { ("up-head", tip + 8.0) } else { ("head", tip - 8.0) };
        self.line(format_args!(
            r#"<path class="{head}" d="M{tip:.1} {y:.1} L{back:.1} {:.1} L{back:.1} {:.1} Z"/>"#,
            y - 3.6,
            y + 3.6
        ));
    }
}

/// Returns the second outline of a custom operation.
fn rect_inside((x, y): Point, (width, height): Point) -> String {
    let (x, y, width, height) = (x + 3.0, y + 3.0, width - 6.0, height - 6.0);
    format!(r#"<rect class="inner" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#)
}

fn class(look: Look) -> &'static str {
    match look {
        Look::Parameter => "parameter",
        Look::Leaf => "leaf",
        Look::Constant => "constant",
        Look::Operation => "operation",
        Look::Custom => "custom",
        Look::Checkpoint => "checkpoint",
        Look::Group => "group",
        Look::Loss => "loss",
    }
}

fn ink_class(ink: Ink) -> &'static str {
    match ink {
        Ink::Main => "main",
        Ink::Small => "small",
        Ink::Sweep => "sweep",
    }
}
