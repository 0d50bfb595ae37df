//! The plan, step by step, without a cluster.

#![allow(clippy::unwrap_used)]

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mixnn_crds::{Amount, HostedRole, PodClass, PodResources, SuiteName};
use mixnn_operator::plan::{
    HostView, Loss, PodState, PodView, Queue, Seen, Stand, Step, View, Wants, first_record,
    set_aside, step,
};
use mixnn_operator::record::{Phase, Pin, Record, Refusal, Role, WorkloadRef};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

#[derive(Default)]
struct Pods {
    pods: HashMap<(String, String), PodView>,
    unknown: Vec<String>,
}

impl Seen for Pods {
    fn pod(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.pods.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
    fn knows(&self, namespace: &str) -> bool {
        !self.unknown.iter().any(|n| n == namespace)
    }
    fn pod_name(&self, workload: &str, slot: u32, incarnation: u32) -> String {
        format!("{workload}-{slot}-{incarnation}")
    }
}

/// A workload with its record, pods and hosts, driven as the operator does it.
struct Table {
    wants: Wants,
    record: Record,
    pods: Pods,
    hosts: Vec<HostView>,
    now: Timestamp,
    may_lift: bool,
    uids: u32,
}

fn class() -> PodClass {
    let limits =
        [("cpu", "1"), ("memory", "1Gi")].map(|(k, v)| (k.to_owned(), Amount(v.to_owned())));
    PodClass { resources: PodResources { limits: limits.into() } }
}

fn wants(uid: &str, layers: u32, relays: u32) -> Wants {
    let pin = Pin {
        layer_image: "layer".into(),
        relay_image: "relay".into(),
        designer_image: "designer".into(),
        suite: SuiteName::XWing,
        classes: [("standard".to_owned(), class())].into(),
        relay_class: class(),
        protocol_version: 1,
    };
    Wants {
        workload: WorkloadRef { uid: uid.into(), namespace: "owner".into(), name: uid.into() },
        layers: [("standard".to_owned(), layers)].into(),
        spares: 0,
        relays,
        max_layers_per_host: 1,
        timeout: Duration::from_secs(900),
        suspend: false,
        serving: false,
        pin,
    }
}

fn host(name: &str) -> HostView {
    HostView {
        namespace: name.into(),
        domain: name.into(),
        roles: vec![HostedRole::Layer, HostedRole::Relay],
        max_pods: 10,
        max_pod_resources: BTreeMap::new(),
        max_resources: BTreeMap::new(),
        ready: true,
        drain: false,
        other_pods: 0,
        other_resources: BTreeMap::new(),
    }
}

impl Table {
    fn new(layers: u32, relays: u32, hosts: usize) -> Self {
        let wants = wants("m", layers, relays);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let record = first_record(&wants, now);
        let hosts = (0..hosts).map(|i| host(&format!("h{i}"))).collect();
        Self { wants, record, pods: Pods::default(), hosts, now, may_lift: true, uids: 0 }
    }

    fn step(&mut self) -> Step {
        let view =
            View { now: self.now, seen: &self.pods, hosts: &self.hosts, may_lift: self.may_lift };
        let step = step(self.record.clone(), &self.wants, &view);
        self.record = step.record.clone();
        step
    }

    /// Steps until nothing is left to do, with an API server that takes everything.
    fn drive(&mut self) -> Stand {
        for _ in 0..20 {
            let step = self.step();
            if !step.create.is_empty() {
                step.create.iter().for_each(|id| self.make(*id));
            } else if !step.lift.is_empty() {
                self.pods.pods.values_mut().for_each(|p| p.gated = false);
            } else {
                return step.stand;
            }
        }
        panic!("no end: {:#?}", self.record);
    }

    fn make(&mut self, id: u32) {
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        let slot = self.record.slots.iter_mut().find(|s| s.id == id).unwrap();
        slot.uid = Some(uid.clone());
        let view = PodView {
            uid,
            version: 0,
            gated: true,
            node: None,
            unplaced: None,
            state: PodState::Live,
            seal: None,
            deleting: None,
        };
        self.pods.pods.insert((slot.host.clone(), slot.pod.clone()), view);
    }

    fn schedule(&mut self) {
        for pod in self.pods.pods.values_mut().filter(|p| !p.gated) {
            pod.node = Some("node".into());
        }
    }

    fn running(layers: u32, relays: u32, hosts: usize) -> Self {
        let mut table = Self::new(layers, relays, hosts);
        assert!(matches!(table.drive(), Stand::Scheduling(0, _)));
        table.schedule();
        assert_eq!(table.drive(), Stand::Running);
        table
    }

    fn pod_of(&mut self, id: u32) -> &mut PodView {
        let slot = self.record.slots.iter().find(|s| s.id == id).unwrap();
        self.pods.pods.get_mut(&(slot.host.clone(), slot.pod.clone())).unwrap()
    }

    fn hosts_of(&self, role: Role) -> Vec<&str> {
        let mut hosts: Vec<_> =
            self.record.slots.iter().filter(|s| s.role == role).map(|s| s.host.as_str()).collect();
        hosts.sort_unstable();
        hosts
    }
}

#[test]
fn every_layer_has_a_host_of_its_own_and_relays_spread() {
    let table = Table::running(3, 4, 5);
    let mut layers = table.hosts_of(Role::Layer);
    layers.dedup();
    assert_eq!(layers.len(), 3);
    let relays = table.hosts_of(Role::Relay);
    assert!(
        relays.iter().filter(|h| layers.contains(h)).count() <= 2,
        "{relays:?} beside {layers:?}"
    );
}

#[test]
fn with_too_few_hosts_no_pod_is_made() {
    let mut table = Table::new(3, 0, 2);
    let Stand::NoHosts(reason, text) = table.drive() else { panic!("it should not fit") };
    assert_eq!(reason, "NoFreshHost");
    assert!(text.contains("maxLayersPerHost"), "{text}");
    assert!(table.pods.pods.is_empty() && table.record.slots.iter().all(|s| s.pod.is_empty()));
    table.hosts.push(host("h2"));
    assert!(matches!(table.drive(), Stand::Scheduling(0, 3)));
    table.hosts.clear();
    let mut nobody = Table::new(1, 0, 0);
    assert!(matches!(nobody.drive(), Stand::NoHosts("NoHost", _)));
}

#[test]
fn gates_open_only_after_every_pod_is_made_and_in_turn() {
    let mut table = Table::new(2, 1, 3);
    table.may_lift = false;
    assert_eq!(table.drive(), Stand::Queued);
    assert!(table.pods.pods.values().all(|p| p.gated) && table.pods.pods.len() == 3);
    table.may_lift = true;
    assert_eq!(table.drive(), Stand::Scheduling(0, 3));
    assert!(table.pods.pods.values().all(|p| !p.gated));
}

#[test]
fn a_gang_that_does_not_fit_is_taken_back_whole_and_tried_again() {
    let mut table = Table::new(2, 1, 3);
    table.drive();
    table.pod_of(0).node = Some("node".into());
    table.pod_of(1).unplaced = Some("3 Insufficient cpu".into());
    assert_eq!(table.drive(), Stand::Scheduling(1, 3));
    assert!(table.step().unplaced.unwrap().contains("class standard: 3 Insufficient cpu"));
    table.now += SignedDuration::from_secs(901);
    let Stand::BackedOff(at) = table.drive() else { panic!("timeout") };
    assert!(table.record.slots.iter().all(|s| s.pod.is_empty()), "no part of it stays");
    assert!(at > table.now && table.record.attempts == 1);
    assert_eq!(table.drive(), Stand::BackedOff(at));
    assert!(table.record.did_not_fit.as_ref().unwrap().contains("3 Insufficient cpu"));
    let since = table.record.waiting_since;
    table.now = at;
    assert_eq!(table.drive(), Stand::Scheduling(0, 3), "the same hosts again: nothing ran there");
    assert_eq!(table.record.waiting_since, since, "what it waited counts");
    assert!(table.record.slots.iter().all(|s| s.incarnation == 2));
}

#[test]
fn a_lost_layer_comes_back_on_its_host_and_only_it() {
    let mut table = Table::running(2, 2, 3);
    let before = table.record.clone();
    table.pod_of(0).state = PodState::Lost(Loss::Failed);
    let lost = table.step();
    assert_eq!(lost.lost, vec![(Role::Layer, Loss::Failed)]);
    assert_eq!(lost.create, vec![0]);
    table.make(0);
    assert!(matches!(table.drive(), Stand::Scheduling(3, 4)));
    table.schedule();
    assert_eq!(table.drive(), Stand::Running);
    let (old, new) = (&before.slots[0], &table.record.slots[0]);
    assert_eq!((&old.host, old.incarnation + 1), (&new.host, new.incarnation));
    assert!(old.claim != new.claim && old.pod != new.pod);
    assert_eq!(before.slots[1..], table.record.slots[1..]);
    assert_eq!(table.record.replaced_layers, 1);
}

#[test]
fn an_evicted_layer_goes_to_a_host_that_never_ran_another() {
    let mut table = Table::running(2, 0, 2);
    table.pod_of(0).state = PodState::Lost(Loss::Disrupted);
    // Its own old host is the only one left that may run it.
    let old = table.record.slots[0].host.clone();
    assert!(matches!(table.drive(), Stand::Scheduling(1, 2)));
    assert_eq!(table.record.slots[0].host, old);
    table.schedule();
    table.drive();
    // That host drains: there is no other, and the rest of the run stays.
    table.hosts.iter_mut().find(|h| h.namespace == old).unwrap().drain = true;
    let Stand::Short(reason, _) = table.drive() else { panic!("no place") };
    assert_eq!(reason, "NoFreshHost");
    assert!(table.record.slots[1].uid.is_some());
    table.hosts.push(host("fresh"));
    assert!(matches!(table.drive(), Stand::Scheduling(1, 2)));
    assert_eq!(table.record.slots[0].host, "fresh");
}

#[test]
fn a_withdrawn_grant_moves_its_pods() {
    let mut table = Table::running(2, 0, 3);
    let gone = table.record.slots[0].host.clone();
    table.hosts.retain(|h| h.namespace != gone);
    table.drive();
    assert_ne!(table.record.slots[0].host, gone);
    assert_eq!(table.record.used.len(), 3, "what ran somewhere stays known");
}

#[test]
fn suspend_lets_go_of_all_and_resume_begins_a_new_run_with_the_new_pin() {
    let mut table = Table::running(2, 1, 3);
    table.wants.suspend = true;
    table.wants.pin.layer_image = "newer".into();
    assert_eq!(table.drive(), Stand::Suspended);
    assert!(table.record.slots.iter().all(|s| s.pod.is_empty()));
    assert_eq!((table.record.run, table.record.pin.layer_image.as_str()), (2, "layer"));
    assert_eq!(table.drive(), Stand::Suspended);
    assert_eq!(table.record.run, 2, "once");
    table.wants.suspend = false;
    assert!(matches!(table.drive(), Stand::Scheduling(0, 3)));
    assert_eq!(table.record.pin.layer_image, "newer");
}

#[test]
fn a_newer_operator_leaves_a_run_as_it_was_pinned() {
    let mut table = Table::running(2, 1, 3);
    let before = table.record.clone();
    table.wants.pin.layer_image = "newer".into();
    assert_eq!(table.drive(), Stand::Running);
    assert_eq!(table.record, before);
}

#[test]
fn when_every_layer_ended_in_order_nothing_is_replaced() {
    let mut table = Table::running(2, 2, 4);
    table.pod_of(0).state = PodState::Finished;
    table.pod_of(1).state = PodState::Finished;
    assert_eq!(table.drive(), Stand::Finished);
    assert!(table.record.slots.iter().all(|s| s.pod.is_empty()), "relays are let go of, too");
    assert_eq!(table.drive(), Stand::Finished);
}

#[test]
fn a_model_whose_layers_ended_runs_again_to_be_served_on_the_hosts_that_know_it() {
    let mut table = Table::running(2, 2, 4);
    let before: Vec<_> =
        table.record.slots.iter().map(|s| (s.pod.clone(), s.uid.clone())).collect();
    let hosts: Vec<String> = table.hosts_of(Role::Layer).into_iter().map(str::to_owned).collect();
    table.wants.serving = true;
    assert_eq!(table.drive(), Stand::Running, "as long as its designer keeps the layers");
    let now: Vec<_> = table.record.slots.iter().map(|s| (s.pod.clone(), s.uid.clone())).collect();
    assert_eq!(before, now);
    table.wants.serving = false;
    table.pod_of(0).state = PodState::Finished;
    table.pod_of(1).state = PodState::Finished;
    assert_eq!(table.drive(), Stand::Finished, "turned off, its designer lets go of them");
    table.wants.serving = true;
    table.wants.pin.layer_image = "newer".into();
    assert!(matches!(table.drive(), Stand::Scheduling(0, 4)));
    table.schedule();
    assert_eq!(table.drive(), Stand::Running);
    assert_eq!((table.record.run, table.record.pin.layer_image.as_str()), (2, "newer"));
    assert_eq!(table.hosts_of(Role::Layer), hosts, "no other host sees a layer");
    table.wants.suspend = true;
    assert_eq!(table.drive(), Stand::Suspended);
    assert!(table.record.slots.iter().all(|s| s.pod.is_empty()));
}

#[test]
fn nothing_is_decided_about_pods_that_cannot_be_seen() {
    let mut table = Table::running(2, 0, 2);
    let before = table.record.clone();
    table.pods.unknown = vec![before.slots[0].host.clone()];
    table.pods.pods.clear();
    let step = table.step();
    assert!(step.create.is_empty());
    assert_eq!(table.record.slots[0], before.slots[0]);
}

#[test]
fn ceilings_hold() {
    let mut table = Table::new(1, 0, 1);
    table.hosts[0].max_pod_resources = [("memory".to_owned(), Amount("512Mi".into()))].into();
    assert!(matches!(table.drive(), Stand::NoHosts("HostCeiling", _)));
    let mut table = Table::new(1, 0, 1);
    table.hosts[0].max_resources = [("cpu".to_owned(), Amount("1500m".into()))].into();
    table.hosts[0].other_resources = [("cpu".to_owned(), 1000)].into();
    assert!(matches!(table.drive(), Stand::NoHosts("HostsFull", _)));
    let mut table = Table::new(1, 0, 1);
    table.hosts[0].roles = vec![HostedRole::Relay];
    assert!(matches!(table.drive(), Stand::NoHosts("HostCeiling", _)));
    let mut table = Table::new(1, 3, 1);
    table.hosts[0].max_pods = 3;
    assert!(matches!(table.drive(), Stand::NoHosts("HostsFull", _)));
}

#[test]
fn two_namespaces_of_one_team_are_one_host() {
    let mut table = Table::new(2, 0, 2);
    table.hosts.iter_mut().for_each(|h| h.domain = "one-team".into());
    assert!(matches!(table.drive(), Stand::NoHosts("NoFreshHost", _)));
}

#[test]
fn a_host_that_refused_is_left_alone_for_a_while() {
    let mut table = Table::new(1, 0, 1);
    let until = table.now + SignedDuration::from_secs(60);
    let refusal =
        Refusal { reason: "HostQuotaExceeded".into(), text: "exceeded quota".into(), until };
    table.record.refused.insert("h0".into(), refusal);
    let Stand::Refused(reason, text) = table.drive() else { panic!("refused") };
    assert_eq!((reason.as_str(), text.as_str()), ("HostQuotaExceeded", "exceeded quota"));
    assert_eq!(table.step().wait, Some(Duration::from_secs(60)));
    table.now = until;
    assert!(matches!(table.drive(), Stand::Scheduling(0, 1)));
}

/// Whether one of two may open its gates.
fn may_lift(own: &Record, other: &Record, now: Timestamp) -> bool {
    let mut queue = Queue::default();
    queue.put(own);
    queue.put(other);
    let may = queue.may_lift(own, now);
    // Whoever may, and is ready, is whose turn it is said to be once the other one's record changes.
    let next = queue.next(other);
    assert!(!may || next.contains(&own.workload) || own.phase != Phase::Admitting);
    may
}

#[test]
fn of_two_ready_gangs_the_one_that_waited_longer_goes_first() {
    let mut a = Table::new(1, 0, 2);
    let mut b = Table::new(1, 0, 2);
    b.wants.workload.uid = "n".into();
    b.record.workload.uid = "n".into();
    b.record.waiting_since += SignedDuration::from_secs(1);
    for table in [&mut a, &mut b] {
        table.may_lift = false;
        table.drive();
    }
    let now = a.now;
    assert!(may_lift(&a.record, &b.record, now));
    assert!(!may_lift(&b.record, &a.record, now));
    a.record.phase = Phase::Lifted { at: now };
    assert!(!may_lift(&b.record, &a.record, now), "one at a time");
    a.record.phase = Phase::Running;
    assert!(may_lift(&b.record, &a.record, now));
    a.record.phase = Phase::Admitting;
    a.record.not_before = Some(now + SignedDuration::from_secs(9));
    assert!(may_lift(&b.record, &a.record, now), "it pauses");
}

#[test]
fn a_gang_whose_model_is_not_valid_any_more_is_in_nobodys_way_and_a_run_goes_on() {
    let wait = |lifted: bool| {
        let mut first = Table::new(2, 2, 3);
        first.may_lift = lifted;
        first.drive();
        first
    };
    for first in [wait(false), wait(true)] {
        let (now, mut other) = (first.now + SignedDuration::from_secs(60), Table::new(1, 1, 3));
        other.record = first_record(&wants("other", 1, 1), now);
        other.may_lift = false;
        other.drive();
        assert!(!may_lift(&other.record, &first.record, now), "{:?}", first.record.phase);
        let aside = set_aside(first.record.clone());
        assert!(may_lift(&other.record, &aside, now));
        assert!(aside.slots.iter().all(|s| s.pod.is_empty() && s.uid.is_none()));
        assert_eq!(aside.waiting_since, first.record.waiting_since, "what it waited counts");
        // Mended, it comes again.
        let mut again = Table { record: aside, pods: Pods::default(), ..first };
        again.may_lift = true;
        again.drive();
        again.schedule();
        assert_eq!(again.drive(), Stand::Running);
        assert_eq!(set_aside(again.record.clone()), again.record, "it is pinned to what was valid");
    }
}

#[test]
fn gangs_that_need_other_devices_do_not_wait_for_each_other() {
    let mut a = Table::new(1, 0, 2);
    let mut gpu = class();
    gpu.resources.limits.insert("nvidia.com/gpu".into(), Amount("1".into()));
    let mut b = Table::new(1, 0, 2);
    b.wants.workload.uid = "n".into();
    b.wants.pin.classes.insert("standard".into(), gpu);
    b.record = first_record(&b.wants, b.now);
    for table in [&mut a, &mut b] {
        table.drive();
    }
    assert!(may_lift(&b.record, &a.record, a.now));
}
