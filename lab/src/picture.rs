//! The picture: accuracy of linkage against observed steps, for each regime.

use crate::report::{ALL_LINKS, CONTROLS, REGIMES, Report};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 48.0;
const RIGHT: f64 = 230.0;
const BOTTOM: f64 = 56.0;
/// Told apart by colour-blind readers too (Okabe, Ito 2008).
const COLOURS: [&str; 7] =
    ["#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#009E73", "#0072B2", "#7F7F7F"];

/// An SVG of the best watching attacker at each number of steps, with k lanes.
pub fn svg(report: &Report, k: usize) -> String {
    let of_k = || {
        report.rows.iter().filter(|r| r.k == k && r.tamper == "watches" && r.controls == ALL_LINKS)
    };
    let mut steps: Vec<usize> = of_k().map(|r| r.steps).collect();
    steps.sort_unstable();
    steps.dedup();
    let (first, last) = (*steps.first().unwrap_or(&1), *steps.last().unwrap_or(&10));
    let span = (last as f64 / first as f64).ln().max(0.1);
    let x = |s: usize| LEFT + (s as f64 / first as f64).ln() / span * (WIDTH - LEFT - RIGHT);
    let y = |accuracy: f64| TOP + (1.0 - accuracy) * (HEIGHT - TOP - BOTTOM);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut out, k, &steps, x, y);
    // Labels beside the last points, moved apart where they would touch.
    let mut labels: Vec<(f64, usize)> = Vec::new();
    let regimes: Vec<String> =
        REGIMES.into_iter().chain(CONTROLS).map(crate::sim::Regime::name).collect();
    for (r, regime) in regimes.iter().enumerate() {
        let best = |s: usize| {
            let rows = of_k().filter(|row| row.regime == *regime && row.steps == s);
            rows.max_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
        };
        let points: Vec<_> = steps.iter().filter_map(|&s| Some((s, best(s)?))).collect();
        let path: Vec<String> =
            points.iter().map(|(s, row)| format!("{:.1},{:.1}", x(*s), y(row.accuracy))).collect();
        let colour = COLOURS[r];
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#,
            path.join(" ")
        );
        for (s, row) in &points {
            let blind = 1.0 / k as f64;
            let whisker = |advantage: f64| y(advantage * (1.0 - blind) + blind);
            let (px, low, high) = (x(*s), whisker(row.advantage_low), whisker(row.advantage_high));
            let _ = writeln!(
                out,
                r#"<line x1="{px:.1}" x2="{px:.1}" y1="{low:.1}" y2="{high:.1}" stroke="{colour}" stroke-width="1.5"/><circle cx="{px:.1}" cy="{:.1}" r="4" fill="{colour}"/>"#,
                y(row.accuracy)
            );
        }
        if let Some((_, row)) = points.last() {
            labels.push((y(row.accuracy), r));
        }
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::MIN;
    for (at, r) in labels {
        let at = at.max(free);
        free = at + 17.0;
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" fill="{}">{}</text>"#,
            WIDTH - RIGHT + 12.0,
            at + 4.0,
            COLOURS[r],
            regimes[r]
        );
    }
    out + "</svg>\n"
}

fn head(
    out: &mut String,
    k: usize,
    steps: &[usize],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) -> std::fmt::Result {
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{LEFT}" y="24" font-size="15">How often the right output of a lane is found, {k} lanes at the crossing relay</text>"##
    )?;
    let right = WIDTH - RIGHT;
    for tenth in [0, 2, 4, 6, 8, 10] {
        let at = y(f64::from(tenth) / 10.0);
        writeln!(
            out,
            r##"<line x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}" stroke="#e0e0e0"/><text x="{:.1}" y="{:.1}" text-anchor="end">{} %</text>"##,
            LEFT - 8.0,
            at + 4.0,
            tenth * 10
        )?;
    }
    let blind = y(1.0 / k as f64);
    writeln!(
        out,
        r##"<line x1="{LEFT}" x2="{right}" y1="{blind:.1}" y2="{blind:.1}" stroke="#404040" stroke-dasharray="5 4"/><text x="{:.1}" y="{:.1}" fill="#404040">blind guess, 1/{k}</text>"##,
        LEFT + 6.0,
        blind + 16.0
    )?;
    for &s in steps {
        writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{s}</text>"#,
            x(s),
            HEIGHT - BOTTOM + 22.0
        )?;
    }
    writeln!(
        out,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">steps observed (best attacker; bars: 95 % interval)</text>"#,
        f64::midpoint(LEFT, right),
        HEIGHT - 12.0
    )
}
