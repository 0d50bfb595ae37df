//! The owner's word by which covered lanes live on at their crossing relays.

use crate::DesignerError;
use crate::deal::{letter_way, shuffle};
use crate::pool::Pool;
use mixnn_protocol::letter::{Lease, route};
use mixnn_protocol::{Cover, NodeId, RelayRef, Secret, SystemRng};
use mixnn_transport::{Endpoint, LaneId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lanes whose owner is gone end after at most so many seconds, at a whole minute.
pub(crate) const LIFE: u32 = 900;
const _: () = assert!(LIFE + MINUTE < Cover::MAX_LIFE);
const MINUTE: u32 = 60;
/// How often the owner says that it is still there.
const RENEW: Duration = Duration::from_secs(300);
/// For the last word to reach all relays before the edge that it names.
const LAST: Duration = Duration::from_secs(2);

/// What the owner knows of its covered lanes' leases.
#[derive(Default)]
pub(crate) struct Leases {
    /// For each lane its crossing relay, and its name there.
    lanes: HashMap<LaneId, (RelayRef, Secret)>,
    said: Option<Instant>,
    /// Of lanes that were drawn anew: the old ones are to end.
    old: Vec<(RelayRef, Secret)>,
}

/// When lanes end that are set up or renewed now: the same edge for all of a pool's.
pub(crate) fn next_stop(now: u32) -> u32 {
    (now + LIFE).next_multiple_of(MINUTE)
}

impl Leases {
    /// Takes down the lease of a lane that has been drawn.
    pub(crate) fn keep(&mut self, lane: LaneId, lease: Option<(RelayRef, Secret)>) {
        if let Some(lease) = lease {
            self.old.extend(self.lanes.insert(lane, lease));
            self.said.get_or_insert_with(Instant::now);
        }
    }

    /// Renews all leases when it is time to, and ends those of lanes that were drawn anew.
    pub(crate) fn tend(
        &mut self,
        pool: &Pool,
        hops: usize,
        endpoint: &Endpoint,
    ) -> Result<(), DesignerError> {
        let old = std::mem::take(&mut self.old);
        say(old.iter(), pool, hops, endpoint, last(pool))?;
        if self.said.is_none_or(|said| said.elapsed() < RENEW) {
            return Ok(());
        }
        self.said = Some(Instant::now());
        let stop = next_stop(pool.clock().seconds(Instant::now()));
        say(self.lanes.values(), pool, hops, endpoint, stop)
    }

    /// Ends all lanes, at the same edge.
    pub(crate) fn end(
        &mut self,
        pool: &Pool,
        hops: usize,
        endpoint: &Endpoint,
    ) -> Result<(), DesignerError> {
        say(self.lanes.values().chain(&self.old), pool, hops, endpoint, last(pool))
    }
}

/// The edge at which lanes end to which it is said now.
fn last(pool: &Pool) -> u32 {
    pool.clock().seconds(Instant::now() + LAST) + 1
}

/// Moves stops: one letter for each lane, each on a way of its own, in random order.
fn say<'a>(
    leases: impl Iterator<Item = &'a (RelayRef, Secret)>,
    pool: &Pool,
    hops: usize,
    endpoint: &Endpoint,
    stop: u32,
) -> Result<(), DesignerError> {
    // A relay that is gone has no lanes.
    let there = leases.filter(|(relay, _)| pool.has(relay.id));
    let mut posts: Vec<(&RelayRef, &Secret, Vec<RelayRef>)> = there
        .map(|(relay, name)| {
            let way = letter_way(&pool.relays, hops, Some(relay.id));
            (relay, name, pool.references(&way))
        })
        .collect();
    if posts.is_empty() {
        return Ok(());
    }
    shuffle(&mut posts);
    let needed: Vec<NodeId> = posts
        .iter()
        .flat_map(|(relay, _, way)| way.iter().map(|r| r.id).chain([relay.id]))
        .collect();
    let mut stock = pool.stock(&needed)?;
    for (relay, name, way) in posts {
        let mut admit = |id: NodeId| stock.get_mut(&id)?.pop();
        // Bought above, one for each.
        let Some(token) = admit(relay.id) else { continue };
        let lease = Lease { name: name.clone(), stop };
        let letter = lease.seal(relay, &token, &mut SystemRng)?;
        let first = way.first().map_or(relay.id, |r| r.id);
        let letter = route(letter, relay.id, &way, &mut SystemRng, &mut admit)?;
        endpoint.letter(first, letter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_minute_end_together() {
        assert_eq!(next_stop(1_800_000_001), next_stop(1_800_000_059));
        assert!(next_stop(1_800_000_000) >= 1_800_000_900);
    }
}
