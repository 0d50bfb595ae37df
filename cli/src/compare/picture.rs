//! Two trainings as a picture, and the picture with the table as one page.

use super::Compared;
use super::curve::{Point, Which};
use crate::markup::escape;
use anyhow::anyhow;
use plotters::prelude::*;
use std::fmt::Write;

const SIZE: (u32, u32) = (960, 900);
/// Told apart by colour-blind readers too (Okabe, Ito 2008).
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

const STYLE: &str = "body { font: 15px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
td, th { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #8884 } th[scope=row] { text-align: left }
svg { max-width: 100%; height: auto; margin-top: 1rem }";

/// A panel for each curve.
pub(super) fn svg(compared: &Compared) -> anyhow::Result<String> {
    let panels: Vec<(&str, Which)> = [
        ("loss of training batches", Which::Loss),
        ("accuracy in tests, %", Which::Tests),
        ("ms a step", Which::Milliseconds),
    ]
    .into_iter()
    .filter(|(_, which)| {
        !compared.a.curves.get(*which).is_empty() || !compared.b.curves.get(*which).is_empty()
    })
    .collect();
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| anyhow!("{e}"))?;
        let areas = root.split_evenly((panels.len(), 1));
        for ((title, which), area) in panels.iter().zip(&areas) {
            draw(compared, title, *which, area).map_err(|e| anyhow!("{e}"))?;
        }
        root.present().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(out)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    compared: &Compared,
    title: &str,
    which: Which,
    area: &Area<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let sides = [&compared.a, &compared.b];
    let all = || sides.iter().flat_map(|s| s.curves.get(which)).filter(|(_, y)| y.is_finite());
    let last = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(l, h), (_, y)| (l.min(*y), h.max(*y)));
    let margin = (0.05 * (high - low)).max(1e-9);
    let low = if which == Which::Milliseconds { 0.0 } else { low - margin };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, low..high + margin)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_x_mesh()
        .x_desc("step")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    for (i, (side, colour)) in sides.iter().zip(COLOURS).enumerate() {
        let points =
            || side.curves.get(which).iter().copied().filter(|(_, y): &Point| y.is_finite());
        // Where curves are equal, the second one lies on the first: narrower, so that both are seen.
        let line = colour.stroke_width(if i == 0 { 4 } else { 2 });
        let series = chart.draw_series(LineSeries::new(points(), line))?;
        series
            .label(side.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
        if which == Which::Tests {
            let size = if i == 0 { 6 } else { 3 };
            chart.draw_series(points().map(|point| Circle::new(point, size, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// Table and picture as one file that needs no other.
pub(super) fn html(compared: &Compared) -> anyhow::Result<String> {
    let (a, b) = (escape(&compared.a.name), escape(&compared.b.name));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{a} and {b}</title>\n<style>{STYLE}</style>\n<h1>{a} and {b}</h1>\n<table><tr><td></td><th scope=\"col\">{a}</th><th scope=\"col\">{b}</th></tr>\n"
    );
    // Writing to a String cannot fail.
    for [name, a, b] in compared.rows() {
        let (name, a, b) = (escape(&name), escape(&a), escape(&b));
        let _ = writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{a}</td><td>{b}</td></tr>");
    }
    out.push_str("</table>\n");
    for (text, _) in compared.verdicts() {
        let _ = writeln!(out, "<p>{}</p>", escape(&text));
    }
    let _ = writeln!(out, "{}\n</html>", svg(compared)?);
    Ok(out)
}
