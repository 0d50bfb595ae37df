//! Relays that nothing seems to come through: for a while no way is drawn over them.
//!
//! A frozen relay stays in the directory until the platform notices. That it takes no letter from this
//! designer shows it; else lanes that work tell which relays are good, and those that are only on silent
//! lanes are passed over. Who can freeze relays of others thus drives traffic to its own for [`SHUNNED`],
//! but not for longer.

use crate::deal::shuffle;
use crate::pool::Relay;
use crate::ring::Ring;
use mixnn_protocol::NodeId;
use mixnn_transport::LaneId;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// For so long.
const SHUNNED: Duration = Duration::from_secs(60);

/// Relays that are passed over.
#[derive(Default)]
pub(crate) struct Shunned(HashMap<NodeId, Suspicion>);

/// What speaks against a relay. The least is what is forgiven first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Suspicion {
    /// This designer could not reach it, rather than that lanes over it and others are silent.
    unreachable: bool,
    until: Instant,
}

impl Shunned {
    /// Relays that could not be reached, and those on these silent lanes, are to be passed over, but for
    /// those on lanes that work.
    pub(crate) fn suspect(
        &mut self,
        ring: &Ring,
        silent: &[LaneId],
        proven: &[LaneId],
        unreachable: &HashMap<NodeId, Instant>,
    ) {
        let relays = |lanes: &[LaneId]| -> HashSet<NodeId> {
            lanes.iter().flat_map(|lane| ring.way(*lane)).copied().collect()
        };
        let good = relays(proven);
        let now = Instant::now();
        let until = now + SHUNNED;
        self.0.retain(|relay, suspicion| !good.contains(relay) && suspicion.until > now);
        for relay in relays(silent).difference(&good) {
            let unreachable = self.is_unreachable(*relay);
            self.0.insert(*relay, Suspicion { unreachable, until });
        }
        // What was long ago says nothing of a relay that has worked since.
        let lately = |at: Instant| now.duration_since(at) < SHUNNED;
        for (relay, _) in unreachable.iter().filter(|(id, at)| lately(**at) && !good.contains(*id))
        {
            self.0.insert(*relay, Suspicion { unreachable: true, until });
        }
    }

    /// Whether this relay is passed over because it could not be reached.
    pub(crate) fn is_unreachable(&self, relay: NodeId) -> bool {
        self.0.get(&relay).is_some_and(|suspicion| suspicion.unreachable)
    }

    /// The relays that are left. If fewer than `hops` would be, those are forgiven that could be
    /// reached, and of them those suspected longest ago.
    pub(crate) fn rest_of(&mut self, relays: &[Relay], hops: usize) -> Vec<Relay> {
        let now = Instant::now();
        self.0.retain(|_, suspicion| suspicion.until > now);
        let (mut shunned, mut rest): (Vec<&Relay>, Vec<&Relay>) =
            relays.iter().partition(|r| self.0.contains_key(&r.reference.id));
        shuffle(&mut shunned);
        shunned.sort_by_key(|relay| self.0.get(&relay.reference.id).copied());
        for relay in shunned {
            if rest.len() < hops {
                self.0.remove(&relay.reference.id);
                rest.push(relay);
            }
        }
        rest.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::pool::Place;
    use mixnn_protocol::{KeyPair, RelayRef, Suite, SystemRng};

    fn relay() -> Relay {
        let key = KeyPair::generate(Suite::X25519, &mut SystemRng).public().clone();
        let place = Place { host_domain: "h".into(), node_domain: "n".into() };
        Relay { reference: RelayRef { id: NodeId::random(&mut SystemRng), key }, place }
    }

    fn ids(relays: &[Relay]) -> Vec<NodeId> {
        relays.iter().map(|relay| relay.reference.id).collect()
    }

    /// The lanes of one layer: the first two work, or not, over the first two relays and the last two.
    fn ring(relays: &[NodeId]) -> (Ring, [LaneId; 2]) {
        let mut ring = Ring::new(1);
        ring.set_way(0, relays[..2].to_vec());
        ring.set_way(1, relays[1..].to_vec());
        (ring, [0, 1])
    }

    #[test]
    fn what_works_clears_relays_and_the_rest_of_a_silent_lane_is_passed_over() {
        let pool = [relay(), relay(), relay()];
        let (ring, [first, second]) = ring(&ids(&pool));
        let mut shunned = Shunned::default();
        shunned.suspect(&ring, &[first, second], &[], &HashMap::new());
        shunned.suspect(&ring, &[first], &[second], &HashMap::new());
        assert_eq!(ids(&shunned.rest_of(&pool, 2)), ids(&pool[1..]));
    }

    #[test]
    fn one_that_cannot_be_reached_is_forgiven_last() {
        let pool = [relay(), relay(), relay()];
        let (ring, [first, second]) = ring(&ids(&pool));
        let cut = HashMap::from([(pool[1].reference.id, Instant::now())]);
        for _ in 0..20 {
            let mut shunned = Shunned::default();
            shunned.suspect(&ring, &[], &[], &cut);
            // Nothing has been sent to it meanwhile.
            shunned.suspect(&ring, &[first, second], &[], &HashMap::new());
            let rest = ids(&shunned.rest_of(&pool, 2));
            assert!(!rest.contains(&pool[1].reference.id));
            assert!(shunned.is_unreachable(pool[1].reference.id));
            assert_eq!(shunned.rest_of(&pool, 3).len(), 3);
        }
    }

    #[test]
    fn one_that_carries_a_lane_that_works_can_be_reached() {
        let pool = [relay(), relay(), relay()];
        let (ring, [first, second]) = ring(&ids(&pool));
        let cut = HashMap::from([(pool[1].reference.id, Instant::now())]);
        let mut shunned = Shunned::default();
        shunned.suspect(&ring, &[second], &[first], &cut);
        assert!(!shunned.is_unreachable(pool[1].reference.id));
        assert_eq!(ids(&shunned.rest_of(&pool, 2)), ids(&pool[..2]));
    }
}
