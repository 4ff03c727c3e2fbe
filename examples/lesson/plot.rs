//! Curves as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Outcome;

/// Axes side by side with others.
pub struct Panel {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    /// Whether the vertical axis is logarithmic.
    pub log: bool,
    pub curves: Vec<Curve>,
}

/// A line with its name in the legend.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Curves of one colour belong together; one of them may be thin.
    pub color: usize,
    pub thin: bool,
}

impl Curve {
    /// Returns a curve of values at 0, 1, 2, ….
    pub fn by_index(name: impl Into<String>, values: impl IntoIterator<Item = f64>, color: usize, thin: bool) -> Self {
        let points = values.into_iter().enumerate().map(|(index, y)| (index as f64, y)).collect();
        Self { name: name.into(), points, color, thin }
    }
}

/// Told apart by everybody, on paper too.
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 90, 170), RGBColor(214, 94, 0), RGBColor(0, 140, 100), RGBColor(150, 60, 150)];

/// Writes the panels to an SVG file, from left to right.
pub fn write(path: &Path, panels: &[Panel]) -> Outcome {
    let mut svg = String::new();
    {
        let width = if panels.len() == 1 { 800 } else { 600 * panels.len() as u32 };
        let area = SVGBackend::with_string(&mut svg, (width, 480)).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len()))) {
            draw(panel, &area)?;
        }
        area.present()?;
    }
    std::fs::write(path, svg).map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    println!("curves are in {}", path.display());
    Ok(())
}

fn draw(panel: &Panel, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Outcome {
    // A logarithmic axis is a linear one of logarithms, labelled by what they are of.
    let height = |y: f64| if panel.log { y.log10() } else { y };
    let shown = |&(x, y): &(f64, f64)| Some((x, height(y))).filter(|(_, y)| y.is_finite());
    let points = || panel.curves.iter().flat_map(|curve| curve.points.iter().filter_map(shown));
    let (x0, x1) = range(points().map(|(x, _)| x));
    let (y0, y1) = range(points().map(|(_, y)| y));

    // The legend goes to the corner where the fewest points are.
    let crowd = |right: bool, upper: bool| {
        points()
            .filter(|&(x, y)| ((x - x0) / (x1 - x0) > 0.6) == right && ((y - y0) / (y1 - y0) > 0.65) == upper)
            .count()
    };
    let corners = [
        (crowd(true, true), SeriesLabelPosition::UpperRight),
        (crowd(false, false), SeriesLabelPosition::LowerLeft),
        (crowd(true, false), SeriesLabelPosition::LowerRight),
        (crowd(false, true), SeriesLabelPosition::UpperLeft),
    ];
    let emptiest = corners.into_iter().min_by_key(|(crowd, _)| *crowd);

    let margin = 0.04 * (y1 - y0);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x0..x1, y0 - margin..y1 + margin)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(panel.x)
        .y_desc(panel.y)
        .x_label_formatter(&|&x| number(x))
        .y_label_formatter(&|&y| if panel.log { number(10_f64.powf(y)) } else { number(y) })
        .draw()?;
    for curve in &panel.curves {
        let color = COLORS[curve.color % COLORS.len()].mix(if curve.thin { 0.6 } else { 1.0 });
        let style = color.stroke_width(if curve.thin { 1 } else { 2 });
        chart
            .draw_series(LineSeries::new(curve.points.iter().filter_map(shown), style))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    let mut labels = chart.configure_series_labels();
    if let Some((_, corner)) = emptiest {
        labels.position(corner);
    }
    labels.background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
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

/// Returns a number as short as an axis needs it.
fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        // Three digits that count.
        size @ 1e-3..1e5 => {
            let unit = 10_f64.powi(2 - size.log10().floor() as i32);
            format!("{}", (x * unit).round() / unit)
        }
        _ => format!("{x:.1e}"),
    }
}
