//! Charts as SVG within a page.

use std::fmt::Write as _;

use super::axis::Axis;
use crate::draw::xml;

/// One line of a chart.
pub(super) struct Series {
    pub(super) name: String,
    /// Lines of one group have one colour.
    pub(super) group: usize,
    /// The place among the lines of the group: it sets the dashes.
    pub(super) member: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over passes.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What is on the vertical axis, with its unit.
    pub(super) what: &'static str,
    pub(super) series: Vec<Series>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 46.0;
/// The number of colours in the style sheet.
const COLOURS: usize = 8;
/// With more points than this, a line has no dots.
const DOTS: usize = 60;
/// With more points than this, a line shows the extremes of neighbours.
const POINTS: usize = 1200;

impl Chart {
    /// Returns the chart, with its title and its legend.
    pub(super) fn html(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::linear(points().map(|point| point.0));
        let y = Axis::readable(points().map(|point| point.1));
        let scale = if y.is_logarithmic() { ", logarithmic" } else { "" };
        let mut out = format!("<figure>\n<figcaption>{}</figcaption>\n", self.title);
        out += "<ul class=\"legend\">";
        for series in &self.series {
            // Writing to a string does not fail.
            let _ = write!(
                out,
                "<li><svg width=\"28\" height=\"10\" aria-hidden=\"true\"><path class=\"{}\" d=\"M1 5H27\"/></svg>{}</li>",
                series.class(),
                xml(&series.name)
            );
        }
        out += "</ul>\n";
        let names: Vec<String> = self.series.iter().map(|series| xml(&series.name)).collect();
        let _ = writeln!(
            out,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: {} over passes; lines: {}\">",
            self.title,
            self.what,
            names.join(", ")
        );
        let across = |place: f64| LEFT + place * (WIDTH - LEFT - RIGHT);
        let down = |place: f64| HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM);
        let (right, bottom, middle) = (WIDTH - RIGHT, HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2.0);
        for (place, label) in y.marks(5, false) {
            let at = down(place);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
                LEFT - 7.0,
                at + 4.0
            );
        }
        for (place, label) in x.marks(8, true) {
            let at = across(place);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{label}</text>",
                bottom + 17.0
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"x name\" x=\"{:.1}\" y=\"{:.1}\">pass</text>\
             <text class=\"x name\" transform=\"translate(14 {middle:.1}) rotate(-90)\">{}{scale}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            self.what
        );
        for series in &self.series {
            let place = |&(number, value): &(f64, f64)| Some((across(x.place(number)?), down(y.place(value)?)));
            let _ = writeln!(
                out,
                "<path class=\"{}\" d=\"{}\"><title>{}</title></path>",
                series.class(),
                line(&series.points, place),
                xml(&series.name)
            );
            // A line of one point would be invisible; the dots of a short one show their numbers.
            if series.points.len() <= DOTS {
                for point in &series.points {
                    let Some((cx, cy)) = place(point) else { continue };
                    let _ = writeln!(
                        out,
                        "<circle class=\"c{}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.6\"><title>{}, pass {}: {:?}</title></circle>",
                        series.group % COLOURS,
                        xml(&series.name),
                        point.0,
                        point.1
                    );
                }
            }
        }
        out + "</svg>\n</figure>\n"
    }
}

impl Series {
    fn class(&self) -> String {
        let dashes = ["", " dashed", " dotted"][self.member.min(2)];
        format!("line c{}{dashes}", self.group % COLOURS)
    }
}

/// Returns the data of a path through the points that have a place. A point without one interrupts it.
fn line(points: &[(f64, f64)], place: impl Fn(&(f64, f64)) -> Option<(f64, f64)>) -> String {
    let (mut data, mut connected) = (String::new(), false);
    for point in extremes(points) {
        let placed = place(&point);
        if let Some((x, y)) = placed {
            // Writing to a string does not fail.
            let _ = write!(data, "{}{x:.1} {y:.1}", if connected { "L" } else { "M" });
        }
        connected = placed.is_some();
    }
    data
}

/// Returns the points, or if there are more than a line can show, the lowest and the highest of each few neighbours.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let of_chunk = |chunk: &[(f64, f64)]| {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends: Vec<(f64, f64)> =
            chunk.iter().min_by(by).into_iter().chain(chunk.iter().max_by(by)).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        ends
    };
    points.chunks(points.len().div_ceil(POINTS / 2)).flat_map(of_chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_keeps_its_peak() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|k| (f64::from(k), 0.0)).collect();
        points[77_777].1 = 5.0;
        let shown = extremes(&points);
        assert!(shown.len() <= POINTS && shown.contains(&(77_777.0, 5.0)));
        assert!(shown.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_number_without_a_place_interrupts_the_line() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 4.0)];
        assert_eq!(line(&points, |&(x, y)| y.is_finite().then_some((x, y))), "M0.0 1.0M2.0 3.0L3.0 4.0");
    }
}
