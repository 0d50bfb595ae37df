//! Step after step for one workload, until nothing is left to do for now.

use crate::apply::{self, ApplyError, MUTATED, Made, mutates};
use crate::context::Context;
use crate::plan::{self, Loss, Stand, Step, View, Wants, first_record, step};
use crate::record::{Phase, Record, Refusal, Role};
use crate::world::{Eyes, Versioned, now};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::SignedDuration;
use std::time::Duration;

/// The most steps in a row: each makes progress, so more than this is a mistake.
const STEPS: usize = 64;

/// How it stands after the last step.
#[derive(Debug)]
pub struct Driven {
    /// The record.
    pub record: Versioned,
    /// How it stands.
    pub stand: Stand,
    /// When to look again, if nothing happens before.
    pub wait: Option<Duration>,
    /// What was lost on the way.
    pub lost: Vec<(Role, Loss)>,
    /// Hosts that altered pods, and what.
    pub altered: Vec<(String, String)>,
    /// Why a pod has no node, or had none when all were taken back, if the scheduler said so.
    pub unplaced: Option<String>,
}

/// Carries out steps until none is left.
///
/// # Errors
/// The API does not answer, or refuses what is not the host's to refuse.
pub async fn drive(
    context: &Context,
    wants: &Wants,
    selector: Option<&LabelSelector>,
) -> Result<Driven, ApplyError> {
    let (mut lost, mut altered) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let (step, written) = decide(context, wants, selector).await?;
        lost.extend(step.lost.iter().copied());
        if !step.create.is_empty() {
            let made = apply::create(context, &step).await?;
            altered.extend(made.altered.iter().cloned());
            let record = after_create(&written.record, made);
            apply::write(context, Some(&written), &record).await?;
        } else if !step.lift.is_empty() {
            apply::lift(context, &step).await?;
        } else {
            let waits =
                matches!(step.stand, Stand::NoHosts(..) | Stand::Refused(..) | Stand::Short(..));
            context.waits(&wants.workload, waits);
            return Ok(Driven {
                unplaced: step.unplaced.or_else(|| written.record.did_not_fit.clone()),
                record: written,
                stand: step.stand,
                wait: step.wait,
                lost,
                altered,
            });
        }
    }
    let record = context.world.record_of(&wants.workload.uid);
    let record = record.unwrap_or_else(|| Versioned {
        record: first_record(wants, now()).into(),
        version: String::new(),
    });
    let wait = Some(Duration::from_secs(1));
    Ok(Driven { record, stand: Stand::Admitting, wait, lost, altered, unplaced: None })
}

/// Sees to it that a workload whose model is not valid any more is in nobody's way.
///
/// # Errors
/// The API does not answer.
pub async fn set_aside(context: &Context, uid: &str) -> Result<(), ApplyError> {
    let Some(old) = context.world.record_of(uid) else { return Ok(()) };
    context.waits(&old.record.workload, false);
    let record = plan::set_aside((*old.record).clone());
    apply::write(context, Some(&old), &record).await?;
    if frees(&old.record, &record) {
        context.wake_waiting();
    }
    Ok(())
}

/// The next step, with its record written.
async fn decide(
    context: &Context,
    wants: &Wants,
    selector: Option<&LabelSelector>,
) -> Result<(Step, Versioned), ApplyError> {
    let old = context.world.record_of(&wants.workload.uid);
    let next = plan_next(context, wants, selector, old.as_ref());
    if let Some(old) = old.as_ref().filter(|old| *old.record == next.record) {
        return Ok((next, old.clone()));
    }
    if !takes(old.as_ref().map(|old| &*old.record), &next.record) {
        return write(context, old.as_ref(), next).await;
    }
    // What others have been given may have changed while this one waited for its turn.
    let _turn = context.placing.lock().await;
    let old = context.world.record_of(&wants.workload.uid);
    let next = plan_next(context, wants, selector, old.as_ref());
    write(context, old.as_ref(), next).await
}

async fn write(
    context: &Context,
    old: Option<&Versioned>,
    next: Step,
) -> Result<(Step, Versioned), ApplyError> {
    let written = apply::write(context, old, &next.record).await?;
    if old.is_some_and(|old| frees(&old.record, &next.record)) {
        context.wake_waiting();
    }
    Ok((next, written))
}

fn plan_next(
    context: &Context,
    wants: &Wants,
    selector: Option<&LabelSelector>,
    old: Option<&Versioned>,
) -> Step {
    let now = now();
    let hosts = context.world.hosts_for(&wants.workload, selector);
    let record = old.map_or_else(|| first_record(wants, now), |old| (*old.record).clone());
    let may_lift = context.world.may_lift(&record, now);
    let seen = Eyes { world: &context.world, key: &context.key };
    let view = View { now, seen: &seen, hosts: &hosts, may_lift };
    step(record, wants, &view)
}

fn pods(record: &Record) -> usize {
    record.slots.iter().filter(|s| !s.pod.is_empty() && !s.finished).count()
}

/// Whether there is room now that others may wait for.
fn frees(old: &Record, new: &Record) -> bool {
    pods(new) < pods(old)
}

/// Whether something is taken that others might take as well: room on hosts, or the turn to open gates.
fn takes(old: Option<&Record>, new: &Record) -> bool {
    let lifts = |r: &Record| matches!(r.phase, Phase::Lifted { .. });
    let had = |host: &str, pod: &str| old.is_some_and(|old| old.slot_of(host, pod).is_some());
    let places = new.slots.iter().any(|s| !s.pod.is_empty() && !had(&s.host, &s.pod));
    places || (lifts(new) && !old.is_some_and(lifts))
}

/// The record with what the API server said.
fn after_create(record: &Record, made: Made) -> Record {
    let mut record = record.clone();
    let uid = |id: u32| made.uids.iter().find(|(slot, _)| *slot == id).map(|(_, uid)| uid.clone());
    let altering = made.altered.into_iter().map(|(host, what)| {
        let text = mutates(&host, &what);
        let until = now() + SignedDuration::from_mins(5);
        (host, Refusal { reason: MUTATED.into(), text, until })
    });
    let refused: Vec<_> = made.refused.into_iter().chain(altering).collect();
    for slot in &mut record.slots {
        if let Some(uid) = uid(slot.id) {
            slot.uid = Some(uid);
        }
        let refusing = refused.iter().any(|(host, _)| *host == slot.host);
        if refusing && slot.uid.is_none() {
            slot.pod.clear();
            slot.host.clear();
        }
    }
    record.refused.extend(refused);
    record
}
