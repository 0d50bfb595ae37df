//! The ring of lanes: drawn, sealed into letters, sent.
//!
//! With `L` layers there are `L + 1` forward lanes (designer, layers, designer), `L` backward lanes
//! (none out of the first layer: nobody needs the gradient by the data), and a command and a report
//! lane for each layer.

use crate::DesignerError;
use crate::cover::{Class, CoverPlan};
use crate::deal::{Deal, Path, letter_way, path, shuffle};
use crate::leases::Leases;
use crate::pool::{Place, Pool};
use mixnn_model::{Element, Layer, Operation, Shape};
use mixnn_nn::OwnerSecret;
use mixnn_protocol::lane::{LaneKeys, LanePlan, crossing};
use mixnn_protocol::letter::MAX_QUOTA;
use mixnn_protocol::letter::{Draft, LaneEnd, Letter, PodSetup, SealedLetter, route};
use mixnn_protocol::sizes::cells_for;
use mixnn_protocol::tensor::{Dtype, encoded_len};
use mixnn_protocol::{Cover, LaneRole, NodeId, RelayRef, Secret, SystemRng, Token};
use mixnn_transport::{Endpoint, LaneId};
use std::collections::HashMap;

/// Relays forget a lane after an hour without a cell.
const IDLE_SECONDS: u32 = 3600;
/// The least quota: control messages.
const MIN_QUOTA: u32 = 64;
/// The most for one layer's weights and moments: 64 MiB, twice that at every relay of the lane.
const MAX_STATE_CELLS: usize = 4096;

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

/// The designer's names of the lanes that it is an end of.
pub(crate) struct Ring {
    pub(crate) lanes: Vec<Lane>,
    ids: HashMap<Lane, LaneId>,
    /// Wishes for separate trust domains that the pool could not meet.
    pub(crate) wishes_given_up: usize,
    /// For each lane: how many of its class cross at the same relay, itself included.
    pub(crate) crossing: Vec<u32>,
    /// Of covered lanes.
    pub(crate) leases: Leases,
}

/// What it takes to set up a ring.
pub(crate) struct Setup<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) deal: &'a Deal,
    pub(crate) layers: &'a [Layer],
    pub(crate) owner: &'a OwnerSecret,
    pub(crate) hops: usize,
    pub(crate) micro_batches: usize,
    pub(crate) micro_batch_size: usize,
    pub(crate) term: u32,
    pub(crate) cover: Option<&'a CoverPlan>,
}

impl Ring {
    pub(crate) fn id(&self, role: LaneRole, from: End, to: End) -> LaneId {
        self.ids[&Lane { role, from, to }]
    }

    pub(crate) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(id as usize)
    }

    /// Draws all lanes and sends all letters, in random order.
    pub(crate) fn set_up(setup: &Setup<'_>, endpoint: &Endpoint) -> Result<Self, DesignerError> {
        let lanes = lanes(setup.layers.len());
        let mut wishes_given_up = 0;
        let ways: Vec<Path> = lanes
            .iter()
            .map(|lane| {
                let (way, given_up) = path(
                    &setup.pool.relays,
                    setup.hops,
                    [setup.place(lane.from), setup.place(lane.to)],
                );
                wishes_given_up += given_up;
                way
            })
            .collect();
        let letters: Vec<Path> = setup.letter_ways(&ways);
        let mut tokens = setup.buy_tokens(&ways, &letters)?;
        let cover = setup.cover.map(|cover| cover.starting(letters.len()));
        let mut admit = |relay: NodeId| tokens.get_mut(&relay).and_then(Vec::pop);
        let mut ends: Vec<Vec<LaneEnd>> = vec![Vec::new(); setup.layers.len()];
        let mut outgoing: Vec<(NodeId, Box<Letter>)> = Vec::new();
        let mut letter_ways = letters.into_iter();
        let mut leases = Leases::default();
        for (id, (lane, way)) in lanes.iter().zip(&ways).enumerate() {
            let keys = setup.draw(lane, way, cover.as_ref(), &mut admit)?;
            leases.keep(id as LaneId, keys.lease);
            for (relay, letter) in keys.hops {
                let by = letter_ways.next().unwrap_or_default();
                outgoing.push(setup.post(relay.id, letter, &by, &mut admit)?);
            }
            match lane.from {
                End::Designer => {
                    endpoint.install_send(id as LaneId, keys.sending, keys.receiving.quota);
                }
                End::Layer(i) => ends[i].push(LaneEnd::Send(keys.sending)),
            }
            match lane.to {
                End::Designer => endpoint.install_receive(id as LaneId, keys.receiving),
                End::Layer(i) => ends[i].push(LaneEnd::Receive(keys.receiving)),
            }
        }
        shuffle(&mut outgoing);
        outgoing.into_iter().for_each(|(to, letter)| endpoint.letter(to, letter));
        for (i, lanes) in ends.into_iter().enumerate() {
            let by = letter_ways.next().unwrap_or_default();
            let (to, letter) = setup.pod_letter(i, lanes, &by, &mut admit)?;
            endpoint.letter(to, letter);
        }
        let ids = lanes.iter().enumerate().map(|(id, lane)| (*lane, id as LaneId)).collect();
        let crossing = crossing_lanes(&lanes, &ways);
        Ok(Self { lanes, ids, wishes_given_up, crossing, leases })
    }
}

/// For each lane, how many of its class cross where it does.
fn crossing_lanes(lanes: &[Lane], ways: &[Path]) -> Vec<u32> {
    let place = |i: usize| {
        let crossing = ways[i].get(crossing(ways[i].len()).wrapping_sub(1)).copied();
        (Class::of(lanes[i].role), crossing)
    };
    let with = |i: usize| (0..lanes.len()).filter(|&j| place(j) == place(i)).count() as u32;
    (0..lanes.len()).map(with).collect()
}

impl Setup<'_> {
    fn place(&self, end: End) -> Option<&Place> {
        match end {
            End::Designer => None,
            End::Layer(i) => Some(&self.deal.pods[i].place),
        }
    }

    /// A way for each hop's letter, then for each pod's.
    fn letter_ways(&self, ways: &[Path]) -> Vec<Path> {
        let relays = &self.pool.relays;
        let to_hops = ways.iter().flatten().map(|&to| letter_way(relays, self.hops, Some(to)));
        let to_pods = self.layers.iter().map(|_| letter_way(relays, self.hops, None));
        to_hops.chain(to_pods).collect()
    }

    fn buy_tokens(
        &self,
        ways: &[Path],
        letters: &[Path],
    ) -> Result<HashMap<NodeId, Vec<Token>>, DesignerError> {
        let id = |i: &usize| self.pool.relays[*i].reference.id;
        let needed: Vec<NodeId> = ways.iter().chain(letters).flatten().map(id).collect();
        let tokens = self.pool.tokens(&needed)?;
        let mut stock: HashMap<NodeId, Vec<Token>> = HashMap::new();
        needed
            .into_iter()
            .zip(tokens)
            .for_each(|(id, token)| stock.entry(id).or_default().push(token));
        Ok(stock)
    }

    fn references(&self, way: &[usize]) -> Vec<RelayRef> {
        way.iter().map(|&i| self.pool.relays[i].reference.clone()).collect()
    }

    fn draw(
        &self,
        lane: &Lane,
        way: &[usize],
        cover: Option<&CoverPlan>,
        admit: &mut impl FnMut(NodeId) -> Option<Token>,
    ) -> Result<LaneKeys, DesignerError> {
        let receiver = match lane.to {
            End::Designer => self.pool.me,
            End::Layer(i) => self.deal.pods[i].id,
        };
        let plan = LanePlan {
            role: lane.role,
            receiver,
            path: &self.references(way),
            epoch: self.pool.epoch,
            quota: self.quota(lane) + cover.map_or(0, |_| Cover::SLACK),
            idle_seconds: IDLE_SECONDS,
            cover: cover.map(|cover| cover.of(lane.role)),
        };
        Ok(plan.draw(&mut SystemRng, admit)?)
    }

    /// Cells in flight: micro-batches x cells of the largest message, or a layer's whole state.
    fn quota(&self, lane: &Lane) -> u32 {
        let cells = match (lane.role, lane.from, lane.to) {
            (LaneRole::Forward, _, End::Layer(i)) | (LaneRole::Backward, End::Layer(i), _) => {
                self.tensor_cells(&self.layers[i].input)
            }
            (LaneRole::Forward, End::Layer(i), _) | (LaneRole::Backward, _, End::Layer(i)) => {
                self.tensor_cells(&self.layers[i].output)
            }
            (LaneRole::Report, End::Layer(i), _) => {
                state_cells(&self.layers[i]).min(MAX_STATE_CELLS)
            }
            _ => 0,
        };
        (cells as u32).max(MIN_QUOTA)
    }

    fn tensor_cells(&self, sample: &Shape) -> usize {
        let shape: Vec<u32> = std::iter::once(self.micro_batch_size as u32)
            .chain(sample.sizes().iter().map(|&s| s as u32))
            .collect();
        self.micro_batches * encoded_len(dtype(sample), &shape).map_or(1, cells_for)
    }

    fn post(
        &self,
        to: NodeId,
        letter: SealedLetter,
        by: &[usize],
        admit: &mut impl FnMut(NodeId) -> Option<Token>,
    ) -> Result<(NodeId, Box<Letter>), DesignerError> {
        let relays = self.references(by);
        let first = relays.first().map_or(to, |relay| relay.id);
        Ok((first, route(letter, to, &relays, &mut SystemRng, admit)?))
    }

    fn pod_letter(
        &self,
        layer: usize,
        lanes: Vec<LaneEnd>,
        by: &[usize],
        admit: &mut impl FnMut(NodeId) -> Option<Token>,
    ) -> Result<(NodeId, Box<Letter>), DesignerError> {
        let pod = &self.deal.pods[layer];
        let key = self.owner.layer_key(&self.layers[layer].spec.name);
        let layer_key = Secret::from_bytes(*key.expose());
        let setup = PodSetup { term: self.term, sequence: 0, layer_key, lanes };
        let content = setup.sign(&pod.claim, pod.id, &pod.key);
        let letter = Draft::to(&pod.key, &mut SystemRng)?.deliver(None, &content)?;
        self.post(pod.id, letter, by, admit)
    }
}

/// Refuses tensors and layers that do not fit into a lane, before anything is set up.
pub(crate) fn check_sizes(
    layers: &[Layer],
    micro_batches: usize,
    micro_batch_size: usize,
) -> Result<(), DesignerError> {
    let tensors = layers.iter().flat_map(|l| [(l, &l.input), (l, &l.output)]);
    for (layer, shape) in tensors {
        let cells =
            micro_batches * cells_for(dtype(shape).size() * micro_batch_size * shape.elements());
        if cells > MAX_QUOTA as usize {
            return Err(DesignerError::TooLarge {
                layer: layer.spec.name.clone(),
                what: format!(
                    "a batch of shape {shape} takes {cells} cells, a lane {MAX_QUOTA}: make training.batchSize smaller"
                ),
            });
        }
    }
    for layer in layers {
        let cells = state_cells(layer);
        if cells > MAX_STATE_CELLS {
            return Err(DesignerError::TooLarge {
                layer: layer.spec.name.clone(),
                what: format!(
                    "weights and optimizer state take {cells} cells of 16 KiB, a report lane {MAX_STATE_CELLS}: cut the layer in two"
                ),
            });
        }
    }
    Ok(())
}

/// The largest element type that a tensor of this shape travels as.
const fn dtype(shape: &Shape) -> Dtype {
    match shape.element() {
        Element::Real => Dtype::F32,
        Element::Token(_) => Dtype::I64,
    }
}

/// Parameters and two moments, with their names.
fn state_cells(layer: &Layer) -> usize {
    let parameters: i64 =
        layer.spec.ops.iter().flat_map(Operation::parameters).map(|p| p.elements()).sum();
    cells_for(parameters as usize * 3 * 4) + 8
}

#[cfg(test)]
mod tests {
    use super::*;

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
