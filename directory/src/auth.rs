//! Who is calling.

use crate::Refused;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mixnn_protocol::SystemRng;
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::registration::NodeClass;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

/// Opaque name of a model, which ties its designer and its layer pods together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelKey(pub String);

/// What a token says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Unique in time: a pod's uid.
    pub uid: String,
    /// What the node is to do.
    pub class: NodeClass,
    /// For designers and layer pods: whose.
    pub model: Option<ModelKey>,
    /// Opaque name of who hosts it.
    pub host_domain: String,
    /// Opaque name of the machine.
    pub node_domain: String,
}

/// Tells who bears a token.
pub trait Authenticator: Send + Sync + 'static {
    /// The bearer.
    ///
    /// # Errors
    /// [`Refused::Unauthorized`] if the token is not good; [`Refused::Unavailable`] or
    /// [`Refused::Busy`] if that cannot be told now.
    fn authenticate(&self, token: &str) -> impl Future<Output = Result<Identity, Refused>> + Send;
}

/// Random tokens: the local runner's authenticator. Clones share them.
///
/// Tokens are looked up by their hash, so that the time of a look-up tells nothing of a token.
#[derive(Clone, Default)]
pub struct StaticTokens(Arc<RwLock<HashMap<[u8; 32], Identity>>>);

impl StaticTokens {
    /// Makes a token for this identity: 256 random bits in base64url.
    pub fn issue(&self, identity: Identity) -> String {
        let mut token = [0; 32];
        SystemRng.fill_bytes(&mut token);
        let token = URL_SAFE_NO_PAD.encode(token);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(hash(&token), identity);
        token
    }

    /// Forgets the tokens of an identity: its process is gone.
    pub fn revoke(&self, uid: &str) {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, identity| identity.uid != uid);
    }
}

impl Authenticator for StaticTokens {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refused> {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&hash(token)).cloned().ok_or(Refused::Unauthorized)
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}
