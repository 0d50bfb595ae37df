//! Registration, claims, and who there is.

use crate::DesignerError;
use mixnn_node::{NodeArgs, RegistryClient};
use mixnn_protocol::admission::TokenRequest;
use mixnn_protocol::registration::{Directory, NodeClass, NodeDetail};
use mixnn_protocol::{
    AdmissionKey, ClaimKey, Epoch, KeyPair, NodeId, PublicKey, RelayRef, SystemRng, Token,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// For all pods and relays to register.
const GATHER: Duration = Duration::from_secs(120);

/// A node with what its place must be chosen by.
#[derive(Clone, Debug)]
pub struct Place {
    /// Who hosts it.
    pub host_domain: String,
    /// On which machine.
    pub node_domain: String,
}

/// A relay of the pool.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Its id and key.
    pub reference: RelayRef,
    /// Where it runs.
    pub place: Place,
}

/// A layer pod that bears one of this designer's claims.
pub struct LayerPod {
    /// Its id.
    pub id: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// The key under which its set-ups are signed.
    pub claim: ClaimKey,
    /// Where it runs.
    pub place: Place,
}

/// What the directory says, checked.
pub(crate) struct Pool {
    pub(crate) me: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) relays: Vec<Relay>,
    pub(crate) pods: Vec<LayerPod>,
    pub(crate) urls: HashMap<NodeId, String>,
    admission: AdmissionKey,
    registry: RegistryClient,
    runtime: Runtime,
}

impl Pool {
    /// Registers, publishes a claim for each layer, and waits until all are there.
    pub(crate) fn gather(
        args: &NodeArgs,
        url: &str,
        keys: &KeyPair,
        layers: usize,
        relays: usize,
    ) -> Result<Self, DesignerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| DesignerError::Stopped(e.to_string()))?;
        let registry = RegistryClient::new(args)?;
        let mut claims: Vec<ClaimKey> =
            (0..layers).map(|_| ClaimKey::generate(&mut SystemRng)).collect();
        let (me, directory) = runtime.block_on(async {
            let me = registry.register(NodeClass::Designer, url, keys.public()).await?;
            registry.publish_claims(claims.iter().map(ClaimKey::claim).collect()).await?;
            let directory = wait_for_all(&registry, &claims, relays).await?;
            Ok::<_, DesignerError>((me, directory))
        })?;
        let mut pool = Self {
            me: me.id,
            epoch: Epoch(directory.epoch),
            relays: Vec::new(),
            pods: Vec::new(),
            urls: HashMap::new(),
            admission: AdmissionKey::from_der(&me.admission_key)?,
            registry,
            runtime,
        };
        for node in directory.nodes {
            pool.urls.insert(node.id, node.url);
            if let Some(detail) = node.detail {
                pool.add(node.id, detail, &mut claims);
            }
        }
        Ok(pool)
    }

    fn add(&mut self, id: NodeId, detail: NodeDetail, claims: &mut Vec<ClaimKey>) {
        let Ok(key) = PublicKey::from_bytes(detail.suite, &detail.public_key) else {
            return tracing::warn!("a node of the directory has no valid key");
        };
        let place = Place { host_domain: detail.host_domain, node_domain: detail.node_domain };
        match detail.class {
            NodeClass::Relay => {
                self.relays.push(Relay { reference: RelayRef { id, key }, place });
            }
            NodeClass::Layer => {
                let ours = claims.iter().position(|c| Some(c.claim()) == detail.claim);
                if let Some(at) = ours {
                    let claim = claims.swap_remove(at);
                    self.pods.push(LayerPod { id, key, claim, place });
                }
            }
            NodeClass::Designer => {}
        }
    }

    /// Tokens, one for each entry of `relays`, in its order.
    pub(crate) fn tokens(&self, relays: &[NodeId]) -> Result<Vec<Token>, DesignerError> {
        let ask = |relay: &NodeId| TokenRequest::new(&self.admission, *relay, &mut SystemRng);
        let requests = relays.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
        let blinded = requests.iter().map(|r| r.blinded().to_vec()).collect();
        let answers = self.runtime.block_on(self.registry.tokens(blinded))?;
        let finish = |(request, answer): (TokenRequest, Vec<u8>)| {
            request.finish(&self.admission, &answer).map_err(DesignerError::from)
        };
        requests.into_iter().zip(answers).map(finish).collect()
    }
}

async fn wait_for_all(
    registry: &RegistryClient,
    claims: &[ClaimKey],
    relays: usize,
) -> Result<Directory, DesignerError> {
    let start = Instant::now();
    loop {
        let directory = registry.directory().await?;
        let of = |class| {
            let details = directory.nodes.iter().filter_map(|n| n.detail.as_ref());
            details.filter(move |d| d.class == class)
        };
        let ours = |d: &&NodeDetail| claims.iter().any(|c| Some(c.claim()) == d.claim);
        let pods = of(NodeClass::Layer).filter(ours).count();
        let found = of(NodeClass::Relay).count();
        if pods >= claims.len() && found >= relays {
            return Ok(directory);
        }
        if start.elapsed() > GATHER {
            let what = format!(
                "{pods} of {} layer pods and {found} of {relays} relays have registered: look at the pods that are missing",
                claims.len()
            );
            return Err(DesignerError::Deadline { seconds: GATHER.as_secs(), what });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
