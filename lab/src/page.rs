//! The tables of `docs/privacy.md`, written from the figures.

use crate::report::{ALL_LINKS, CONTROLS, REGIMES, Report, Row, TWO_HOSTS};
use crate::sim::Regime;
use std::fmt::Write;

const BEGIN: &str = "<!-- written by make privacy: begin -->\n";
const END: &str = "<!-- written by make privacy: end -->\n";

/// The page with its tables written anew. Nothing if it has no place for them.
pub fn rewrite(page: &str, report: &Report) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", tables(report)))
}

/// All tables.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n### Best watching attacker, by regime\n")?;
    writeln!(out, "{COLUMNS}")?;
    let mut seen: Vec<(usize, usize)> = report.rows.iter().map(|r| (r.k, r.steps)).collect();
    seen.sort_unstable();
    seen.dedup();
    for regime in REGIMES.into_iter().chain(CONTROLS) {
        for &(k, steps) in &seen {
            let rows = report.rows.iter().filter(|r| {
                watches(r, regime) && r.controls == ALL_LINKS && (r.k, r.steps) == (k, steps)
            });
            if let Some(row) = rows.max_by(|a, b| a.accuracy.total_cmp(&b.accuracy)) {
                writeln!(out, "{}", line(row))?;
            }
        }
    }
    writeln!(out, "\n### Under constant rate, every attacker\n")?;
    writeln!(out, "{COLUMNS}")?;
    for row in constant(report) {
        writeln!(out, "{}", line(row))?;
    }
    writeln!(out, "\n### Active attackers where cover is off or broken\n")?;
    writeln!(out, "{COLUMNS}")?;
    let active = |r: &&Row| {
        let regime = [Regime::None].into_iter().chain(CONTROLS).any(|c| c.name() == r.regime);
        regime && r.tamper != "watches"
    };
    for row in report.rows.iter().filter(active) {
        writeln!(out, "{}", line(row))?;
    }
    writeln!(out, "\n### Corrupt ends: {TWO_HOSTS}\n")?;
    writeln!(out, "{COLUMNS}")?;
    for row in report.rows.iter().filter(|r| r.controls == TWO_HOSTS) {
        writeln!(out, "{}", line(row))?;
    }
    writeln!(
        out,
        "\nAmong {} cells whose frames were zeros, on both sides of the crossing, {} windows of 8 bytes came twice.\n",
        report.cells_compared, report.common_windows
    )
}

const COLUMNS: &str = "| regime | k | attacker | has | does | steps | found | accuracy | advantage, 95 % interval |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |";

fn watches(row: &Row, regime: Regime) -> bool {
    row.regime == regime.name() && row.tamper == "watches"
}

/// What the claim is about.
pub fn constant(report: &Report) -> impl Iterator<Item = &Row> {
    let of = |r: &&Row| r.regime == Regime::Constant.name() && r.controls != TWO_HOSTS;
    report.rows.iter().filter(of)
}

fn line(r: &Row) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} of {} | {:.3} | {} to {} |",
        r.regime,
        r.k,
        r.attacker,
        if r.controls == ALL_LINKS { "all but the crossing" } else { &r.controls },
        r.tamper,
        r.steps,
        r.found,
        r.trials,
        r.accuracy,
        number(r.advantage_low),
        number(r.advantage_high)
    )
}

/// Without a sign before zero.
fn number(x: f64) -> String {
    format!("{:.3}", if x.abs() > 0.0005 { x } else { 0.0 })
}
