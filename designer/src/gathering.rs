//! Bringing in the sealed states of all layers, in parts, a few of each layer at a time.

use crate::setup::PARTS;
use mixnn_model::{Layer, Operation};
use mixnn_protocol::control::{Command, PART, SealTo};
use mixnn_protocol::{MessageHeader, PublicKey};
use std::ops::Range;

/// Names, shapes and padding of a state come on top of its numbers.
const AROUND: u64 = 1 << 20;

/// The sealed states after one step.
pub(crate) struct Gathering {
    step: u64,
    shards: Vec<Shard>,
}

struct Shard {
    key: PublicKey,
    /// The most bytes that this layer's state can have.
    most: u64,
    /// How many it has, once the layer has said so.
    length: Option<u64>,
    bytes: Vec<u8>,
}

impl Gathering {
    /// A gathering of the states after `step`, each sealed to its layer's key.
    pub(crate) fn new(layers: &[Layer], step: u64, keys: Vec<PublicKey>) -> Self {
        let shard =
            |(layer, key)| Shard { key, most: most(layer), length: None, bytes: Vec::new() };
        Self { step, shards: layers.iter().zip(keys).map(shard).collect() }
    }

    pub(crate) const fn step(&self) -> u64 {
        self.step
    }

    /// What asks a layer to seal its state.
    pub(crate) fn seal(&self, layer: usize) -> Command {
        let key = &self.shards[layer].key;
        Command::Seal(SealTo { suite: key.suite(), public_key: key.to_bytes() })
    }

    /// A layer has sealed its state. Gives the parts to ask for.
    pub(crate) fn sealed(
        &mut self,
        layer: usize,
        step: u64,
        length: u64,
    ) -> Result<Range<u32>, String> {
        let shard = &mut self.shards[layer];
        if step != self.step || shard.length.is_some() {
            return Ok(0..0);
        }
        if !(1..=shard.most).contains(&length) {
            return Err(format!("a sealed state of {length} bytes; the most is {}", shard.most));
        }
        shard.length = Some(length);
        Ok(0..parts(length).min(PARTS as u32))
    }

    /// A part has come. Gives the parts to ask for.
    pub(crate) fn part(
        &mut self,
        layer: usize,
        header: MessageHeader,
        bytes: Vec<u8>,
    ) -> Result<Range<u32>, String> {
        let shard = &mut self.shards[layer];
        let length = shard.length.unwrap_or(0);
        let here = (shard.bytes.len() / PART) as u32;
        let left = length - shard.bytes.len() as u64;
        if header.micro_batch != here || bytes.len() as u64 != left.min(PART as u64) {
            return Err(format!("part {} of a state out of place", header.micro_batch));
        }
        shard.bytes.extend_from_slice(&bytes);
        let next = here + PARTS as u32;
        Ok(if next < parts(length) { next..next + 1 } else { 0..0 })
    }

    /// Whether all parts of all layers are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.shards.iter().all(|s| s.length == Some(s.bytes.len() as u64))
    }

    /// The sealed states, in the order of the layers.
    pub(crate) fn into_shards(self) -> Vec<Vec<u8>> {
        self.shards.into_iter().map(|shard| shard.bytes).collect()
    }
}

fn parts(length: u64) -> u32 {
    length.div_ceil(PART as u64) as u32
}

/// Parameters and three moments, padded and sealed.
fn most(layer: &Layer) -> u64 {
    let parameters: i64 =
        layer.spec.ops.iter().flat_map(Operation::parameters).map(|p| p.elements()).sum();
    let state = parameters.unsigned_abs() * 4 * 4 + AROUND;
    state + state / 8
}
