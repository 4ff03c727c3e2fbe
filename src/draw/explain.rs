//! A recording as text: a numbered line per node.

use std::fmt::Write;

use super::outline::{Line, Outline};
use super::text;

/// The columns of a line.
struct Row {
    depth: usize,
    number: u32,
    assignment: String,
    shapes: String,
    sweep: String,
}

/// The first two columns are no wider than this: a longer text pushes its own line only.
const WIDEST: [usize; 2] = [36, 60];

/// Returns the recording as text.
pub(super) fn explain(outline: &Outline) -> String {
    let mut rows: Vec<Result<Row, (usize, String)>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (position, line) in outline.lines.iter().enumerate() {
        open.retain(|&end| end > position);
        // Outer groups come first.
        for (_, group) in outline.groups_at(position) {
            rows.push(Err((open.len(), group.name.clone())));
            open.push(group.end);
        }
        rows.push(Ok(row(outline, position, line, open.len())));
    }
    let lines = || rows.iter().filter_map(|row| row.as_ref().ok());
    let widest = |column: usize, length: &dyn Fn(&Row) -> usize| {
        lines().map(length).filter(|&length| length <= WIDEST[column]).max().unwrap_or(0)
    };
    let numbers = lines().map(|row| row.number.to_string().len()).max().unwrap_or(0);
    let first = widest(0, &|row| 2 * row.depth + row.assignment.chars().count());
    let second = widest(1, &|row| row.shapes.chars().count());
    let mut written = String::new();
    for row in &rows {
        let line = match row {
            Err((depth, title)) => format!("{:numbers$}  {:indent$}{title}:", "", "", indent = 2 * depth),
            Ok(Row { depth, number, assignment, shapes, sweep }) => {
                let indented = format!("{:indent$}{assignment}", "", indent = 2 * depth);
                format!("{number:>numbers$}  {indented:first$}  {shapes:second$}  {sweep}")
            }
        };
        // Writing to a string does not fail.
        let _ = writeln!(written, "{}", text::one_line(line.trim_end()));
    }
    written
}

fn row(outline: &Outline, position: usize, line: &Line, depth: usize) -> Row {
    let shapes = if line.is_computed() {
        let operands: Vec<String> = line.uses.iter().map(|used| outline.lines[used.line].shape.to_string()).collect();
        format!("{} {} -> {}", line.call, operands.join(" x "), line.shape)
    } else {
        format!("{} {}", line.call, line.shape)
    };
    Row { depth, number: line.id, assignment: line.assignment(), shapes, sweep: sweep(outline, position, line) }
}

/// Returns what the sweep computes at a line.
fn sweep(outline: &Outline, position: usize, line: &Line) -> String {
    let Line { name, shape, .. } = line;
    if !line.reached {
        return format!("no cotangent: {}", line.unreached);
    }
    if !line.is_computed() {
        return format!("gradient d{name} : {shape}");
    }
    let seed = match (outline.root == Some(position), shape.elements()) {
        (true, 1) => " = 1, where the sweep starts",
        (true, _) => " = the seed, where the sweep starts",
        (false, _) => "",
    };
    let rules = line.uses.iter().filter_map(|used| {
        let operand = &outline.lines[used.line];
        let contribution = outline.contribution(used.line, used.rule.as_ref()?);
        Some(format!("{contribution} : {} for {}", operand.shape, operand.id))
    });
    let rules: Vec<String> = rules.collect();
    format!("g = d{name}{seed}: {}", rules.join("; "))
}
