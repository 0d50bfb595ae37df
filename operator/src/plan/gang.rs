//! All or nothing: a gang's gates open together, and one gang of a resource at a time.

use super::place::remember;
use super::{Stand, Step, View, Wants, slots, until};
use crate::record::{Phase, Record, Role, WorkloadRef};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The first pause after a gang did not fit.
const FIRST_PAUSE: u64 = 10;
/// What is kept of the scheduler's words, in characters.
const LONGEST_WHY: usize = 256;
/// The longest pause.
const LONGEST_PAUSE: u64 = 600;

/// Who waits for the same, in the order in which they go: kept as records change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Queue(BTreeMap<String, Line>);

/// Gangs that need one resource.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// Between their gates and their nodes.
    open: BTreeSet<String>,
    /// Made, behind their gates; whoever waits for longest is the first.
    ready: BTreeMap<(Timestamp, String), Ready>,
}

#[derive(Debug, PartialEq, Eq)]
struct Ready {
    workload: WorkloadRef,
    /// It pauses until then.
    not_before: Option<Timestamp>,
}

impl Line {
    /// The first that does not pause, and those before it.
    fn first(&self) -> impl Iterator<Item = &WorkloadRef> {
        let pausing = self.ready.values().take_while(|r| r.not_before.is_some());
        let first = self.ready.values().find(|r| r.not_before.is_none());
        pausing.chain(first).map(|r| &r.workload)
    }
}

fn turn(record: &Record) -> (Timestamp, String) {
    (record.waiting_since, record.workload.uid.clone())
}

fn is_ready(record: &Record) -> bool {
    !record.slots.is_empty() && record.slots.iter().all(|s| s.uid.is_some())
}

impl Queue {
    /// A record is there.
    pub fn put(&mut self, record: &Record) {
        if record.suspended || record.finished {
            return;
        }
        let uid = &record.workload.uid;
        for resource in record.resource_classes() {
            match record.phase {
                Phase::Lifted { .. } => {
                    self.0.entry(resource).or_default().open.insert(uid.clone());
                }
                Phase::Admitting if is_ready(record) => {
                    let (workload, not_before) = (record.workload.clone(), record.not_before);
                    let ready = Ready { workload, not_before };
                    self.0.entry(resource).or_default().ready.insert(turn(record), ready);
                }
                Phase::Admitting | Phase::Running => {}
            }
        }
    }

    /// A record that was put is there no more.
    pub fn take(&mut self, record: &Record) {
        for resource in record.resource_classes() {
            let Some(line) = self.0.get_mut(&resource) else { continue };
            line.open.remove(&record.workload.uid);
            line.ready.remove(&turn(record));
            if line.open.is_empty() && line.ready.is_empty() {
                self.0.remove(&resource);
            }
        }
    }

    /// Whether a gang may open its gates: no other that needs the same resources is between its gates and
    /// its nodes, and none that is ready waits for longer.
    pub fn may_lift(&self, own: &Record, now: Timestamp) -> bool {
        let uid = &own.workload.uid;
        own.resource_classes().iter().filter_map(|resource| self.0.get(resource)).all(|line| {
            let mut before = line.ready.range(..turn(own));
            let goes = |(_, r): (_, &Ready)| {
                r.workload.uid != *uid && r.not_before.is_none_or(|at| at <= now)
            };
            line.open.iter().all(|open| open == uid) && !before.any(goes)
        })
    }

    /// Whose turn it may be of those that need what this workload needs, wherever nobody's gates are open.
    pub fn next(&self, of: &Record) -> BTreeSet<WorkloadRef> {
        let resources = of.resource_classes();
        let free = resources.iter().filter_map(|r| self.0.get(r)).filter(|l| l.open.is_empty());
        free.flat_map(Line::first).cloned().collect()
    }
}

/// From made pods to pods with nodes.
pub fn advance(step: &mut Step, wants: &Wants, view: &View<'_>) -> Stand {
    let record = &mut step.record;
    if record.phase == Phase::Admitting {
        if !view.may_lift {
            return Stand::Queued;
        }
        record.phase = Phase::Lifted { at: view.now };
    }
    let pod = |s: &crate::record::Slot| view.seen.pod(&s.host, &s.pod);
    let live = record.slots.iter().filter(|s| !s.finished);
    let pods: Vec<_> = live.map(|s| (s.id, pod(s))).collect();
    let gated = pods.iter().filter(|(_, p)| p.as_ref().is_some_and(|p| p.gated));
    step.lift = gated.map(|(id, _)| *id).collect();
    let with_node =
        |p: &&(u32, Option<super::PodView>)| p.1.as_ref().is_some_and(|p| p.node.is_some());
    let (placed, total) = (pods.iter().filter(with_node).count() as u32, pods.len() as u32);
    if placed == total {
        record.phase = Phase::Running;
        record.attempts = 0;
        record.did_not_fit = None;
        remember(record, view);
        return Stand::Running;
    }
    let unplaced = pods.iter().find_map(|(id, p)| Some((*id, p.as_ref()?.unplaced.clone()?)));
    step.unplaced = unplaced.map(|(id, why)| no_node(record, id, &why));
    match record.phase {
        Phase::Running => {
            remember(record, view);
            Stand::Scheduling(placed, total)
        }
        Phase::Admitting => Stand::Admitting,
        Phase::Lifted { at } => {
            // A timeout beyond the end of time is none.
            let deadline = at.checked_add(wants.timeout).unwrap_or(Timestamp::MAX);
            if deadline > view.now {
                step.wait = Some(until(deadline, view.now));
                return Stand::Scheduling(placed, total);
            }
            back_off(step, view.now)
        }
    }
}

fn no_node(record: &Record, id: u32, why: &str) -> String {
    let slot = record.slots.iter().find(|s| s.id == id && s.role == Role::Layer);
    let whose = slot.map_or("a relay".to_owned(), |s| format!("a layer of class {}", s.class));
    let why: String = why.chars().take(LONGEST_WHY).collect();
    format!("no node for {whose}: {why}")
}

/// Takes all pods back. What it waited so far counts: it goes before whoever came later.
fn back_off(step: &mut Step, now: Timestamp) -> Stand {
    let record = &mut step.record;
    slots::vacate_all(record);
    record.phase = Phase::Admitting;
    record.attempts += 1;
    record.did_not_fit = step.unplaced.take();
    let at = now + SignedDuration::from_secs(pause(record) as i64);
    record.not_before = Some(at);
    step.lift.clear();
    step.wait = Some(until(at, now));
    Stand::BackedOff(at)
}

/// Doubles from try to try, with half of it left to chance so that two gangs do not meet again.
fn pause(record: &Record) -> u64 {
    let whole = (FIRST_PAUSE << (record.attempts.saturating_sub(1)).min(6)).min(LONGEST_PAUSE);
    let mut chance = DefaultHasher::new();
    (&record.workload.uid, record.attempts).hash(&mut chance);
    whole / 2 + chance.finish() % (whole / 2 + 1)
}
