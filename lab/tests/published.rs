//! `docs/privacy.md` says what `docs/privacy.json` holds, and that holds what the page claims.

#![allow(clippy::unwrap_used)]

use mixnn_lab::page;
use mixnn_lab::report::{CONTROLS, Report};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privacy.md"));
const FIGURES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privacy.json"));

fn report() -> Report {
    serde_json::from_str(FIGURES).unwrap()
}

#[test]
fn the_tables_of_the_page_are_those_of_the_figures() {
    assert!(PAGE.contains(&page::tables(&report())), "run make privacy");
}

#[test]
fn what_is_claimed_was_measured() {
    let report = report();
    for k in [8, 16] {
        assert!(page::constant(&report).filter(|r| r.k == k).count() >= 18);
    }
    for row in page::constant(&report) {
        assert!(row.trials >= 1000 && row.advantage_high <= 0.05, "{row:?}");
    }
    assert_eq!(report.common_windows, 0);
}

#[test]
fn the_published_attackers_are_strong() {
    let report = report();
    let best = |regime: &str, steps| {
        let of = |r: &&mixnn_lab::report::Row| r.regime == regime && r.steps == steps;
        report.rows.iter().filter(of).map(|r| r.accuracy).fold(0.0, f64::max)
    };
    assert!(best("none", 10) >= 0.95);
    for control in CONTROLS {
        assert!(best(&control.name(), 10) >= 0.95, "{control:?}");
    }
}
