//! `MixNNModel`: one model to be trained over mix relays.

use kube::CustomResource;
use mixnn_model::{LayerSpec, TrainingSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A deep learning model, trained with each layer in a pod of its own behind mix relays.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mixnn.dev",
    version = "v1alpha1",
    kind = "MixNNModel",
    plural = "mixnnmodels",
    shortname = "mixnn",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MixNNModelSpec {
    /// The layers, input first. Each becomes one layer pod.
    #[schemars(length(min = 1, max = 1024))]
    pub layers: Vec<LayerSpec>,
    /// How the model is trained and tested.
    pub training: TrainingSpec,
    /// The mix relays between the layers.
    #[serde(default)]
    pub relays: RelaysSpec,
}

/// The mix relays between the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelaysSpec {
    /// How many relays the pool has.
    #[serde(default = "six")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// Relays on each lane, 1 to 5. With fewer than 3 the crossing relay knows an end of the lane.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 5))]
    pub hops: u32,
    /// Whether lanes carry cover traffic. Without it message sizes and times show on every link, and a
    /// few steps suffice to tell which links belong together.
    #[serde(default)]
    pub cover_traffic: CoverTraffic,
    /// Cells a second of each lane under `coverTraffic: ConstantRate`. Default: auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<CoverRate>,
    /// HPKE suite of all keys.
    #[serde(default)]
    pub suite: SuiteName,
}

const fn six() -> u32 {
    6
}
const fn three() -> u32 {
    3
}

impl Default for RelaysSpec {
    fn default() -> Self {
        Self {
            replicas: six(),
            hops: three(),
            cover_traffic: CoverTraffic::None,
            rate: None,
            suite: SuiteName::default(),
        }
    }
}

/// When cells leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CoverTraffic {
    /// At once: fastest; sizes, counts and times of messages show.
    #[default]
    None,
    /// One cell a slot on every lane, real or dummy: sizes, counts and times show nothing.
    ConstantRate,
}

/// Cells a second of each lane under constant-rate cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum CoverRate {
    /// The fastest class that half of the CPU carries.
    Auto {},
    /// By hand.
    #[serde(rename_all = "camelCase")]
    Fixed {
        /// Cells of 16 KiB on each lane of activations or gradients; control lanes take a quarter.
        #[schemars(range(min = 1, max = 10000))]
        cells_per_second: u32,
    },
}

/// HPKE suites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SuiteName {
    /// X-Wing: hybrid, holds while ML-KEM-768 or X25519 holds.
    #[default]
    XWing,
    /// X25519: classical, smaller.
    X25519,
}

impl RelaysSpec {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<String> {
        if !(1..=5).contains(&self.hops) {
            return Some(format!("spec.relays.hops is {}; it must be from 1 to 5", self.hops));
        }
        if let Some(CoverRate::Fixed { cells_per_second }) = self.rate
            && !(1..=10_000).contains(&cells_per_second)
        {
            return Some(format!(
                "spec.relays.rate.fixed.cellsPerSecond is {cells_per_second}; it must be from 1 to 10000"
            ));
        }
        if self.rate.is_some() && self.cover_traffic == CoverTraffic::None {
            return Some(
                "spec.relays.rate is given, but coverTraffic is None: set coverTraffic: ConstantRate, or remove the rate".into(),
            );
        }
        (self.hops > self.replicas).then(|| {
            format!(
                "spec.relays.hops is {}, more than the {} relays of spec.relays.replicas: a lane passes no relay twice",
                self.hops, self.replicas
            )
        })
    }

    /// What weakens the protection, in words.
    pub fn warnings(&self) -> Vec<String> {
        match self.hops {
            1 => vec!["1 hop: the relay of a lane knows both of its ends".into()],
            2 => vec!["2 hops: the crossing relay of a lane knows its sender".into()],
            _ => Vec::new(),
        }
    }
}
