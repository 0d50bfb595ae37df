//! Registration, claims, and who there is.

use crate::DesignerError;
use crate::deal::Deal;
use crate::lookout::Lookout;
use mixnn_node::{NodeArgs, NodeError, RegistryClient};
use mixnn_protocol::admission::TokenRequest;
use mixnn_protocol::control::Profile;
use mixnn_protocol::registration::{Head, NodeClass, NodeDetail, Refusal};
use mixnn_protocol::{
    AdmissionKey, Claim, ClaimKey, Epoch, KeyPair, NodeId, PublicKey, RelayRef, SystemRng, Token,
    WallClock,
};
use std::collections::{HashMap, HashSet};
use tokio::runtime::Runtime;

/// Claims in stock for pods that are still to come: replacements, spares.
const STOCK: usize = 8;

/// Tokens that have not been spent, by relay.
pub(crate) type Stock = HashMap<NodeId, Vec<Token>>;

/// A node with what its place must be chosen by.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Who hosts it.
    pub(crate) host_domain: String,
    /// On which machine.
    #[expect(dead_code, reason = "placement by machine is the operator's; paths may use it later")]
    pub(crate) node_domain: String,
}

/// A relay of the pool.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    /// Its id and key.
    pub(crate) reference: RelayRef,
    /// Where it runs.
    pub(crate) place: Place,
}

/// A layer pod that bears one of this designer's claims.
pub(crate) struct LayerPod {
    /// Its id.
    pub(crate) id: NodeId,
    /// Its key.
    pub(crate) key: PublicKey,
    /// The key under which its set-ups are signed.
    pub(crate) claim: ClaimKey,
    /// Where it runs.
    pub(crate) place: Place,
}

/// What the directory says, checked.
pub(crate) struct Pool {
    pub(crate) me: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) head: Head,
    pub(crate) relays: Vec<Relay>,
    /// Our pods whose bits would be others, by id: they get no layer.
    misfits: HashMap<NodeId, Profile>,
    /// The numeric profile of the run.
    profile: Profile,
    /// Our pods that have no layer yet.
    pub(crate) fresh: Vec<LayerPod>,
    pub(crate) urls: HashMap<NodeId, String>,
    pub(crate) lookout: Lookout,
    /// Claims that no pod has been seen to bear.
    pub(crate) claims: Vec<ClaimKey>,
    admission: AdmissionKey,
    registry: RegistryClient,
    runtime: Runtime,
    /// Number of the directory that was taken in last.
    taken: u64,
}

impl Pool {
    /// Registers, and takes the model over: the term rises, and with it every designer before this
    /// one is shut out.
    pub(crate) fn register(
        args: &NodeArgs,
        url: &str,
        keys: &KeyPair,
        profile: &Profile,
    ) -> Result<Self, DesignerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| DesignerError::Stopped(e.to_string()))?;
        let registry = RegistryClient::new(args)?;
        let me = runtime.block_on(registry.register(NodeClass::Designer, url, keys.public()))?;
        let head = runtime.block_on(take_over(&registry))?;
        Ok(Self {
            me: me.id,
            epoch: Epoch(0),
            head,
            relays: Vec::new(),
            misfits: HashMap::new(),
            profile: profile.clone(),
            fresh: Vec::new(),
            urls: HashMap::new(),
            lookout: Lookout::start(args)?,
            claims: Vec::new(),
            admission: AdmissionKey::from_der(&me.admission_key)?,
            registry,
            runtime,
            taken: 0,
        })
    }

    /// How many claims are missing for `needed` pods and some in stock.
    pub(crate) fn claims_missing(&self, needed: usize) -> usize {
        if self.claims.len() >= needed + STOCK / 2 {
            return 0;
        }
        needed + STOCK - self.claims.len()
    }

    /// Draws so many new claims, of which nobody knows yet.
    pub(crate) fn draw_claims(&mut self, count: usize) -> Vec<Claim> {
        let new: Vec<ClaimKey> = (0..count).map(|_| ClaimKey::generate(&mut SystemRng)).collect();
        let claims = new.iter().map(ClaimKey::claim).collect();
        self.claims.extend(new);
        claims
    }

    /// Publishes claims.
    pub(crate) fn publish(&self, claims: Vec<Claim>) -> Result<(), DesignerError> {
        Ok(self.runtime.block_on(self.registry.publish_claims(claims))?)
    }

    /// Takes in the newest directory, if it is new. Pods that `deal` has seated are left there.
    pub(crate) fn refresh(&mut self, deal: &Deal) -> Result<bool, DesignerError> {
        self.lookout.check()?;
        let number = self.lookout.number();
        if number == self.taken {
            return Ok(false);
        }
        self.taken = number;
        let directory = self.lookout.latest();
        self.epoch = Epoch(directory.epoch);
        self.urls = directory.nodes.iter().map(|n| (n.id, n.url.clone())).collect();
        self.relays.clear();
        self.fresh.retain(|pod| self.urls.contains_key(&pod.id));
        self.misfits.retain(|id, _| self.urls.contains_key(id));
        let known: HashSet<NodeId> =
            deal.pods().map(|(_, p)| p.id).chain(self.fresh.iter().map(|p| p.id)).collect();
        for node in directory.nodes {
            if let Some(detail) = node.detail
                && !known.contains(&node.id)
            {
                self.add(node.id, detail);
            }
        }
        Ok(true)
    }

    fn add(&mut self, id: NodeId, detail: NodeDetail) {
        let Ok(key) = PublicKey::from_bytes(detail.suite, &detail.public_key) else {
            return tracing::warn!("a node of the directory has no valid key");
        };
        let place = Place { host_domain: detail.host_domain, node_domain: detail.node_domain };
        match detail.class {
            NodeClass::Relay => {
                self.relays.push(Relay { reference: RelayRef { id, key }, place });
            }
            NodeClass::Layer => {
                let ours = self.claims.iter().position(|c| Some(c.claim()) == detail.claim);
                if let Some(at) = ours {
                    let claim = self.claims.swap_remove(at);
                    if let Some(other) = detail.profile.filter(|p| *p != self.profile) {
                        tracing::warn!(
                            ?other,
                            "a pod has another numeric profile: it gets no layer"
                        );
                        self.misfits.insert(id, other);
                        return;
                    }
                    self.fresh.push(LayerPod { id, key, claim, place });
                }
            }
            NodeClass::Designer => {}
        }
    }

    /// How many of our pods have another numeric profile, and one of these.
    pub(crate) fn misfits(&self) -> Option<(usize, Profile)> {
        let first = self.misfits.values().next()?;
        Some((self.misfits.len(), first.clone()))
    }

    /// Whether a newer directory waits to be taken in.
    pub(crate) fn is_stale(&self) -> bool {
        self.lookout.number() != self.taken
    }

    /// The platform's clock.
    pub(crate) fn clock(&self) -> WallClock {
        self.registry.clock()
    }

    /// Whether the node is in the directory that was taken in last.
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.urls.contains_key(&id)
    }

    /// The relays of a way.
    pub(crate) fn references(&self, way: &[NodeId]) -> Vec<RelayRef> {
        let find = |id: &NodeId| self.relays.iter().find(|r| r.reference.id == *id);
        way.iter().filter_map(find).map(|r| r.reference.clone()).collect()
    }

    /// Tokens for `relays`, by relay: one for each time that it is named.
    pub(crate) fn stock(&self, relays: &[NodeId]) -> Result<Stock, DesignerError> {
        let mut stock = Stock::new();
        for (id, token) in relays.iter().zip(self.tokens(relays)?) {
            stock.entry(*id).or_default().push(token);
        }
        Ok(stock)
    }

    /// Tokens, one for each entry of `relays`, in its order.
    fn tokens(&self, relays: &[NodeId]) -> Result<Vec<Token>, DesignerError> {
        let requests = blinded(&self.admission, relays)?;
        let blinded = requests.iter().map(|r| r.blinded().to_vec()).collect();
        let answers = self.runtime.block_on(self.registry.tokens(blinded))?;
        let finish = |(request, answer): (TokenRequest, Vec<u8>)| {
            request.finish(&self.admission, &answer).map_err(DesignerError::from)
        };
        requests.into_iter().zip(answers).map(finish).collect()
    }
}

/// Requests for tokens, on all cores: blinding takes a millisecond, and a model needs hundreds.
fn blinded(
    admission: &AdmissionKey,
    relays: &[NodeId],
) -> Result<Vec<TokenRequest>, DesignerError> {
    let ask = |relay: &NodeId| TokenRequest::new(admission, *relay, &mut SystemRng);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = relays.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = relays
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().map(ask).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut requests = Vec::with_capacity(relays.len());
        for thread in threads {
            let blinded = thread.join().map_err(|_| stopped("blinding tokens was cut off"))?;
            requests.extend(blinded?);
        }
        Ok(requests)
    })
}

fn stopped(why: &str) -> DesignerError {
    DesignerError::Stopped(why.to_owned())
}

/// Raises the term by compare-and-swap.
async fn take_over(registry: &RegistryClient) -> Result<Head, DesignerError> {
    loop {
        let found = registry.head().await?;
        let next = Head { term: found.term + 1, ..found };
        match registry.advance(found, next).await {
            Ok(head) => return Ok(head),
            // Another designer starts at the same time: the later one drives.
            Err(NodeError::Refused { reason, .. }) if reason == Refusal::HEAD_MOVED => {}
            Err(error) => return Err(error.into()),
        }
    }
}
