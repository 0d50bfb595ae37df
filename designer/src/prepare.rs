//! What both the distributed run and the reference begin with.

use crate::{DesignerError, secret};
use mixnn_crds::RelaysSpec;
use mixnn_data::{Batch, Batches, Data, micro_batches, shuffled};
use mixnn_events::{Mode, Plan};
use mixnn_model::Model;
use mixnn_nn::{MicroBatch, NnError, Numbers, OwnerSecret, batch_tensor};
use std::path::Path;

/// A checked model with its data and its owner's secret.
pub struct Prepared {
    /// The model.
    pub model: Model,
    /// What it asks of the relays.
    pub relays: RelaysSpec,
    /// What it learns from.
    pub data: Data,
    /// The owner's secret.
    pub owner: OwnerSecret,
}

/// Reads and checks everything before anything is started.
///
/// # Errors
/// What is wrong.
pub fn prepare(file: &Path, data: Option<&Path>, owner: &Path) -> Result<Prepared, DesignerError> {
    let spec = mixnn_crds::parse_file(file)?.spec;
    let data = Data::open(&spec.training.dataset, data)?;
    let model = Model::new(spec.layers, spec.training, &data.sample_shape()?, &data.labels());
    let file = file.display().to_string();
    let model = model.map_err(|problems| DesignerError::Model { file, problems })?;
    let prepared =
        Prepared { model, relays: spec.relays, data, owner: secret::load_or_make(owner)? };
    if prepared.steps_per_epoch() == 0 {
        let (n, m) = (prepared.data.train.len(), prepared.micro_batches());
        let problem = format!("{n} training samples, fewer than the {m} of training.microBatches");
        return Err(mixnn_data::DataError::Mismatch(problem).into());
    }
    Ok(prepared)
}

impl Prepared {
    /// Samples of a step.
    pub fn batch_size(&self) -> usize {
        self.model.training().samples_per_step() as usize
    }

    /// Parts of a step.
    pub fn micro_batches(&self) -> usize {
        self.model.training().micro_batches_per_step() as usize
    }

    /// The most parts on their way at once.
    pub fn in_flight(&self) -> usize {
        self.model.training().micro_batches as usize
    }

    /// Steps of the whole training.
    pub fn total_steps(&self) -> u64 {
        u64::from(self.model.training().epochs) * self.steps_per_epoch()
    }

    /// The most samples of a micro-batch; tests use batches of this size.
    pub fn micro_batch_size(&self) -> usize {
        self.batch_size().div_ceil(self.micro_batches())
    }

    /// Steps of an epoch: the last batch may be smaller, but has a sample for every micro-batch.
    pub fn steps_per_epoch(&self) -> u64 {
        let (n, size) = (self.data.train.len(), self.batch_size());
        (n / size + usize::from(n % size >= self.micro_batches())) as u64
    }

    /// The batches of an epoch, from 1, in the order that the owner's secret gives.
    pub fn training_batches(&self, epoch: u32) -> Batches {
        let data = &self.data;
        let mut order = shuffled(&self.owner.shuffle_key(), epoch, data.train.len());
        let rest = order.len() % self.batch_size();
        if rest < self.micro_batches() {
            order.truncate(order.len() - rest);
        }
        Batches::new(data.train.clone(), order, self.batch_size(), data.norm)
    }

    /// The test set in order, in batches of a micro-batch's size.
    pub fn test_batches(&self) -> Batches {
        let data = &self.data;
        let order = (0..data.test.len() as u32).collect();
        Batches::new(data.test.clone(), order, self.micro_batch_size(), data.norm)
    }

    /// A batch as tensors, in parts.
    ///
    /// # Errors
    /// No memory.
    pub fn cut(&self, batch: &Batch) -> Result<Vec<MicroBatch>, NnError> {
        let size = self.data.train.sample_len();
        let part = |range: std::ops::Range<usize>| {
            let images = &batch.images[range.start * size..range.end * size];
            self.tensors(images, &batch.labels[range])
        };
        micro_batches(batch.labels.len(), self.micro_batches()).into_iter().map(part).collect()
    }

    /// A batch as tensors.
    ///
    /// # Errors
    /// No memory.
    pub fn whole(&self, batch: &Batch) -> Result<MicroBatch, NnError> {
        self.tensors(&batch.images, &batch.labels)
    }

    fn tensors(&self, images: &[f32], labels: &[i64]) -> Result<MicroBatch, NnError> {
        let sample = self.model.layers()[0].input.sizes();
        let inputs = batch_tensor(Numbers::Real(images), labels.len(), sample)?;
        let labels = batch_tensor(Numbers::Whole(labels), labels.len(), &[])?;
        Ok(MicroBatch { inputs, labels })
    }

    /// What is going to happen.
    pub fn plan(&self, mode: Mode) -> Plan {
        let training = self.model.training();
        Plan {
            layers: self.model.layers().iter().map(|l| l.spec.name.clone()).collect(),
            parameters: self.model.parameter_count() as u64,
            train_samples: self.data.train.len() as u64,
            test_samples: self.data.test.len() as u64,
            epochs: training.epochs,
            steps: self.total_steps(),
            micro_batches: training.micro_batches,
            mode,
        }
    }
}
