//! What is to be done next for one workload: pure, from what is recorded, wanted and seen.
//!
//! [`step`] never looks at status and knows no client. It is called again after each of its steps is
//! applied, and after every change of what it saw, until nothing is left to do: so it does not matter
//! at which point an operator dies.
//!
//! Pods are never deleted by name here: a slot lets go of its pod, and whatever pod no record names is
//! removed (see `collect`).

mod gang;
mod place;
mod slots;

pub use gang::Queue;
pub use place::HostView;

use crate::record::{Phase, Pin, Record, Role, WorkloadRef};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use place::{NoPlace, place_all};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a workload wants, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Wants {
    /// Whose.
    pub workload: WorkloadRef,
    /// Layer pods by class, spares not counted.
    pub layers: BTreeMap<String, u32>,
    /// Spare layer pods of each class.
    pub spares: u32,
    /// Relays of its own.
    pub relays: u32,
    /// The most layers that a trust domain may ever run.
    pub max_layers_per_host: u32,
    /// How long a gang may wait for nodes.
    pub timeout: Duration,
    /// No pods, for now.
    pub suspend: bool,
    /// Pods, too, once it is trained.
    pub serving: bool,
    /// What a new run is pinned to.
    pub pin: Pin,
}

/// A pod as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion: of two views of a pod the one with the greater number is the newer one.
    pub version: u64,
    /// It waits behind its scheduling gate.
    pub gated: bool,
    /// The node that it was given.
    pub node: Option<String>,
    /// Why the scheduler found no node for it, in its words.
    pub unplaced: Option<String>,
    /// How it is.
    pub state: PodState,
    /// The seal in its annotation.
    pub seal: Option<String>,
    /// If it is being deleted, when it is to have ended: by the operator's clock, from when that was seen first.
    pub deleting: Option<Timestamp>,
}

impl PodView {
    /// It was seen before, like this.
    pub fn goes_on(&mut self, before: Option<&Self>) {
        let before = before.filter(|before| before.uid == self.uid).and_then(|b| b.deleting);
        // A grace period may have become shorter.
        self.deleting = self.deleting.map(|at| before.map_or(at, |before| before.min(at)));
    }
}

/// How a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It runs, or will.
    Live,
    /// It ended in order: its owner was done with it.
    Finished,
    /// It is lost, or is about to be.
    Lost(Loss),
}

/// How a pod was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its process ended.
    Failed,
    /// It is being deleted, or is gone.
    Deleted,
    /// Its node is to be left: eviction, drain, preemption.
    Disrupted,
}

impl Loss {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Deleted => "was deleted",
            Self::Disrupted => "was evicted or is about to be",
        }
    }
}

/// What is seen.
pub trait Seen {
    /// The pod of this namespace and name.
    fn pod(&self, namespace: &str, name: &str) -> Option<PodView>;
    /// Whether all pods of the namespace are known.
    fn knows(&self, namespace: &str) -> bool;
    /// A pod's name that nobody can tell the workload from.
    fn pod_name(&self, workload: &str, slot: u32, incarnation: u32) -> String;
}

/// What is there to decide by.
pub struct View<'a> {
    /// The time.
    pub now: Timestamp,
    /// Pods.
    pub seen: &'a dyn Seen,
    /// Hosts that admit the workload, with what others take of them.
    pub hosts: &'a [HostView],
    /// Whether no other gang has to go first.
    pub may_lift: bool,
}

/// How it stands, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// All pods have nodes.
    Running,
    /// Suspended by its owner.
    Suspended,
    /// All layers are done.
    Finished,
    /// No hosts, or no room: reason and message.
    NoHosts(&'static str, String),
    /// A host refused: reason and message.
    Refused(String, String),
    /// Pods are being made.
    Admitting,
    /// Other gangs go first.
    Queued,
    /// Gates are open; so many of so many pods have a node.
    Scheduling(u32, u32),
    /// It did not fit; tried again at this time.
    BackedOff(Timestamp),
    /// A pod was lost and cannot be replaced: reason and message.
    Short(&'static str, String),
}

impl View<'_> {
    /// The trust domain of a host.
    fn domain(&self, namespace: &str) -> Option<&str> {
        self.hosts.iter().find(|h| h.namespace == namespace).map(|h| h.domain.as_str())
    }
}

/// What is next.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The record as it shall be. Written first, if it changed.
    pub record: Record,
    /// Slots whose pod is to be made.
    pub create: Vec<u32>,
    /// Slots whose pod's gate is to be opened.
    pub lift: Vec<u32>,
    /// Look again after this time, if nothing else happens before.
    pub wait: Option<Duration>,
    /// How it stands.
    pub stand: Stand,
    /// What was lost in this step: role and how.
    pub lost: Vec<(Role, Loss)>,
    /// Why a pod has no node, if the scheduler said so.
    pub unplaced: Option<String>,
}

/// The record of a workload that has none yet.
pub fn first_record(wants: &Wants, now: Timestamp) -> Record {
    Record {
        workload: wants.workload.clone(),
        run: 1,
        pin: wants.pin.clone(),
        phase: Phase::Admitting,
        slots: Vec::new(),
        next_claim: 0,
        used: BTreeMap::new(),
        waiting_since: now,
        attempts: 0,
        not_before: None,
        did_not_fit: None,
        refused: BTreeMap::new(),
        replaced_layers: 0,
        replaced_relays: 0,
        suspended: wants.suspend,
        finished: false,
    }
}

/// The next step.
pub fn step(record: Record, wants: &Wants, view: &View<'_>) -> Step {
    let mut step = Step {
        record,
        create: Vec::new(),
        lift: Vec::new(),
        wait: None,
        stand: Stand::Admitting,
        lost: Vec::new(),
        unplaced: None,
    };
    step.stand = advance(&mut step, wants, view);
    step
}

fn advance(step: &mut Step, wants: &Wants, view: &View<'_>) -> Stand {
    let record = &mut step.record;
    if wants.suspend {
        suspend(record);
        return Stand::Suspended;
    }
    if record.suspended {
        resume(record, wants, view.now);
    }
    if record.finished {
        if !wants.serving {
            return Stand::Finished;
        }
        // Serving was asked for after its designer had let go of the layers.
        run_again(record);
        resume(record, wants, view.now);
    }
    slots::fit(record, wants);
    if !slots::observe(step, view) {
        // A namespace's pods are not all known yet: what is not seen may still be there.
        return Stand::Admitting;
    }
    let record = &mut step.record;
    if slots::all_finished(record, wants) {
        record.finished = true;
        slots::vacate_all(record);
        return Stand::Finished;
    }
    if let Some(at) = record.not_before.filter(|at| *at > view.now) {
        step.wait = Some(until(at, view.now));
        return Stand::BackedOff(at);
    }
    record.not_before = None;
    record.refused.retain(|_, refusal| refusal.until > view.now);
    if let Err(problem) = place_all(record, wants, view) {
        return no_place(step, problem, view.now);
    }
    step.create =
        record.slots.iter().filter(|s| !s.finished && s.uid.is_none()).map(|s| s.id).collect();
    if !step.create.is_empty() {
        return Stand::Admitting;
    }
    gang::advance(step, wants, view)
}

/// The record of a model that is not valid any more. A run that has begun keeps its pods: it is pinned to what was
/// valid. A gang that has not gives back what others wait for, its pods and its turn, and comes again if the
/// model is mended; what it has waited so far counts.
pub fn set_aside(mut record: Record) -> Record {
    if record.phase != Phase::Running && !record.suspended && !record.finished {
        record.phase = Phase::Admitting;
        slots::vacate_all(&mut record);
    }
    record
}

fn suspend(record: &mut Record) {
    if !record.suspended {
        run_again(record);
    }
    record.suspended = true;
}

/// What comes next is another run: of the pods that there were, it keeps none.
fn run_again(record: &mut Record) {
    record.run += 1;
    record.finished = false;
    record.phase = Phase::Admitting;
    record.slots.iter_mut().for_each(|slot| slot.finished = false);
    slots::vacate_all(record);
}

fn resume(record: &mut Record, wants: &Wants, now: Timestamp) {
    record.suspended = false;
    record.pin = wants.pin.clone();
    record.waiting_since = now;
    record.attempts = 0;
    record.not_before = None;
    record.did_not_fit = None;
    record.refused.clear();
}

/// While gangs gather, none holds a part of what it needs; a run that lost a pod keeps the rest.
fn no_place(step: &mut Step, problem: NoPlace, now: Timestamp) -> Stand {
    let record = &mut step.record;
    let refused = record.refused.values().next().cloned();
    step.wait = record.refused.values().map(|r| until(r.until, now)).min();
    let running = record.phase == Phase::Running;
    if !running {
        slots::vacate_all(record);
        record.phase = Phase::Admitting;
    }
    match (refused, running) {
        (Some(refusal), _) => Stand::Refused(refusal.reason, refusal.text),
        (None, true) => Stand::Short("NoFreshHost", problem.to_string()),
        (None, false) => Stand::NoHosts(problem.reason(), problem.to_string()),
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    let left = at.duration_since(now).max(SignedDuration::from_millis(10));
    left.unsigned_abs()
}
