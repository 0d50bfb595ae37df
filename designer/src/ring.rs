//! The ring of lanes: which there are, and over which relays each goes.
//!
//! With `L` layers there are `L + 1` forward lanes (designer, layers, designer), `L` backward lanes
//! (none out of the first layer: nobody needs the gradient by the data), and a command and a report
//! lane for each layer.

use crate::cover::Class;
use crate::leases::Leases;
use mixnn_model::Layer;
use mixnn_protocol::lane::crossing;
use mixnn_protocol::{LaneRole, NodeId};
use mixnn_transport::LaneId;
use std::collections::HashMap;

/// One end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Designer,
    Layer(usize),
}

/// One lane of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    pub(crate) role: LaneRole,
    pub(crate) from: End,
    pub(crate) to: End,
}

impl Lane {
    /// In the owner's terms.
    pub(crate) fn describe(&self, layers: &[Layer]) -> String {
        let end = |end| match end {
            End::Designer => "the designer".to_owned(),
            End::Layer(i) => format!("layer \"{}\"", layers[i].spec.name),
        };
        format!("{:?} from {} to {}", self.role, end(self.from), end(self.to))
    }
}

/// All lanes of a model with `layers` layers.
pub(crate) fn lanes(layers: usize) -> Vec<Lane> {
    use End::{Designer, Layer};
    let mut out = Vec::with_capacity(4 * layers + 1);
    let ring = |i: usize| if i == 0 || i > layers { Designer } else { Layer(i - 1) };
    for i in 0..=layers {
        out.push(Lane { role: LaneRole::Forward, from: ring(i), to: ring(i + 1) });
        if i > 0 {
            out.push(Lane { role: LaneRole::Backward, from: ring(i + 1), to: ring(i) });
        }
    }
    for i in 0..layers {
        out.push(Lane { role: LaneRole::Command, from: Designer, to: Layer(i) });
        out.push(Lane { role: LaneRole::Report, from: Layer(i), to: Designer });
    }
    out
}

/// The lanes and their ways.
pub(crate) struct Ring {
    pub(crate) lanes: Vec<Lane>,
    ids: HashMap<Lane, LaneId>,
    /// The relays of each lane; none while it has not been set up.
    ways: Vec<Vec<NodeId>>,
    /// How often each lane has been set up.
    setups: Vec<u32>,
    /// Wishes for separate trust domains that the pool could not meet.
    pub(crate) wishes_given_up: usize,
    /// Of covered lanes.
    pub(crate) leases: Leases,
    /// Lanes that were set up again. Each is another chance to meet a bad relay.
    pub(crate) redrawn: u64,
}

impl Ring {
    /// The ring of a model with `layers` layers; no lane is set up.
    pub(crate) fn new(layers: usize) -> Self {
        let lanes = lanes(layers);
        let ids = lanes.iter().enumerate().map(|(id, lane)| (*lane, id as LaneId)).collect();
        let (ways, setups) = (vec![Vec::new(); lanes.len()], vec![0; lanes.len()]);
        Self { lanes, ids, ways, setups, wishes_given_up: 0, leases: Leases::default(), redrawn: 0 }
    }

    pub(crate) fn id(&self, role: LaneRole, from: End, to: End) -> LaneId {
        self.ids[&Lane { role, from, to }]
    }

    pub(crate) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(id as usize)
    }

    /// The endpoint's name for a lane: another one for each set-up. What a pod said that has since lost
    /// its layer may still wait to be read, and must not be taken for a word of the pod after it.
    pub(crate) fn name(&self, id: LaneId) -> LaneId {
        id + self.setups[id as usize] * self.lanes.len() as u32
    }

    /// The lane that the endpoint names so, unless it has been set up anew since.
    pub(crate) fn named(&self, name: LaneId) -> Option<&Lane> {
        let id = name % self.lanes.len() as u32;
        self.lane(id).filter(|_| self.name(id) == name)
    }

    /// A lane is about to be set up: gives it another name.
    pub(crate) fn rename(&mut self, id: LaneId) -> LaneId {
        self.setups[id as usize] += 1;
        self.name(id)
    }

    /// The lanes on which a layer is commanded and answers.
    pub(crate) fn control_lanes(&self, layer: usize) -> [LaneId; 2] {
        let layer = End::Layer(layer);
        [
            self.id(LaneRole::Command, End::Designer, layer),
            self.id(LaneRole::Report, layer, End::Designer),
        ]
    }

    pub(crate) fn way(&self, id: LaneId) -> &[NodeId] {
        &self.ways[id as usize]
    }

    /// Takes down over which relays a lane goes now.
    pub(crate) fn set_way(&mut self, id: LaneId, way: Vec<NodeId>) {
        let old = std::mem::replace(&mut self.ways[id as usize], way);
        self.redrawn += u64::from(!old.is_empty());
    }

    /// For each lane: how many of its class cross at the same relay, itself included.
    pub(crate) fn crossing_lanes(&self) -> Vec<u32> {
        let place = |i: usize| {
            let way = &self.ways[i];
            (Class::of(self.lanes[i].role), way.get(crossing(way.len()).wrapping_sub(1)))
        };
        let all = 0..self.lanes.len();
        let with = |i: usize| all.clone().filter(|&j| place(j) == place(i)).count() as u32;
        all.clone().map(with).collect()
    }

    /// All relays that lanes go over.
    pub(crate) fn relays(&self) -> impl Iterator<Item = NodeId> {
        self.ways.iter().flatten().copied()
    }

    /// Lanes that must be set up: those with an end in `layers`, and those over a relay that is not
    /// `alive`, or over none yet.
    pub(crate) fn broken(&self, layers: &[usize], alive: impl Fn(NodeId) -> bool) -> Vec<LaneId> {
        let is_broken = |id: &LaneId| {
            let lane = &self.lanes[*id as usize];
            let way = self.way(*id);
            let lost = |end| matches!(end, End::Layer(i) if layers.contains(&i));
            lost(lane.from) || lost(lane.to) || way.is_empty() || !way.iter().all(|r| alive(*r))
        };
        (0..self.lanes.len() as LaneId).filter(is_broken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_over_a_lane_before_it_was_set_up_anew_is_of_no_lane() {
        let mut ring = Ring::new(3);
        let report = ring.id(LaneRole::Report, End::Layer(1), End::Designer);
        let (first, second) = (ring.rename(report), ring.rename(report));
        assert_eq!(ring.named(first), None);
        assert_eq!(ring.named(second), ring.lane(report));
        let names: std::collections::HashSet<LaneId> =
            (0..ring.lanes.len() as LaneId).map(|id| ring.name(id)).collect();
        assert_eq!(names.len(), ring.lanes.len());
    }

    #[test]
    fn the_ring_has_4l_plus_1_lanes_and_no_gradient_leaves_the_first_layer() {
        for layers in 1..6 {
            let lanes = lanes(layers);
            assert_eq!(lanes.len(), 4 * layers + 1);
            let gradient_of_first =
                |l: &&Lane| l.role == LaneRole::Backward && l.from == End::Layer(0);
            assert_eq!(lanes.iter().filter(gradient_of_first).count(), 0);
            for i in 0..layers {
                let ends =
                    lanes.iter().filter(|l| l.from == End::Layer(i) || l.to == End::Layer(i));
                assert_eq!(ends.count(), if i == 0 { 5 } else { 6 });
            }
        }
    }
}
