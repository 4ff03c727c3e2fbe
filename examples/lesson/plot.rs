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
    /// Curves of one colour belong together; the second and later ones of a colour are thin.
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
    let shown = |&(_, y): &(f64, f64)| y.is_finite() && (!panel.log || y > 0.0);
    let points = || panel.curves.iter().flat_map(|curve| &curve.points).copied().filter(shown);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        match low < high {
            true => (low, high),
            // Nothing, or one value: axes of some length around it.
            false if low.is_finite() => (low - 0.5 * low.abs().max(1e-3), low + 0.5 * low.abs().max(1e-3)),
            false => (0.1, 1.0),
        }
    };
    let (x0, x1) = range(&mut points().map(|(x, _)| x));
    let (y0, y1) = range(&mut points().map(|(_, y)| y));

    let mut builder = ChartBuilder::on(area);
    builder.caption(&panel.title, ("sans-serif", 20)).margin(12).x_label_area_size(44).y_label_area_size(72);
    // The two kinds of axes are two types.
    macro_rules! finish {
        ($y_range:expr) => {{
            let mut chart = builder.build_cartesian_2d(x0..x1, $y_range)?;
            chart.configure_mesh().x_desc(panel.x).y_desc(panel.y).y_label_formatter(&number).draw()?;
            for curve in &panel.curves {
                let color = Palette99::pick(curve.color).mix(if curve.thin { 0.6 } else { 1.0 });
                let style = color.stroke_width(if curve.thin { 1 } else { 2 });
                let points = curve.points.iter().copied().filter(shown);
                chart
                    .draw_series(LineSeries::new(points, style))?
                    .label(&curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            }
            let labels = &mut chart.configure_series_labels();
            labels
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .position(SeriesLabelPosition::UpperRight);
            labels.draw()?;
        }};
    }
    let margin = 0.04 * (y1 - y0);
    match panel.log {
        true => finish!((y0 / 1.1..y1 * 1.1).log_scale()),
        false => finish!(y0 - margin..y1 + margin),
    }
    Ok(())
}

fn number(y: &f64) -> String {
    match y.abs() {
        0.0 => "0".into(),
        1e-3..1e5 => format!("{}", (y * 1e4).round() / 1e4),
        _ => format!("{y:.0e}"),
    }
}
