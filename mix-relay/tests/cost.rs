//! What covered lanes cost at one relay. Measures, asserts nothing of time: run it alone.
//!
//! ```console
//! $ cargo test --release --test cost -- --ignored --nocapture
//! ```
//!
//! `SECONDS`, `LANES`, `PERIOD` (microseconds) change what is run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{Node, RunningRelay, draw_covered};
use mixnn_protocol::{Cover, WallClock};
use mixnn_transport::Limits;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Cells in flight of each lane.
const QUOTA: u32 = 64;

fn given(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// CPU seconds of the threads of this name.
fn cpu(name: &str) -> f64 {
    let ticks = |task: std::fs::DirEntry| {
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
        (comm.trim() == name).then_some(ticks)
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| ticks(task.unwrap())).sum::<u64>() as f64 / 100.0
}

/// Resident memory of this process, in MiB.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// The bounds between which a share of the observations of a Prometheus histogram ends.
fn quantile(text: &str, name: &str, share: f64) -> (f64, f64) {
    let prefix = format!("{name}_bucket{{le=\"");
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|l| l.strip_prefix(&prefix)?.split_once("\"} "))
        .map(|(le, n)| (le.parse().unwrap_or(f64::INFINITY), n.parse().unwrap()))
        .collect();
    let total = buckets.last().unwrap().1;
    let at = buckets.iter().position(|(_, n)| *n >= share * total).unwrap();
    (at.checked_sub(1).map_or(0.0, |before| buckets[before].0), buckets[at].0)
}

#[test]
#[ignore = "measures, for minutes"]
fn sixty_four_lanes() {
    let (lanes, period) = (given("LANES", 64), given("PERIOD", 10_000));
    let seconds = given("SECONDS", 60);
    let (from, to) = (Node::start(), Node::start());
    let relay = RunningRelay::start_with(Limits::default(), 1 << 30);
    let nodes: HashMap<_, _> =
        [(relay.reference.id, relay.url.clone()), (to.id, to.url.clone())].into();
    relay.set_directory(&nodes);
    from.endpoint.set_directory(nodes);
    let start = WallClock::system().seconds(Instant::now()) + 5;
    let cover = Some(Cover { period, start, stop: start + seconds });
    for lane in 0..lanes {
        let keys = draw_covered(&from, to.id, &[&relay], &[], QUOTA, cover);
        to.endpoint.install_receive(lane, keys.receiving);
        from.endpoint.install_send(lane, keys.sending, QUOTA);
    }
    std::thread::sleep(Duration::from_secs(10));
    let (begun, used) = (Instant::now(), cpu("relay"));
    println!("after 10 s: {:.0} MiB in relay and both ends", memory());
    while WallClock::system().seconds(Instant::now()) < start + seconds - 2 {
        std::thread::sleep(Duration::from_millis(200));
    }
    let share = (cpu("relay") - used) / begun.elapsed().as_secs_f64();
    println!("after {seconds} s: {:.0} MiB", memory());
    let text = relay.counters.encode();
    let late = |share| {
        let (low, high) = quantile(&text, "mixnn_cover_late_seconds", share);
        format!("{:.2} to {:.2} ms", low * 1e3, high * 1e3)
    };
    println!("{lanes} lanes, a slot of a sender every {period} us, {seconds} s");
    println!("CPU of the relay's thread: {:.1} % of a core", share * 100.0);
    println!("slots late: median {}, p99 {}, p99.9 {}", late(0.5), late(0.99), late(0.999));
    for name in ["mixnn_cover_cells_total", "mixnn_cover_blocked_total", "mixnn_cover_missed_total"]
    {
        println!("{}", text.lines().find(|l| l.starts_with(name)).unwrap_or(name));
    }
    println!(
        "{}",
        text.lines().filter(|l| l.starts_with("mixnn_drops")).collect::<Vec<_>>().join("\n")
    );
}
