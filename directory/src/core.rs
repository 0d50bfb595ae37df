//! The rules of registration, without sockets.

use crate::heads::Heads;
use crate::{Identity, ModelKey};
use mixnn_protocol::registration::{
    Advance, Directory, DirectoryEntry, Head, NodeClass, NodeDetail, Refusal, Registered,
    Registration,
};
use mixnn_protocol::{Claim, NodeId, PublicKey, Suite, SystemRng, VERSION};
use mixnn_transport::Authority;
use std::collections::{HashMap, VecDeque};
use tokio::sync::watch;

/// The most claims in stock for one model.
const MAX_CLAIMS: usize = 4096;
/// The most nodes in all.
const MAX_NODES: usize = 100_000;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token, or not a good one.
    #[error("no token, or not a good one")]
    Unauthorized,
    /// The token does not allow this.
    #[error("this token is not for {0}")]
    Forbidden(&'static str),
    /// The node speaks another version or suite, or its key or URL is no good.
    #[error("{0}")]
    Bad(String),
    /// Another key was registered under this identity before.
    #[error("this pod has registered another key before; a pod has one key for its whole life")]
    Conflict,
    /// No claim is in stock yet.
    #[error("no claim for this pod yet: its designer has not published one; try again")]
    NoClaim,
    /// Another designer of the model has taken over.
    #[error("another designer of this model has taken over; this one must end")]
    Superseded,
    /// The model's head is not what the caller took it for.
    #[error("the model's head has moved on; read it again")]
    HeadMoved,
    /// A bound of this service.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Too many requests at the same time.
    #[error("too many requests at once; try again")]
    Busy,
    /// What keeps the registrations does not answer.
    #[error("the registry cannot be reached: {0}; try again")]
    Unavailable(String),
}

impl Refused {
    /// A stable name.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized => Refusal::UNAUTHORIZED,
            Self::Forbidden(_) => "forbidden",
            Self::Bad(_) => "bad-request",
            Self::Conflict => "conflict",
            Self::NoClaim => Refusal::NO_CLAIM,
            Self::Superseded => Refusal::SUPERSEDED,
            Self::HeadMoved => Refusal::HEAD_MOVED,
            Self::TooMany(_) => "too-many",
            Self::Busy => Refusal::BUSY,
            Self::Unavailable(_) => Refusal::UNAVAILABLE,
        }
    }
}

struct Node {
    id: NodeId,
    identity: Identity,
    registration: Registration,
    claim: Option<Claim>,
}

/// All nodes, and the claims in stock.
pub struct Registry {
    suite: Suite,
    admission_key: Vec<u8>,
    epoch: u32,
    nodes: HashMap<String, Node>,
    claims: HashMap<ModelKey, VecDeque<Claim>>,
    heads: Heads,
    /// The version of the directory.
    version: watch::Sender<u64>,
}

impl Registry {
    /// An empty registry for a pool of one suite. `admission_key`: the issuer's public key in DER.
    pub fn new(suite: Suite, admission_key: Vec<u8>) -> Self {
        Self {
            suite,
            admission_key,
            epoch: 1,
            nodes: HashMap::new(),
            claims: HashMap::new(),
            heads: Heads::default(),
            version: watch::Sender::new(1),
        }
    }

    /// Registers a node's key: the first one only. The same request again gets the same answer.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn register(
        &mut self,
        identity: &Identity,
        registration: Registration,
    ) -> Result<Registered, Refused> {
        if identity.class != registration.class {
            return Err(Refused::Forbidden("a node of this class"));
        }
        if let Some(node) = self.nodes.get(&identity.uid) {
            let same = node.registration == registration;
            return if same { Ok(self.answer(node)) } else { Err(Refused::Conflict) };
        }
        check(self.suite, &registration)?;
        if self.nodes.len() >= MAX_NODES {
            return Err(Refused::TooMany("nodes"));
        }
        let claim = match (identity.class, &identity.model) {
            (NodeClass::Layer, Some(model)) => {
                let stock = self.claims.get_mut(model);
                Some(stock.and_then(VecDeque::pop_front).ok_or(Refused::NoClaim)?)
            }
            (NodeClass::Layer, None) => return Err(Refused::Forbidden("any model")),
            (NodeClass::Relay | NodeClass::Designer, _) => None,
        };
        let id = NodeId::random(&mut SystemRng);
        let node = Node { id, identity: identity.clone(), registration, claim };
        let answer = self.answer(&node);
        self.nodes.insert(identity.uid.clone(), node);
        self.version.send_modify(|version| *version += 1);
        Ok(answer)
    }

    fn answer(&self, node: &Node) -> Registered {
        let admission_key = self.admission_key.clone();
        Registered { id: node.id, claim: node.claim, admission_key }
    }

    /// Forgets a node whose pod is gone.
    pub fn remove(&mut self, uid: &str) {
        if self.nodes.remove(uid).is_some() {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Tells of every new version of the directory.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Whether a node has registered under this identity.
    pub fn is_registered(&self, uid: &str) -> bool {
        self.nodes.contains_key(uid)
    }

    /// Where the node of this identity listens.
    pub fn url(&self, uid: &str) -> Option<&str> {
        self.nodes.get(uid).map(|node| node.registration.url.as_str())
    }

    /// How far a model has come.
    pub fn head(&self, model: &ModelKey) -> Head {
        self.heads.get(model)
    }

    /// Takes up how far a model had come before this service started.
    pub fn restore_head(&mut self, model: ModelKey, head: Head) {
        self.heads.restore(model, head);
    }

    /// Compare-and-swap of the head of the designer's model. Who raises the term takes over.
    ///
    /// # Errors
    /// The head is not as expected, another designer has taken over, or the caller is none.
    pub fn advance(&mut self, identity: &Identity, advance: &Advance) -> Result<Head, Refused> {
        let model = Self::designer(identity)?;
        self.heads.advance(model, identity, advance)
    }

    /// The model of a designer that may still speak for it.
    ///
    /// # Errors
    /// Another one has taken over, or the caller is none.
    pub fn driver<'a>(&self, identity: &'a Identity) -> Result<&'a ModelKey, Refused> {
        let model = Self::designer(identity)?;
        self.heads.allows(model, identity).map(|()| model)
    }

    /// Puts claims into the stock of the designer's model.
    ///
    /// # Errors
    /// The caller is no designer, or the stock is full.
    pub fn publish(&mut self, identity: &Identity, claims: Vec<Claim>) -> Result<(), Refused> {
        let model = self.driver(identity)?;
        let stock = self.claims.entry(model.clone()).or_default();
        // Published again: the reply was lost.
        let claims: Vec<Claim> = claims.into_iter().filter(|c| !stock.contains(c)).collect();
        if stock.len() + claims.len() > MAX_CLAIMS {
            return Err(Refused::TooMany("claims"));
        }
        stock.extend(claims);
        Ok(())
    }

    /// The model of a designer.
    ///
    /// # Errors
    /// The caller is none.
    pub fn designer(identity: &Identity) -> Result<&ModelKey, Refused> {
        match (identity.class, &identity.model) {
            (NodeClass::Designer, Some(model)) => Ok(model),
            _ => Err(Refused::Forbidden("a designer's requests")),
        }
    }

    /// What the caller may see: a relay the addresses of all nodes, a layer pod those of relays, a
    /// designer all of the relays and of its own layer pods.
    ///
    /// # Errors
    /// The caller is a designer after which another one has taken over.
    pub fn directory(&self, identity: &Identity) -> Result<Directory, Refused> {
        if identity.class == NodeClass::Designer && identity.model.is_some() {
            self.driver(identity)?;
        }
        let sees = |node: &&Node| match identity.class {
            NodeClass::Relay => true,
            NodeClass::Layer => node.identity.class == NodeClass::Relay,
            NodeClass::Designer => {
                node.identity.class == NodeClass::Relay
                    || (identity.model.is_some() && node.identity.model == identity.model)
            }
        };
        let detailed = identity.class == NodeClass::Designer;
        let nodes = self.nodes.values().filter(sees).map(|node| entry(node, detailed)).collect();
        Ok(Directory { epoch: self.epoch, version: *self.version.borrow(), nodes })
    }

    /// How many nodes of a class there are.
    pub fn count(&self, class: NodeClass) -> usize {
        self.nodes.values().filter(|n| n.identity.class == class).count()
    }
}

/// The most characters of each text in a numeric profile: all of them are in every directory.
const MAX_PROFILE: usize = 64;

/// Whether a node may register this: version, suite, key, profile and URL.
///
/// # Errors
/// What is wrong with it.
pub fn check(suite: Suite, registration: &Registration) -> Result<(), Refused> {
    let bad = |text: String| Err(Refused::Bad(text));
    if registration.protocol_version != VERSION {
        let found = registration.protocol_version;
        return bad(format!(
            "protocol version {found}; this platform speaks {VERSION}: use the same release everywhere"
        ));
    }
    if registration.suite != suite {
        let found = registration.suite;
        return bad(format!("suite {found:?}; this pool uses {suite:?}: set --suite"));
    }
    if let Err(error) = PublicKey::from_bytes(registration.suite, &registration.public_key) {
        return bad(error.to_string());
    }
    let profile = registration.profile.iter().flat_map(|p| [&p.libtorch, &p.cpu_capability]);
    let is_short = |t: &&String| t.len() <= MAX_PROFILE && t.chars().all(|c| c.is_ascii_graphic());
    if !profile.clone().all(|text| is_short(&text)) {
        return bad(format!("a numeric profile of more than {MAX_PROFILE} printable characters"));
    }
    Authority::from_url(&registration.url).map(drop).or_else(|e| bad(e.to_string()))
}

fn entry(node: &Node, detailed: bool) -> DirectoryEntry {
    let detail = || NodeDetail {
        class: node.identity.class,
        suite: node.registration.suite,
        public_key: node.registration.public_key.clone(),
        profile: node.registration.profile.clone(),
        claim: node.claim,
        host_domain: node.identity.host_domain.clone(),
        node_domain: node.identity.node_domain.clone(),
    };
    DirectoryEntry {
        id: node.id,
        url: node.registration.url.clone(),
        detail: detailed.then(detail),
    }
}
