//! Curves as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Outcome;

/// Axes side by side with others, and the curves between them.
pub struct Panel {
    title: String,
    x: Axis,
    y: Axis,
    curves: Vec<Curve>,
}

impl Panel {
    pub fn new(title: impl Into<String>, x: Axis, y: Axis, curves: impl Into<Vec<Curve>>) -> Self {
        Self { title: title.into(), x, y, curves: curves.into() }
    }
}

/// What an axis shows, and how.
#[derive(Clone, Copy)]
pub struct Axis {
    name: &'static str,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    /// Linear, with marks at whole numbers only.
    Whole,
    Logarithmic,
    /// Linear, and at least ten points of a hundred high.
    Percent,
    /// Logarithmic if a linear axis would press most of the values against its lower end.
    Readable,
}

impl Axis {
    pub fn linear(name: &'static str) -> Self {
        Self { name, scale: Scale::Linear }
    }

    /// Returns the axis of something that is counted.
    pub fn whole(name: &'static str) -> Self {
        Self { name, scale: Scale::Whole }
    }

    pub fn logarithmic(name: &'static str) -> Self {
        Self { name, scale: Scale::Logarithmic }
    }

    /// Returns the axis of a share in per cent: what differs by a thousandth looks the same.
    pub fn percent(name: &'static str) -> Self {
        Self { name, scale: Scale::Percent }
    }

    /// Returns a linear axis, or a logarithmic one if the range of the values asks for it.
    pub fn readable(name: &'static str) -> Self {
        Self { name, scale: Scale::Readable }
    }

    /// Decides which scale is readable for these values.
    fn decided(self, values: impl Iterator<Item = f64>) -> Self {
        if !matches!(self.scale, Scale::Readable) {
            return self;
        }
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let asks = match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(&low), Some(&middle), Some(&high)) => {
                low > 0.0 && high > 10.0 * low && middle - low < 0.05 * (high - low)
            }
            _ => false,
        };
        Self { scale: if asks { Scale::Logarithmic } else { Scale::Linear }, ..self }
    }

    /// Returns the place of a number on the axis. A logarithmic axis is a linear one of logarithms.
    fn place(self, number: f64) -> f64 {
        match self.scale {
            Scale::Linear | Scale::Whole | Scale::Percent | Scale::Readable => number,
            Scale::Logarithmic => number.log10(),
        }
    }

    /// Widens a range where the axis asks for it. The ends of a logarithmic axis move to a power of ten that is near, if
    /// there are fewer than two within.
    fn widened(self, from: f64, to: f64) -> (f64, f64) {
        const NEAR: f64 = 0.4;
        match self.scale {
            Scale::Logarithmic if to.floor() - from.ceil() < 1.0 => {
                let (below, above) = (from.floor(), to.ceil());
                (if from - below < NEAR { below } else { from }, if above - to < NEAR { above } else { to })
            }
            Scale::Percent => {
                let lack = (5.0 - (to - from) / 2.0).max(0.0);
                (from - lack, to + lack)
            }
            _ => (from, to),
        }
    }

    /// Returns the places and labels of the marks between two places.
    fn marks(self, from: f64, to: f64) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear | Scale::Percent | Scale::Readable => linear_marks(from, to, 0.0),
            Scale::Whole => linear_marks(from, to, 1.0),
            Scale::Logarithmic => logarithmic_marks(from, to),
        }
    }
}

/// A line, or points, with a name in the legend.
pub struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    color: usize,
    look: Look,
}

#[derive(Clone, Copy, PartialEq)]
enum Look {
    Line,
    /// A line over another one, which shows between its dashes.
    Dashed,
    Points,
}

impl Curve {
    /// Returns a curve through these points. Curves of one colour belong together.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>, color: usize) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), color, look: Look::Line }
    }

    /// Returns a curve of values at 0, 1, 2, ….
    pub fn by_index(name: impl Into<String>, values: impl IntoIterator<Item = f64>, color: usize) -> Self {
        Self::new(name, values.into_iter().enumerate().map(|(index, y)| (index as f64, y)), color)
    }

    /// Returns the curve in dashes: it does not hide another one below it.
    pub fn dashed(self) -> Self {
        Self { look: Look::Dashed, ..self }
    }

    /// Returns the curve as points.
    pub fn scattered(self) -> Self {
        Self { look: Look::Points, ..self }
    }

    fn style(&self) -> ShapeStyle {
        let color = COLORS[self.color % COLORS.len()];
        match self.look {
            Look::Points => color.mix(0.5).filled(),
            Look::Line => color.stroke_width(2),
            // Darker, to be seen on a line of the same colour.
            Look::Dashed => {
                let darker = |part: u8| u8::try_from(u16::from(part) * 7 / 10).unwrap_or(part);
                RGBColor(darker(color.0), darker(color.1), darker(color.2)).stroke_width(2)
            }
        }
    }

    /// Returns whether most of the curve is below one of these, within a part of the height.
    fn is_covered(&self, above: &[Self], height: f64) -> bool {
        let covers = |other: &Self| {
            let pairs = self.points.iter().zip(&other.points);
            let near = pairs.filter(|((x, y), (u, v))| x == u && (y - v).abs() < 0.005 * height).count();
            (other.look == Look::Line || other.look == self.look) && 2 * near > self.points.len()
        };
        above.iter().any(covers)
    }
}

/// The length of a dash and of the gap behind it, in pixels.
const DASH: (i32, i32) = (7, 5);

/// Told apart by everybody, on paper too.
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 90, 170), RGBColor(214, 94, 0), RGBColor(0, 140, 100), RGBColor(150, 60, 150)];

/// Room for the labels of the vertical axis.
const LEFT: u32 = 88;
/// Room around a panel.
const MARGIN: u32 = 12;

/// Writes the panels to an SVG file, from left to right: up to three in a row, four in two rows.
pub fn write(path: &Path, panels: &[Panel]) -> Outcome {
    let mut svg = String::new();
    {
        let columns = if panels.len() == 4 { 2 } else { panels.len() };
        let rows = panels.len().div_ceil(columns.max(1));
        let width = if columns == 1 { 800 } else { 600 * columns as u32 };
        let area = SVGBackend::with_string(&mut svg, (width, 480 * rows as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(area.split_evenly((rows, columns))) {
            draw(panel, &area)?;
        }
        area.present()?;
    }
    std::fs::write(path, svg).map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    println!("curves are in {}", path.display());
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(panel: &Panel, area: &Area<'_>) -> Outcome {
    let area = area.margin(MARGIN, MARGIN, MARGIN, MARGIN).titled(&panel.title, ("sans-serif", 20))?;
    let area = draw_legend(&panel.curves, &area)?;
    let panel_y = panel.y.decided(panel.curves.iter().flat_map(|curve| curve.points.iter().map(|&(_, y)| y)));
    let shown = |&(x, y): &(f64, f64)| Some((panel.x.place(x), panel_y.place(y))).filter(|(_, y)| y.is_finite());
    let points = || panel.curves.iter().flat_map(|curve| curve.points.iter().filter_map(shown));
    let (x0, x1) = range(points().map(|(x, _)| x));
    let (y0, y1) = range(points().map(|(_, y)| y));
    let (y0, y1) = panel_y.widened(y0, y1);
    let margin = 0.04 * (y1 - y0);
    let (y0, y1) = (y0 - margin, y1 + margin);

    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(44)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(Marked::new(panel.x, x0, x1), Marked::new(panel_y, y0, y1))?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(panel.x.name)
        .y_desc(panel_y.name)
        .draw()?;
    for (k, curve) in panel.curves.iter().enumerate() {
        let points: Vec<(f64, f64)> = curve.points.iter().filter_map(shown).collect();
        // A line below another one is wider, and shows at both sides.
        let covered = curve.is_covered(&panel.curves[k + 1..], y1 - y0);
        let style = curve.style().stroke_width(if covered { 6 } else { 2 });
        match (points.as_slice(), curve.look) {
            (_, Look::Points) => {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 2, curve.style())))?;
            }
            // A line of one point would be invisible.
            (&[point], _) => chart.plotting_area().draw(&Circle::new(point, 3, curve.style().filled()))?,
            (_, Look::Line) => {
                chart.draw_series(LineSeries::new(points, style))?;
            }
            (_, Look::Dashed) => {
                let (dash, gap) = DASH;
                chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?;
            }
        }
    }
    Ok(())
}

/// Draws the legend at the upper end of an area, where no curve is, and returns the rest of the area.
fn draw_legend<'a>(curves: &[Curve], area: &Area<'a>) -> Outcome<Area<'a>> {
    const LINE: i32 = 24;
    const GAP: i32 = 6;
    const HEIGHT: i32 = 18;
    let style = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    let mut cell = 1;
    for curve in curves {
        let (width, _) = area.estimate_text_size(&curve.name, &style)?;
        cell = cell.max(LINE + 4 * GAP + width as i32);
    }
    let (width, _) = area.dim_in_pixel();
    let columns = ((width.saturating_sub(LEFT)) as usize / cell as usize).clamp(1, curves.len().max(1));
    // From top to bottom first, so that curves of one colour are below each other.
    let rows = curves.len().div_ceil(columns);
    let (legend, rest) = area.split_vertically(rows as i32 * HEIGHT + 2 * GAP);
    for (k, curve) in curves.iter().enumerate() {
        let (x, y) = (LEFT as i32 + (k / rows) as i32 * cell, GAP + (k % rows) as i32 * HEIGHT + HEIGHT / 2);
        match curve.look {
            Look::Line => legend.draw(&PathElement::new([(x, y), (x + LINE, y)], curve.style()))?,
            Look::Points => legend.draw(&Circle::new((x + LINE / 2, y), 2, curve.style()))?,
            Look::Dashed => {
                let (dash, gap) = DASH;
                for start in (0..LINE).step_by((dash + gap) as usize) {
                    legend.draw(&PathElement::new([(x + start, y), (x + start + dash, y)], curve.style()))?;
                }
            }
        }
        legend.draw(&Text::new(curve.name.clone(), (x + LINE + GAP, y), style.clone()))?;
    }
    Ok(rest)
}

/// Returns the smallest and the largest value, or something around them if there is no difference.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    let around = 0.5 * low.abs().max(1e-3);
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - around, low + around),
        false => (0.0, 1.0),
    }
}

/// The places of an axis, with marks at some of them.
struct Marked {
    places: RangedCoordf64,
    marks: Vec<(f64, String)>,
    /// The places of thin lines between the marks.
    between: Vec<f64>,
}

impl Marked {
    fn new(axis: Axis, from: f64, to: f64) -> Self {
        let between = match axis.scale {
            // Over many powers they would be a gray area.
            Scale::Logarithmic if to - from < 5.0 => multiples(from, to, &[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
            _ => Vec::new(),
        };
        let between = between.into_iter().map(|(place, _)| place).collect();
        Self { places: (from..to).into(), marks: axis.marks(from, to), between }
    }
}

impl Ranged for Marked {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        self.places.map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.marks.iter().map(|(place, _)| *place).collect(),
            KeyPointWeight::Any => self.between.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.places.range()
    }
}

impl ValueFormatter<f64> for Marked {
    fn format_ext(&self, place: &f64) -> String {
        self.marks.iter().find(|(mark, _)| mark == place).map_or(String::new(), |(_, label)| label.clone())
    }
}

/// Returns marks at multiples of 1, 2 or 5 times a power of ten that is not below `smallest`.
fn linear_marks(from: f64, to: f64, smallest: f64) -> Vec<(f64, String)> {
    let wanted = (to - from) / 6.0;
    let power = 10_f64.powf(wanted.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= 0.999 * wanted);
    let step = step.unwrap_or(10.0 * power).max(smallest);
    let (first, last) = ((from / step - 1e-9).ceil() as i64, (to / step + 1e-9).floor() as i64);
    (first..=last).map(|k| k as f64 * step).map(|number| (number, written(number, step))).collect()
}

/// Returns marks at powers of ten; with fewer than two of them also at 2 and 5 times these, and if these are few too, at
/// equal distances.
fn logarithmic_marks(from: f64, to: f64) -> Vec<(f64, String)> {
    let powers = multiples(from, to, &[1.0]);
    if powers.len() >= 2 {
        return powers.iter().step_by(powers.len().div_ceil(8)).cloned().collect();
    }
    let steps = multiples(from, to, &[1.0, 2.0, 5.0]);
    if steps.len() >= 3 {
        return steps;
    }
    let marks = linear_marks(10_f64.powf(from), 10_f64.powf(to), 0.0).into_iter();
    marks.map(|(number, label)| (number.log10(), label)).filter(|(place, _)| place.is_finite()).collect()
}

/// Returns the places and labels of these multiples of the powers of ten.
fn multiples(from: f64, to: f64, factors: &[f64]) -> Vec<(f64, String)> {
    let numbers = (from.floor() as i32..=to.ceil() as i32).flat_map(|power| {
        let unit = 10_f64.powi(power);
        factors.iter().map(move |factor| (factor * unit, unit))
    });
    let marks = numbers.map(|(number, unit)| (number.log10(), written(number, unit)));
    marks.filter(|(place, _)| (from..=to).contains(place)).collect()
}

/// Returns a multiple of a step with the digits that tell it from its neighbours.
fn written(number: f64, step: f64) -> String {
    let power = |x: f64| (x.abs().log10() + 1e-9).floor() as i32;
    match number.abs() {
        size if size < 0.5 * step => "0".into(),
        1e-4..1e6 => format!("{number:.*}", (-power(step)).max(0) as usize),
        _ => format!("{number:.*e}", (power(number) - power(step)).max(0) as usize),
    }
}
