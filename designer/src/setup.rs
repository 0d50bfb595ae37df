//! Setting lanes up: keys drawn, sealed into letters, sent.

use crate::DesignerError;
use crate::cover::CoverPlan;
use crate::deal::{Deal, letter_way, path, shuffle};
use crate::pool::{Place, Pool, Relay, Stock};
use crate::ring::{End, Lane, Ring};
use mixnn_model::{Element, Layer, Shape};
use mixnn_nn::OwnerSecret;
use mixnn_protocol::control::PART;
use mixnn_protocol::lane::{LaneKeys, LanePlan};
use mixnn_protocol::letter::{
    Draft, LaneEnd, Letter, LetterError, MAX_QUOTA, PodSetup, SealedLetter, route,
};
use mixnn_protocol::sizes::cells_for;
use mixnn_protocol::tensor::{Dtype, encoded_len};
use mixnn_protocol::{Cover, LaneRole, NodeId, Secret, SystemRng};
use mixnn_transport::{Endpoint, LaneId};
use std::collections::BTreeMap;

/// Relays forget a lane after an hour without a cell.
const IDLE_SECONDS: u32 = 3600;
/// Parts of a state that may be on their way at the same time.
pub(crate) const PARTS: usize = 4;
/// The least quota: control messages, and parts of a state.
const MIN_QUOTA: usize = (PARTS + 1) * cells_for(PART);

/// What it takes to set lanes up.
pub(crate) struct Setup<'a> {
    pub(crate) pool: &'a Pool,
    /// Those of the pool that ways are drawn from.
    pub(crate) relays: &'a [Relay],
    pub(crate) deal: &'a mut Deal,
    pub(crate) layers: &'a [Layer],
    pub(crate) owner: &'a OwnerSecret,
    pub(crate) hops: usize,
    pub(crate) micro_batches: usize,
    pub(crate) micro_batch_size: usize,
    pub(crate) cover: Option<&'a CoverPlan>,
}

type Post = (NodeId, Box<Letter>);

impl Setup<'_> {
    /// Draws fresh keys for these lanes, and sends all letters, in random order.
    ///
    /// Relays of a lane that are alive stay, the crossing one among them, unless the lane is
    /// `suspected`: then all are drawn anew. Every layer must have a pod. Gives how many letters left.
    pub(crate) fn set_up(
        &mut self,
        ring: &mut Ring,
        lanes: &[LaneId],
        suspected: &[LaneId],
        endpoint: &Endpoint,
    ) -> Result<usize, DesignerError> {
        let ways = self.draw_ways(ring, lanes, suspected)?;
        let ends = lanes.iter().filter_map(|id| ring.lane(*id)).flat_map(|l| [l.from, l.to]);
        let mut pods: Vec<usize> =
            ends.filter_map(|end| if let End::Layer(i) = end { Some(i) } else { None }).collect();
        pods.sort_unstable();
        pods.dedup();
        let relays = self.relays;
        let to_hops = ways.iter().flatten().map(|&to| letter_way(relays, self.hops, Some(to)));
        let to_pods = pods.iter().map(|_| letter_way(relays, self.hops, None));
        let letter_ways: Vec<Vec<NodeId>> = to_hops.chain(to_pods).collect();
        let letters = letter_ways.len();
        let clock = self.pool.clock();
        endpoint.set_clock(clock);
        let cover = self.cover.map(|cover| cover.starting(letters, clock));
        let mut stock = self.buy_tokens(&ways, &letter_ways)?;
        let mut letter_ways = letter_ways.into_iter();
        let mut outgoing = Vec::new();
        let mut ends: BTreeMap<usize, Vec<LaneEnd>> = BTreeMap::new();
        for (&id, way) in lanes.iter().zip(&ways) {
            let Some(lane) = ring.lane(id).copied() else { continue };
            let keys = self.draw(&lane, way, cover.as_ref(), &mut stock)?;
            ring.leases.keep(id, keys.lease);
            for (relay, letter) in keys.hops {
                let by = letter_ways.next().unwrap_or_default();
                outgoing.push(self.post(relay.id, letter, &by, &mut stock)?);
            }
            endpoint.remove(ring.name(id));
            let name = ring.rename(id);
            match lane.from {
                End::Designer => endpoint.install_send(name, keys.sending, keys.receiving.quota),
                End::Layer(i) => ends.entry(i).or_default().push(LaneEnd::Send(keys.sending)),
            }
            match lane.to {
                End::Designer => endpoint.install_receive(name, keys.receiving),
                End::Layer(i) => {
                    ends.entry(i).or_default().push(LaneEnd::Receive(keys.receiving));
                }
            }
        }
        shuffle(&mut outgoing);
        outgoing.into_iter().for_each(|(to, letter)| endpoint.letter(to, letter));
        for (layer, lanes) in ends {
            let by = letter_ways.next().unwrap_or_default();
            let (to, letter) = self.pod_letter(layer, lanes, &by, &mut stock)?;
            endpoint.letter(to, letter);
        }
        lanes.iter().zip(ways).for_each(|(&id, way)| ring.set_way(id, way));
        Ok(letters)
    }

    fn draw_ways(
        &self,
        ring: &mut Ring,
        lanes: &[LaneId],
        suspected: &[LaneId],
    ) -> Result<Vec<Vec<NodeId>>, DesignerError> {
        let mut ways = Vec::with_capacity(lanes.len());
        for &id in lanes {
            let Some(lane) = ring.lane(id) else { continue };
            let ends = [self.place(lane.from), self.place(lane.to)];
            let stays = |relay: &NodeId| self.pool.has(*relay) && !suspected.contains(&id);
            let keep: Vec<Option<NodeId>> =
                ring.way(id).iter().map(|relay| stays(relay).then_some(*relay)).collect();
            let drawn = path(self.relays, self.hops, ends, &keep);
            let (way, given_up) = drawn.ok_or(LetterError::Hops(self.relays.len()))?;
            ring.wishes_given_up += given_up;
            ways.push(way);
        }
        Ok(ways)
    }

    fn place(&self, end: End) -> Option<&Place> {
        match end {
            End::Designer => None,
            End::Layer(i) => self.deal.seat(i).map(|seat| &seat.pod.place),
        }
    }

    fn buy_tokens(
        &self,
        ways: &[Vec<NodeId>],
        letters: &[Vec<NodeId>],
    ) -> Result<Stock, DesignerError> {
        let needed: Vec<NodeId> = ways.iter().chain(letters).flatten().copied().collect();
        self.pool.stock(&needed)
    }

    fn draw(
        &self,
        lane: &Lane,
        way: &[NodeId],
        cover: Option<&CoverPlan>,
        stock: &mut Stock,
    ) -> Result<LaneKeys, DesignerError> {
        let receiver = match lane.to {
            End::Designer => self.pool.me,
            End::Layer(i) => self.deal.seat(i).map_or(self.pool.me, |seat| seat.pod.id),
        };
        let plan = LanePlan {
            role: lane.role,
            receiver,
            path: &self.pool.references(way),
            epoch: self.pool.epoch,
            quota: self.quota(lane) + cover.map_or(0, |_| Cover::SLACK),
            idle_seconds: IDLE_SECONDS,
            cover: cover.map(|cover| cover.of(lane.role)),
        };
        Ok(plan.draw(&mut SystemRng, &mut |relay| stock.get_mut(&relay)?.pop())?)
    }

    /// Cells in flight: micro-batches x cells of the largest message.
    fn quota(&self, lane: &Lane) -> u32 {
        let cells = match (lane.role, lane.from, lane.to) {
            (LaneRole::Forward, _, End::Layer(i)) | (LaneRole::Backward, End::Layer(i), _) => {
                self.tensor_cells(&self.layers[i].input)
            }
            (LaneRole::Forward, End::Layer(i), _) | (LaneRole::Backward, _, End::Layer(i)) => {
                self.tensor_cells(&self.layers[i].output)
            }
            _ => 0,
        };
        cells.max(MIN_QUOTA) as u32
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
        by: &[NodeId],
        stock: &mut Stock,
    ) -> Result<Post, DesignerError> {
        let relays = self.pool.references(by);
        let first = relays.first().map_or(to, |relay| relay.id);
        let mut admit = |relay: NodeId| stock.get_mut(&relay)?.pop();
        Ok((first, route(letter, to, &relays, &mut SystemRng, &mut admit)?))
    }

    fn pod_letter(
        &mut self,
        layer: usize,
        lanes: Vec<LaneEnd>,
        by: &[NodeId],
        stock: &mut Stock,
    ) -> Result<Post, DesignerError> {
        let name = &self.layers[layer].spec.name;
        let term = self.pool.head.term;
        let unseated = || DesignerError::Stopped(format!("layer \"{name}\" has no pod"));
        let seat = self.deal.seat_mut(layer).ok_or_else(unseated)?;
        let sequence = seat.sequence;
        seat.sequence += 1;
        let layer_key = Secret::from_bytes(*self.owner.layer_key(name).expose());
        let setup = PodSetup { term, sequence, layer_key, lanes };
        let pod = &seat.pod;
        let content = setup.sign(&pod.claim, pod.id, &pod.key);
        let letter = Draft::to(&pod.key, &mut SystemRng)?.deliver(None, &content)?;
        let to = pod.id;
        self.post(to, letter, by, stock)
    }
}

/// Refuses tensors that do not fit into a lane, before anything is set up.
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
                    "a batch of shape {shape} takes {cells} cells, a lane {MAX_QUOTA}: make training.batchSize smaller, or the batches that are served"
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
