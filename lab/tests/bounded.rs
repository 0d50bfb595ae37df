//! A bounded run of the laboratory: the controls hold, and cover hides.

#![allow(clippy::unwrap_used)]

use mixnn_lab::report::{CONTROLS, Extent, Report, Row, TWO_HOSTS, run};
use std::sync::OnceLock;

fn report() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| run(&Extent::bounded(), 7, |_| {}).unwrap())
}

fn rows(regime: &str) -> impl Iterator<Item = &'static Row> {
    report().rows.iter().filter(move |r| r.regime == regime && r.controls != TWO_HOSTS)
}

fn best(regime: &str) -> f64 {
    rows(regime).filter(|r| r.tamper == "watches").map(|r| r.accuracy).fold(0.0, f64::max)
}

/// Were the attackers weak, all that follows would say nothing.
#[test]
fn without_cover_lanes_are_linked() {
    assert!(best("none") >= 0.95);
    for row in rows("none").filter(|r| r.attacker.starts_with('6')) {
        assert!(row.accuracy >= 0.3, "{row:?}");
    }
}

#[test]
fn poisson_delays_and_batches_are_no_defence() {
    for regime in ["Poisson 15 ms", "timed 100 ms"] {
        assert!(best(regime) >= 0.6, "{regime}: {}", best(regime));
    }
}

/// Cover whose crossing relay is broken hides nothing, and the laboratory says so.
#[test]
fn a_broken_crossing_is_noticed() {
    for control in CONTROLS {
        let name = control.name();
        assert!(best(&name) >= 0.8, "{name}: {}", best(&name));
    }
}

/// The bounded run has few trials: five deviations of blind guessing. The published figures have the
/// trials for the bound itself.
#[test]
fn under_constant_rate_no_attacker_is_better_than_blind() {
    for row in rows("constant rate") {
        let blind = 1.0 / row.k as f64;
        let deviation = (blind * (1.0 - blind) / row.trials as f64).sqrt();
        assert!(row.accuracy <= blind + 5.0 * deviation, "{row:?}");
    }
}

#[test]
fn cells_share_no_bytes() {
    assert_eq!(report().common_windows, 0);
    assert!(report().cells_compared > 500);
}
