//! The curves as one picture.

use crate::report::Curve;
use anyhow::anyhow;
use plotters::prelude::*;

const SIZE: (u32, u32) = (960, 640);

/// An SVG with a panel for each curve.
///
/// # Errors
/// The picture cannot be drawn.
pub fn svg(curves: &[Curve]) -> anyhow::Result<String> {
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| anyhow!("{e}"))?;
        let panels = root.split_evenly((curves.len().div_ceil(2), 2));
        for (curve, panel) in curves.iter().zip(&panels) {
            draw(curve, panel).map_err(|e| anyhow!("{e}"))?;
        }
        root.present().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(out)
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Values of what changes stand at equal distances: they double, most of them.
fn draw(curve: &Curve, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let (xs, times): (Vec<f64>, Vec<f64>) = curve.points.iter().copied().unzip();
    let most = times.iter().copied().fold(0.0, f64::max);
    let last = xs.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("ms a step against {}", curve.over), ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(-0.3..last + 0.3, 0.0..most * 1.15)?;
    let name = |x: &f64| {
        let whole = (x - x.round()).abs() < 0.01 && *x > -0.1;
        let value = xs.get(x.round().max(0.0) as usize).filter(|_| whole);
        value.map_or_else(String::new, f64::to_string)
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_x_mesh()
        .x_labels(2 * xs.len())
        .x_label_formatter(&name)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let blue = RGBColor(0, 114, 178);
    let points = || times.iter().enumerate().map(|(i, &ms)| (i as f64, ms));
    chart.draw_series(LineSeries::new(points(), blue.stroke_width(2)))?;
    chart.draw_series(points().map(|point| Circle::new(point, 4, blue.filled())))?;
    Ok(())
}
