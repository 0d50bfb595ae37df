//! From the owner's secret to every random number of a layer.
//!
//! ```text
//! layer key      = HKDF-SHA256(owner secret, info "mixnn v1 layer key" || layer name), 32 bytes
//! digest key     = HKDF-SHA256(layer key,    info "mixnn v1 digest"), 32 bytes
//! shard name     = HKDF-SHA256(layer key,    info "mixnn v1 shard name"), 16 bytes
//! seed of init   = HKDF-SHA256(layer key,    info "mixnn v1 init" || op u32 || parameter name), 8 bytes
//! seed of a mask = HKDF-SHA256(layer key,    info "mixnn v1 dropout" || op u32 || step u64 || micro-batch u32
//!                                                  || place within the op)
//! shuffle key    = HKDF-SHA256(owner secret, info "mixnn v1 shuffle"), 32 bytes
//! augment key    = HKDF-SHA256(owner secret, info "mixnn v1 augment"), 32 bytes
//! page's token   = HKDF-SHA256(owner secret, info "mixnn v1 page token"), 32 bytes, by the page's crate
//! ```
//!
//! Extract with an empty salt (RFC 5869), integers big-endian; a seed is read big-endian and given to
//! libtorch's CPU generator (mt19937) immediately before the draw, so that nothing depends on what
//! was drawn before. A layer gets its own key only: it can tell nothing of the other layers' weights.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The owner's 256-bit secret of one model.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OwnerSecret([u8; 32]);

/// One layer's key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LayerKey([u8; 32]);

impl OwnerSecret {
    /// Wraps 32 uniform secret bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for what is derived from them elsewhere: the token of the owner's page.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the layer with this name.
    pub fn layer_key(&self, layer: &str) -> LayerKey {
        LayerKey(derive(&self.0, &[b"mixnn v1 layer key", layer.as_bytes()]))
    }

    /// The key by which training data are shuffled.
    pub fn shuffle_key(&self) -> [u8; 32] {
        derive(&self.0, &[b"mixnn v1 shuffle"])
    }

    /// The key of what augmentation changes in training data.
    pub fn augment_key(&self) -> [u8; 32] {
        derive(&self.0, &[b"mixnn v1 augment"])
    }

    /// A candidate for the private key of the CA of the owner's servers; most are one.
    pub fn serving_ca_key(&self, candidate: u8) -> [u8; 32] {
        derive(&self.0, &[b"mixnn v1 serving ca", &[candidate]])
    }

    /// The key of the digest over all layers.
    pub(crate) fn digest_key(&self) -> [u8; 32] {
        derive(&self.0, &[b"mixnn v1 digest"])
    }
}

impl LayerKey {
    /// Wraps 32 uniform secret bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sent to the layer's pod under seal.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn digest_key(&self) -> [u8; 32] {
        derive(&self.0, &[b"mixnn v1 digest"])
    }

    /// Under which name the layer's sealed states are bound to it: known to the owner and the layer.
    pub fn shard_name(&self) -> [u8; 16] {
        derive(&self.0, &[b"mixnn v1 shard name"])
    }

    pub(crate) fn init_seed(&self, op: usize, parameter: &str) -> i64 {
        seed(&self.0, &[b"mixnn v1 init", &(op as u32).to_be_bytes(), parameter.as_bytes()])
    }

    /// `within`: where in the operation the mask is for, empty but for blocks (`body.0`).
    pub(crate) fn dropout_seed(&self, op: usize, step: u64, micro_batch: u32, within: &str) -> i64 {
        let (op, step) = ((op as u32).to_be_bytes(), step.to_be_bytes());
        let info: [&[u8]; 5] =
            [b"mixnn v1 dropout", &op, &step, &micro_batch.to_be_bytes(), within.as_bytes()];
        seed(&self.0, &info)
    }
}

impl PartialEq for LayerKey {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}
impl Eq for LayerKey {}

impl std::fmt::Debug for OwnerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerSecret(..)")
    }
}

impl std::fmt::Debug for LayerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerKey(..)")
    }
}

fn seed(key: &[u8; 32], info: &[&[u8]]) -> i64 {
    i64::from_be_bytes(derive(key, info))
}

fn derive<const N: usize>(key: &[u8; 32], info: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, &[])
        .extract(key)
        .expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("a few bytes are within HKDF-SHA256's limit of 255 blocks");
    out
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
