//! A bounded run of the laboratory: the controls hold, and cover hides.

#![allow(clippy::unwrap_used)]

use mixnn_lab::report::{Extent, Report, Row, run};
use std::sync::OnceLock;

fn report() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| run(&Extent::bounded(), 7, |_| {}).unwrap())
}

fn rows(regime: &str) -> impl Iterator<Item = &'static Row> {
    report().rows.iter().filter(move |r| r.regime == regime)
}

/// Were the attackers weak, all that follows would say nothing.
#[test]
fn without_cover_lanes_are_linked() {
    let best = rows("none").filter(|r| r.tamper == "watches" && r.steps == 10);
    let best = best.map(|r| r.accuracy).fold(0.0, f64::max);
    assert!(best >= 0.95, "{best}");
    for row in rows("none").filter(|r| r.attacker.starts_with('6')) {
        assert!(row.accuracy >= 0.9, "{row:?}");
    }
}

#[test]
fn poisson_delays_and_batches_are_no_defence() {
    for regime in ["Poisson 15 ms", "timed 100 ms"] {
        let best = rows(regime).map(|r| r.accuracy).fold(0.0, f64::max);
        assert!(best >= 0.85, "{regime}: {best}");
    }
}

/// The bounded run has few trials: its interval must hold blind guessing, not more. The published
/// figures have the trials for the bound itself.
#[test]
fn under_constant_rate_no_attacker_is_better_than_blind() {
    for row in rows("constant rate") {
        assert!(row.advantage_low <= 0.02, "{row:?}");
        assert!(row.advantage <= 0.1, "{row:?}");
    }
}

#[test]
fn real_cells_share_no_bytes_and_change_no_count() {
    let report = report();
    assert_eq!(report.common_windows, 0);
    assert!(report.cells_compared > 500);
    assert_eq!(report.control_differences, 0);
    assert!(report.control_wakes > 200);
}
