//! Keyed digests of private weights.
//!
//! ```text
//! layer digest = HMAC-SHA256(digest key of the layer, [name length u32, name, tensor]* )
//! model digest = HMAC-SHA256(digest key of the owner, [layer digest]* )
//! ```
//!
//! with parameters, then buffers, in their wire form, in order. A bare hash would let anyone test a guess of the weights.

use crate::tensor::wire_pieces;
use crate::{LayerKey, NnError, OwnerSecret};
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use tch::Tensor;

pub(crate) fn layer_digest<'a>(
    key: &LayerKey,
    tensors: impl Iterator<Item = (String, &'a Tensor)>,
) -> Result<[u8; 32], NnError> {
    let mut mac = Context::with_key(&Key::new(HMAC_SHA256, &key.digest_key()));
    for (name, tensor) in tensors {
        mac.update(&(name.len() as u32).to_be_bytes());
        mac.update(name.as_bytes());
        wire_pieces(tensor, |piece| mac.update(piece))?;
    }
    Ok(sum(mac))
}

/// The digest of a whole model from those of its layers, in model order.
pub fn model_digest<'a>(
    owner: &OwnerSecret,
    layers: impl IntoIterator<Item = &'a [u8; 32]>,
) -> [u8; 32] {
    let mut mac = Context::with_key(&Key::new(HMAC_SHA256, &owner.digest_key()));
    layers.into_iter().for_each(|digest| mac.update(digest));
    sum(mac)
}

fn sum(mac: Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(mac.sign().as_ref());
    out
}
