//! `docs/privacy.md` says what `docs/privacy.json` holds, and that holds what the page claims.

#![allow(clippy::unwrap_used)]

use mixnn_lab::report::{Report, Row};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privacy.md"));
const FIGURES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privacy.json"));

fn report() -> Report {
    serde_json::from_str(FIGURES).unwrap()
}

fn number(x: f64) -> String {
    format!("{:.3}", if x.abs() > 0.0005 { x } else { 0.0 })
}

#[test]
fn every_covered_row_stands_on_the_page_and_within_the_bound() {
    let report = report();
    let covered: Vec<&Row> = report.rows.iter().filter(|r| r.regime == "constant rate").collect();
    assert!(covered.len() >= 22);
    for row in covered {
        assert!(row.trials >= 1000 && row.advantage_high <= 0.05, "{row:?}");
        let line = format!(
            "| {} | {} | {} | {} | {} | {} | {} to {} |",
            row.k,
            row.attacker,
            row.tamper,
            row.steps,
            number(row.accuracy),
            number(row.advantage),
            number(row.advantage_low),
            number(row.advantage_high)
        );
        assert!(PAGE.contains(&line), "{line}");
    }
    assert_eq!((report.common_windows, report.control_differences), (0, 0));
}

#[test]
fn the_published_attackers_are_strong() {
    for steps in [2, 10] {
        let report = report();
        let of = |r: &&Row| r.regime == "none" && r.steps == steps && r.tamper == "watches";
        let best = report.rows.iter().filter(of).map(|r| r.accuracy).fold(0.0, f64::max);
        assert!(best >= 0.95, "{best}");
    }
}
