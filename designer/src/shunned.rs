//! Relays that nothing seems to come through: for a while no way is drawn over them.
//!
//! A frozen relay stays in the directory until the platform notices. Lanes that work tell which relays
//! are good; those that are only on silent lanes are passed over. Who can freeze relays of others thus
//! drives traffic to its own for [`SHUNNED`], but not for longer.

use crate::deal::shuffle;
use crate::pool::Relay;
use crate::ring::Ring;
use mixnn_protocol::NodeId;
use mixnn_transport::LaneId;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// For so long.
const SHUNNED: Duration = Duration::from_secs(60);

/// Relays that are passed over, and until when.
#[derive(Default)]
pub(crate) struct Shunned(HashMap<NodeId, Instant>);

impl Shunned {
    /// Relays on these silent lanes are to be passed over, but for those on lanes that work.
    pub(crate) fn suspect(&mut self, ring: &Ring, silent: &[LaneId], proven: &[LaneId]) {
        let relays = |lanes: &[LaneId]| -> HashSet<NodeId> {
            lanes.iter().flat_map(|lane| ring.way(*lane)).copied().collect()
        };
        let good = relays(proven);
        let until = Instant::now() + SHUNNED;
        self.0.retain(|relay, _| !good.contains(relay));
        self.0.extend(relays(silent).difference(&good).map(|relay| (*relay, until)));
    }

    /// The relays that are left. If fewer than `hops` would be, those suspected longest ago are forgiven.
    pub(crate) fn rest_of(&mut self, relays: &[Relay], hops: usize) -> Vec<Relay> {
        let now = Instant::now();
        self.0.retain(|_, until| *until > now);
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
