//! Slots: as many as wanted, each with the pod that it has.

use super::{Loss, PodState, PodView, Step, View, Wants};
use crate::record::{Phase, Record, Role, Slot};
use std::collections::BTreeMap;

/// Makes the slots those that are wanted. A kind that shrinks loses its newest slots.
pub fn fit(record: &mut Record, wants: &Wants) {
    let mut wanted: BTreeMap<(Role, String), u32> = BTreeMap::new();
    for (class, count) in &wants.layers {
        wanted.insert((Role::Layer, class.clone()), count + wants.spares);
    }
    wanted.insert((Role::Relay, String::new()), wants.relays);
    let mut have: BTreeMap<(Role, String), u32> = BTreeMap::new();
    record.slots.retain(|slot| {
        let kind = (slot.role, slot.class.clone());
        let count = have.entry(kind.clone()).or_insert(0);
        *count += 1;
        *count <= wanted.get(&kind).copied().unwrap_or(0)
    });
    let mut next = record.slots.iter().map(|s| s.id + 1).max().unwrap_or(0);
    for ((role, class), count) in wanted {
        let there = have.get(&(role, class.clone())).copied().unwrap_or(0);
        for _ in there..count {
            record.slots.push(vacant(next, role, class.clone()));
            next += 1;
        }
    }
}

fn vacant(id: u32, role: Role, class: String) -> Slot {
    Slot {
        id,
        role,
        class,
        incarnation: 0,
        claim: 0,
        host: String::new(),
        pod: String::new(),
        uid: None,
        finished: false,
    }
}

/// Lets go of a slot's pod; the host is kept as the one to try first.
pub fn vacate(slot: &mut Slot) {
    slot.pod.clear();
    slot.uid = None;
}

/// Lets go of every pod.
pub fn vacate_all(record: &mut Record) {
    record.slots.iter_mut().for_each(|slot| {
        vacate(slot);
        slot.host.clear();
    });
}

/// Whether every layer that is wanted ended in order. Spares do not count.
pub fn all_finished(record: &Record, wants: &Wants) -> bool {
    let wanted: u32 = wants.layers.values().sum();
    let done = record.slots.iter().filter(|s| s.role == Role::Layer && s.finished).count();
    wanted > 0 && done as u32 >= wanted
}

/// Compares slots with their pods, and lets go of those that are lost. Gives whether all was known.
pub fn observe(step: &mut Step, view: &View<'_>) -> bool {
    let running = step.record.phase == Phase::Running;
    let mut known = true;
    let mut drained = false;
    let record = &mut step.record;
    for slot in record.slots.iter_mut().filter(|s| !s.pod.is_empty() && !s.finished) {
        let host = view.hosts.iter().find(|h| h.namespace == slot.host);
        let Some(host) = host else {
            // The grant is gone, or does not admit this owner any more.
            lose(slot, Loss::Deleted, running, &mut step.lost);
            slot.host.clear();
            continue;
        };
        if host.drain && !drained {
            // One at a time: each replacement stands before the next pod is let go.
            drained = running;
            lose(slot, Loss::Disrupted, running, &mut step.lost);
            slot.host.clear();
            continue;
        }
        if !view.seen.knows(&slot.host) {
            known = false;
            continue;
        }
        match verdict(slot, view.seen.pod(&slot.host, &slot.pod)) {
            Verdict::Keep => {}
            Verdict::Finished => slot.finished = true,
            Verdict::Lost(loss) => {
                lose(slot, loss, running, &mut step.lost);
                if loss == Loss::Disrupted {
                    slot.host.clear();
                }
            }
        }
    }
    let count = |role| step.lost.iter().filter(|(r, _)| *r == role).count() as u32;
    if running {
        record.replaced_layers += count(Role::Layer);
        record.replaced_relays += count(Role::Relay);
    }
    known
}

enum Verdict {
    Keep,
    Finished,
    Lost(Loss),
}

fn verdict(slot: &Slot, pod: Option<PodView>) -> Verdict {
    match (&slot.uid, pod) {
        // Not made yet, or made by an operator that died before it could say so.
        (None, _) => Verdict::Keep,
        (Some(_), None) => Verdict::Lost(Loss::Deleted),
        (Some(uid), Some(pod)) if *uid != pod.uid => Verdict::Lost(Loss::Deleted),
        (Some(_), Some(pod)) => match pod.state {
            PodState::Live => Verdict::Keep,
            PodState::Finished if slot.role == Role::Layer => Verdict::Finished,
            PodState::Finished => Verdict::Lost(Loss::Failed),
            PodState::Lost(loss) => Verdict::Lost(loss),
        },
    }
}

fn lose(slot: &mut Slot, loss: Loss, running: bool, lost: &mut Vec<(Role, Loss)>) {
    vacate(slot);
    if running {
        lost.push((slot.role, loss));
    }
}
