//! Who runs which layer, and over which relays each lane goes: drawn from the system's randomness,
//! never from the model's secret.

use crate::pool::{LayerPod, Place, Relay};
use mixnn_protocol::lane::crossing;
use mixnn_protocol::{SystemRng, below};

/// A way over relays: indices into the pool.
pub type Path = Vec<usize>;

/// Layer pods in the order of the model's layers.
pub struct Deal {
    /// The pod of each layer.
    pub pods: Vec<LayerPod>,
}

/// Deals pods to layers at random.
pub fn deal(mut pods: Vec<LayerPod>) -> Deal {
    shuffle(&mut pods);
    Deal { pods }
}

/// A way of `hops` different relays between two ends.
///
/// The crossing relay lies in neither end's host domain, and no two relays share one, where the pool
/// has such: each wish is given up only if nothing meets it. Gives the way, and how many wishes were
/// given up.
pub fn path(relays: &[Relay], hops: usize, ends: [Option<&Place>; 2]) -> (Path, usize) {
    let mut order: Vec<usize> = (0..relays.len()).collect();
    shuffle(&mut order);
    let mut way: Path = Vec::with_capacity(hops);
    let mut given_up = 0;
    // The crossing relay first: its place matters most.
    let crossing_at = crossing(hops) - 1;
    let mut slots: Vec<usize> = (0..hops).filter(|&slot| slot != crossing_at).collect();
    slots.insert(0, crossing_at);
    let mut chosen = vec![usize::MAX; hops];
    for slot in slots {
        let free = |i: &&usize| !way.contains(i);
        let apart = |i: &&usize| {
            let domain = &relays[**i].place.host_domain;
            let from_ends = ends.iter().flatten().all(|end| end.host_domain != *domain);
            let from_others = way.iter().all(|j| relays[*j].place.host_domain != *domain);
            from_ends && from_others
        };
        let wished = order.iter().filter(free).find(apart);
        given_up += usize::from(wished.is_none());
        let Some(&pick) = wished.or_else(|| order.iter().find(free)) else { break };
        way.push(pick);
        chosen[slot] = pick;
    }
    (chosen, given_up)
}

/// Up to `hops` relays for a letter, without the one that it is for.
pub fn letter_way(relays: &[Relay], hops: usize, without: Option<usize>) -> Path {
    let mut order: Vec<usize> = (0..relays.len()).filter(|i| Some(*i) != without).collect();
    shuffle(&mut order);
    order.truncate(hops);
    order
}

/// Fisher-Yates from the system's randomness.
pub fn shuffle<T>(items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(&mut SystemRng, i + 1));
    }
}
