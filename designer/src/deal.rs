//! Who runs which layer, and over which relays each lane goes: drawn from the system's randomness,
//! never from the model's secret.

use crate::pool::{LayerPod, Place, Relay};
use mixnn_protocol::lane::crossing;
use mixnn_protocol::{NodeId, SystemRng, below};
use std::collections::{BTreeSet, HashMap};

/// A pod in its place.
pub(crate) struct Seat {
    pub(crate) pod: LayerPod,
    /// Rises with every set-up that the pod is sent in this term.
    pub(crate) sequence: u32,
}

/// Which pod runs which layer, and which host has ever held which.
pub(crate) struct Deal {
    seats: Vec<Option<Seat>>,
    /// The layers that a host domain has seen, up to `per_host`. It never sees more of this model.
    seen: HashMap<String, BTreeSet<usize>>,
    per_host: usize,
    /// Pods that ran a layer under the designer before this one.
    expected: HashMap<NodeId, usize>,
}

impl Deal {
    /// Nobody runs anything yet. A host domain sees `per_host` layers at most, ever.
    pub(crate) fn new(layers: usize, per_host: usize) -> Self {
        Self {
            seats: (0..layers).map(|_| None).collect(),
            seen: HashMap::new(),
            per_host,
            expected: HashMap::new(),
        }
    }

    /// The pod of a layer that has one.
    pub(crate) fn seat(&self, layer: usize) -> Option<&Seat> {
        self.seats.get(layer).and_then(Option::as_ref)
    }

    pub(crate) fn seat_mut(&mut self, layer: usize) -> Option<&mut Seat> {
        self.seats.get_mut(layer).and_then(Option::as_mut)
    }

    /// Layers without a pod.
    pub(crate) fn vacant(&self) -> Vec<usize> {
        (0..self.seats.len()).filter(|&i| self.seats[i].is_none()).collect()
    }

    /// The layer's pod is gone.
    pub(crate) fn vacate(&mut self, layer: usize) {
        self.seats[layer] = None;
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = (usize, &LayerPod)> {
        self.seats.iter().enumerate().filter_map(|(i, seat)| Some((i, &seat.as_ref()?.pod)))
    }

    /// Seats a pod.
    pub(crate) fn seat_pod(&mut self, layer: usize, pod: LayerPod, sequence: u32) {
        self.remember(pod.place.host_domain.clone(), layer);
        self.seats[layer] = Some(Seat { pod, sequence });
    }

    /// A pod ran this layer under the designer before this one.
    pub(crate) fn expect(&mut self, pod: NodeId, layer: usize) {
        self.expected.insert(pod, layer);
    }

    /// A host domain has held this layer before.
    pub(crate) fn remember(&mut self, host_domain: String, layer: usize) {
        self.seen.entry(host_domain).or_default().insert(layer);
    }

    /// What hosts have seen.
    pub(crate) const fn seen(&self) -> &HashMap<String, BTreeSet<usize>> {
        &self.seen
    }

    fn seat_expected(&mut self, fresh: &mut Vec<LayerPod>) {
        for layer in self.vacant() {
            let is_its = |p: &LayerPod| self.expected.get(&p.id) == Some(&layer);
            if let Some(at) = fresh.iter().position(is_its) {
                let pod = fresh.swap_remove(at);
                self.seat_pod(layer, pod, 0);
            }
        }
    }

    /// Deals fresh pods to vacant layers, at random: first those whose host has held the layer
    /// already, then those whose host may see one more. Takes the dealt ones out of `fresh`.
    pub(crate) fn fill(&mut self, fresh: &mut Vec<LayerPod>) {
        self.seat_expected(fresh);
        shuffle(fresh);
        let mut vacant = self.vacant();
        shuffle(&mut vacant);
        for again in [true, false] {
            vacant.retain(|&layer| {
                let fits = |p: &LayerPod| {
                    let seen = self.seen.get(&p.place.host_domain);
                    if again {
                        seen.is_some_and(|s| s.contains(&layer))
                    } else {
                        seen.map_or(0, BTreeSet::len) < self.per_host
                    }
                };
                let Some(at) = fresh.iter().position(fits) else { return true };
                let pod = fresh.swap_remove(at);
                self.seat_pod(layer, pod, 0);
                false
            });
        }
    }
}

/// A way of `hops` different relays between two ends.
///
/// `keep`: relays of an earlier way that stay in their place; the rest is drawn. The crossing relay
/// lies in neither end's host domain, and no two relays share one, where the pool has such: each wish
/// is given up only if nothing meets it. Gives the way, and how many wishes were given up.
pub(crate) fn path(
    relays: &[Relay],
    hops: usize,
    ends: [Option<&Place>; 2],
    keep: &[Option<NodeId>],
) -> Option<(Vec<NodeId>, usize)> {
    let mut order: Vec<&Relay> = relays.iter().collect();
    shuffle(&mut order);
    let by_id = |id: &NodeId| relays.iter().find(|r| r.reference.id == *id);
    let mut chosen: Vec<Option<&Relay>> =
        (0..hops).map(|slot| keep.get(slot)?.as_ref().and_then(by_id)).collect();
    let mut given_up = 0;
    // The crossing relay first: its place matters most.
    let crossing_at = crossing(hops) - 1;
    let rest = (0..hops).filter(|&slot| slot != crossing_at);
    for slot in std::iter::once(crossing_at).chain(rest) {
        if chosen[slot].is_some() {
            continue;
        }
        let others: Vec<&Relay> = chosen.iter().flatten().copied().collect();
        let free = |r: &&&Relay| others.iter().all(|o| o.reference.id != r.reference.id);
        let apart = |r: &&&Relay| {
            let domain = &r.place.host_domain;
            let from_ends = ends.iter().flatten().all(|end| end.host_domain != *domain);
            from_ends && others.iter().all(|o| o.place.host_domain != *domain)
        };
        let wished = order.iter().filter(free).find(apart);
        given_up += usize::from(wished.is_none());
        chosen[slot] = Some(wished.or_else(|| order.iter().find(free))?);
    }
    Some((chosen.into_iter().flatten().map(|r| r.reference.id).collect(), given_up))
}

/// Up to `hops` relays for a letter, without the one that it is for.
pub(crate) fn letter_way(relays: &[Relay], hops: usize, without: Option<NodeId>) -> Vec<NodeId> {
    let mut order: Vec<NodeId> = relays.iter().map(|r| r.reference.id).collect();
    order.retain(|id| Some(*id) != without);
    shuffle(&mut order);
    order.truncate(hops);
    order
}

/// Fisher-Yates from the system's randomness.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(&mut SystemRng, i + 1));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mixnn_protocol::{ClaimKey, KeyPair, RelayRef, Suite};

    fn place(host: &str) -> Place {
        Place { host_domain: host.into(), node_domain: "n".into() }
    }

    fn relays(hosts: &[&str]) -> Vec<Relay> {
        let keys = KeyPair::generate(Suite::X25519, &mut SystemRng);
        let one = |host: &&str| Relay {
            reference: RelayRef { id: NodeId::random(&mut SystemRng), key: keys.public().clone() },
            place: place(host),
        };
        hosts.iter().map(one).collect()
    }

    fn pod(host: &str) -> LayerPod {
        let keys = KeyPair::generate(Suite::X25519, &mut SystemRng);
        LayerPod {
            id: NodeId::random(&mut SystemRng),
            key: keys.public().clone(),
            claim: ClaimKey::generate(&mut SystemRng),
            place: place(host),
        }
    }

    #[test]
    fn a_rebuilt_way_keeps_the_living_and_replaces_the_dead() {
        let pool = relays(&["a", "b", "c", "d", "e"]);
        for _ in 0..50 {
            let (way, _) = path(&pool, 3, [None, None], &[]).unwrap();
            let keep = [None, Some(way[1]), Some(way[2])];
            let without: Vec<Relay> =
                pool.iter().filter(|r| r.reference.id != way[0]).cloned().collect();
            let (again, given_up) = path(&without, 3, [None, None], &keep).unwrap();
            assert_eq!((again[1], again[2], given_up), (way[1], way[2], 0));
            assert!(!way.contains(&again[0]));
        }
    }

    #[test]
    fn the_crossing_relay_is_apart_from_both_ends_where_it_can_be() {
        let pool = relays(&["a", "b", "c"]);
        let (a, b) = (place("a"), place("b"));
        for _ in 0..50 {
            let (way, given_up) = path(&pool, 3, [Some(&a), Some(&b)], &[]).unwrap();
            assert_eq!(way[1], pool[2].reference.id);
            assert_eq!(given_up, 2);
        }
        assert!(path(&pool, 4, [None, None], &[]).is_none(), "no relay twice");
    }

    #[test]
    fn a_host_that_held_a_layer_never_gets_another() {
        let mut deal = Deal::new(2, 1);
        let mut fresh = vec![pod("a"), pod("b")];
        deal.fill(&mut fresh);
        assert!(deal.vacant().is_empty());
        let host = deal.seat(0).unwrap().pod.place.host_domain.clone();
        deal.vacate(1);
        let mut fresh = vec![pod(&host)];
        deal.fill(&mut fresh);
        assert_eq!((deal.vacant(), fresh.len()), (vec![1], 1));
        deal.vacate(0);
        deal.fill(&mut fresh);
        assert_eq!(deal.vacant(), [1], "but it may have its own again");
    }

    #[test]
    fn a_host_sees_as_many_layers_as_the_owner_allows() {
        let mut deal = Deal::new(3, 2);
        let mut fresh = vec![pod("a"), pod("a"), pod("a")];
        deal.fill(&mut fresh);
        assert_eq!((deal.vacant().len(), fresh.len()), (1, 1));
        deal.fill(&mut vec![pod("b")]);
        assert!(deal.vacant().is_empty());
    }
}
