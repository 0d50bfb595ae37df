//! The dead-man's switch: a pod that nobody wants any more ends by itself. Sans-IO.
//!
//! Two speak for a pod: its owner, by valid frames and set-ups, and its platform, by answering it as one of
//! its pods. Either one is enough: spares hear no owner for days, and a training goes on while the operator is
//! away. When both have been silent for too long, nobody is left who would end the pod.

use clap::Args;
use std::time::{Duration, Instant};

/// How long a pod lives on alone.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeadManArgs {
    /// End after so many seconds without a valid frame of an owner and without an answer of the registration service.
    #[arg(long, env = "MIXNN_DEAD_MAN", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    dead_man: u64,
}

impl DeadManArgs {
    /// A switch that begins now.
    pub fn switch(self) -> DeadMan {
        DeadMan::new(Duration::from_secs(self.dead_man), Instant::now())
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing before this time has passed.
    Wait(Duration),
    /// The platform is to be asked whether it still knows this pod.
    Ask,
    /// Nobody is left: the process is to end.
    Dead,
}

/// Knows when a pod was heard of last.
#[derive(Clone, Debug)]
pub struct DeadMan {
    patience: Duration,
    heard: Instant,
    asked: Option<Instant>,
}

impl DeadMan {
    /// A switch that ends a pod after `patience`.
    pub const fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, heard: now, asked: None }
    }

    /// How long silence may last.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// The owner or the platform was heard.
    pub fn heard(&mut self, at: Instant) {
        if at > self.heard {
            self.heard = at;
            self.asked = None;
        }
    }

    /// The platform was asked, and did not answer.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// What is to be done now.
    ///
    /// The platform is asked after a quarter of the time, and then every eighth of it. A process that was frozen
    /// asks once more before it ends.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let silent = now.saturating_duration_since(self.heard);
        if let Some(left) = (self.patience / 4).checked_sub(silent).filter(|left| !left.is_zero()) {
            return Verdict::Wait(left);
        }
        let Some(asked) = self.asked else { return Verdict::Ask };
        if asked.saturating_duration_since(self.heard) >= self.patience {
            return Verdict::Dead;
        }
        let pause = self.patience / 8;
        let since = now.saturating_duration_since(asked);
        if silent >= self.patience || since >= pause {
            return Verdict::Ask;
        }
        Verdict::Wait(pause.saturating_sub(since).min(self.patience.saturating_sub(silent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(80);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn silence_of_both_ends_a_pod_and_either_one_keeps_it() {
        let start = Instant::now();
        let mut switch = DeadMan::new(PATIENCE, start);
        assert_eq!(switch.verdict(start), Verdict::Wait(PATIENCE / 4));
        let mut asks = 0;
        let mut ended = None;
        for second in 0..200 {
            let now = at(start, second);
            match switch.verdict(now) {
                Verdict::Wait(_) => {}
                Verdict::Ask => {
                    asks += 1;
                    switch.asked(now);
                }
                Verdict::Dead => {
                    ended = Some(second);
                    break;
                }
            }
        }
        assert_eq!((asks, ended), (7, Some(81)), "asked at 20, 30, .. 80");
        switch.heard(at(start, 82));
        assert_eq!(switch.verdict(at(start, 90)), Verdict::Wait(Duration::from_secs(12)));
    }

    #[test]
    fn who_was_frozen_asks_before_it_ends() {
        let start = Instant::now();
        let mut switch = DeadMan::new(PATIENCE, start);
        switch.asked(at(start, 30));
        let woken = at(start, 10_000);
        assert_eq!(switch.verdict(woken), Verdict::Ask);
        switch.asked(woken);
        assert_eq!(switch.verdict(woken), Verdict::Dead);
        switch.heard(woken);
        assert!(matches!(switch.verdict(woken), Verdict::Wait(_)));
    }
}
