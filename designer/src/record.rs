//! What a designer that takes over must know: kept sealed beside the checkpoints.

use crate::deal::Deal;
use crate::pool::Pool;
use mixnn_protocol::{ClaimKey, NodeId, Secret};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Claims that pods bear or may come to bear, and who holds or held which layer.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    claims: Vec<Seed>,
    /// Pods by id, and the layers that they run.
    seats: BTreeMap<NodeId, usize>,
    /// Host domains, and the layers that each has seen.
    seen: BTreeMap<String, BTreeSet<usize>>,
}

/// The secret of a claim, hexadecimal.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Seed(String);

impl Record {
    /// What is to be kept now.
    pub(crate) fn of(pool: &Pool, deal: &Deal) -> Self {
        let seed = |claim: &ClaimKey| Seed(hex::encode(claim.seed().expose()));
        let borne = deal.pods().map(|(_, pod)| &pod.claim);
        let borne = borne.chain(pool.fresh.iter().map(|pod| &pod.claim));
        Self {
            claims: pool.claims.iter().chain(borne).map(seed).collect(),
            seats: deal.pods().map(|(layer, pod)| (pod.id, layer)).collect(),
            seen: deal.seen().clone().into_iter().collect(),
        }
    }

    /// Takes up what the designer before this one knew.
    pub(crate) fn take_up(self, pool: &mut Pool, deal: &mut Deal) {
        let claim = |seed: &Seed| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(&seed.0, &mut bytes).ok()?;
            Some(ClaimKey::from_seed(Secret::from_bytes(bytes)))
        };
        pool.claims.extend(self.claims.iter().filter_map(claim));
        self.seats.into_iter().for_each(|(id, layer)| deal.expect(id, layer));
        for (host, layers) in self.seen {
            layers.into_iter().for_each(|layer| deal.remember(host.clone(), layer));
        }
    }
}
