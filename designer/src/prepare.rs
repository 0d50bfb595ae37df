//! What both the distributed run and the reference begin with.

use crate::{DesignerError, secret};
use clap::Args;
use mixnn_crds::{MixNNModelSpec, RelaysSpec};
use mixnn_data::{
    Batch, Batches, Data, DataError, Epoch, Pass, Place, Progress, Values, micro_batches,
};
use mixnn_events::{Mode, Plan};
use mixnn_model::{Labels, Model};
use mixnn_nn::{MicroBatch, NnError, Numbers, OwnerSecret, batch_tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checked model with its data and its owner's secret.
pub struct Prepared {
    /// The model.
    pub model: Model,
    /// What it asks of the relays.
    pub relays: RelaysSpec,
    /// The most layers that one host may ever see.
    pub layers_per_host: u32,
    /// What it learns from.
    pub data: Data,
    /// The owner's secret.
    pub owner: OwnerSecret,
}

/// Where everything is that a training begins with.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The model's file, for errors.
    pub file: &'a Path,
    /// In sealed mode: the file with the layers.
    pub layers: Option<&'a Path>,
    /// Place of the data's files, if it is another than the model says.
    pub data: Option<&'a Place>,
}

/// What serving a model, or bringing weights into it, begins with.
#[derive(Args, Clone, Debug)]
pub(crate) struct BlueprintArgs {
    /// The MixNNModel.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// In sealed mode (`spec.layersFrom`): the file with the layers, a list as `spec.layers`.
    #[arg(long, value_name = "FILE")]
    layers: Option<PathBuf>,
    /// Place of the data's files, where the model does not say the shape of a sample.
    #[arg(long, value_name = "PLACE")]
    data: Option<Place>,
    /// File of the owner's secret, made if it does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_secret: PathBuf,
}

impl BlueprintArgs {
    pub(crate) fn blueprint(&self) -> Result<Blueprint, DesignerError> {
        let sources =
            Sources { file: &self.file, layers: self.layers.as_deref(), data: self.data.as_ref() };
        blueprint(sources, secret::load_or_make(&self.owner_secret)?)
    }
}

/// A checked model without its data: what serving it begins with.
pub(crate) struct Blueprint {
    /// The model's name.
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) relays: RelaysSpec,
    /// The most layers that one host may ever see.
    pub(crate) layers_per_host: u32,
    pub(crate) owner: OwnerSecret,
}

/// Reads and checks a model. Its data are opened only if the file does not say what a sample is.
fn blueprint(sources: Sources<'_>, owner: OwnerSecret) -> Result<Blueprint, DesignerError> {
    let parsed = mixnn_crds::parse_file(sources.file)?;
    let mut spec = parsed.spec;
    unseal(&mut spec, sources.layers)?;
    let dataset = &spec.training.dataset;
    let (sample, labels) = if let Some(declared) = mixnn_data::declared(dataset) {
        declared
    } else {
        let place = mixnn_data::place_of(&spec.training, sources.data)?;
        let data = Data::open(dataset, place.as_ref(), &mut |_| {})?;
        (data.sample_shape()?, data.labels())
    };
    let model = Model::new(spec.layers, spec.training, &sample, &labels);
    let file = sources.layers.unwrap_or(sources.file).display().to_string();
    let model = model.map_err(|problems| DesignerError::Model { file, problems })?;
    let name = parsed.metadata.name.unwrap_or_else(|| "model".to_owned());
    let layers_per_host = spec.placement.max_layers_per_host;
    Ok(Blueprint { name, model, relays: spec.relays, layers_per_host, owner })
}

/// Reads and checks everything before anything is started; `progress` is told how far the data have
/// been read.
///
/// # Errors
/// What is wrong.
pub fn prepare(
    mut spec: MixNNModelSpec,
    sources: Sources<'_>,
    owner: OwnerSecret,
    progress: Progress<'_>,
) -> Result<Prepared, DesignerError> {
    unseal(&mut spec, sources.layers)?;
    let place = mixnn_data::place_of(&spec.training, sources.data)?;
    let data = Data::open(&spec.training.dataset, place.as_ref(), progress)?;
    let model = Model::new(spec.layers, spec.training, &data.sample_shape()?, &data.labels());
    let file = sources.layers.unwrap_or(sources.file).display().to_string();
    let model = model.map_err(|problems| DesignerError::Model { file, problems })?;
    let layers_per_host = spec.placement.max_layers_per_host;
    let prepared = Prepared { model, relays: spec.relays, layers_per_host, data, owner };
    if prepared.steps_per_epoch() == 0 {
        let (n, m) = (prepared.data.train.len(), prepared.micro_batches());
        let problem = format!("{n} training samples, fewer than the {m} of training.microBatches");
        return Err(DataError::Mismatch(problem).into());
    }
    Ok(prepared)
}

/// In sealed mode the layers come from a file of their own, and must be those that pods were made for.
fn unseal(spec: &mut MixNNModelSpec, layers: Option<&Path>) -> Result<(), DesignerError> {
    let Some(from) = spec.layers_from.take() else { return Ok(()) };
    let secret = &from.secret_ref;
    let sealed = |problem: String| DesignerError::Sealed {
        secret: format!("{}, key {}", secret.name, secret.key),
        problem,
    };
    let path = layers.ok_or_else(|| sealed("its file is to be given by --layers".into()))?;
    spec.layers = mixnn_crds::parse_layers(path).map_err(|e| sealed(e.to_string()))?;
    let (wanted, found) = (std::mem::take(&mut spec.layer_counts), spec.layers_by_class());
    if wanted == found {
        return Ok(());
    }
    let text = |counts: &BTreeMap<String, u32>| {
        let all: Vec<_> = counts.iter().map(|(class, n)| format!("{class}: {n}")).collect();
        all.join(", ")
    };
    Err(DesignerError::LayerCounts { wanted: text(&wanted), found: text(&found) })
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

    /// The learning rate of a step, from 1, before the factors of parameter groups.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let training = self.model.training();
        training.optimizer.lr() * training.schedule.factor(step, self.total_steps())
    }

    /// The most samples of a micro-batch; tests use batches of this size.
    pub fn micro_batch_size(&self) -> usize {
        self.batch_size().div_ceil(self.micro_batches())
    }

    /// Steps of an epoch: the last batch may be smaller, but has a sample for every micro-batch.
    pub fn steps_per_epoch(&self) -> u64 {
        let (n, size) = (self.data.train.len() as usize, self.batch_size());
        (n / size + usize::from(n % size >= self.micro_batches())) as u64
    }

    /// The batches of an epoch, from 1, in the order that the owner's secret gives; the first `done`
    /// of them are left out, so that an epoch is taken up where it was left.
    pub fn training_batches(&self, epoch: u32, done: u64) -> Batches {
        let epoch = Epoch {
            number: epoch,
            shuffle_key: self.owner.shuffle_key(),
            augment_key: self.owner.augment_key(),
        };
        let (batch, least) = (self.batch_size(), self.micro_batches());
        let pass = Pass { epoch: Some(epoch), batch, least, skip: done };
        Batches::new(self.data.train.clone(), pass)
    }

    /// The test set in order, in batches of a micro-batch's size.
    pub fn test_batches(&self) -> Batches {
        let pass = Pass { epoch: None, batch: self.micro_batch_size(), least: 1, skip: 0 };
        Batches::new(self.data.test.clone(), pass)
    }

    /// A batch as tensors, in parts.
    ///
    /// # Errors
    /// No memory.
    pub fn cut(&self, batch: &Batch) -> Result<Vec<MicroBatch>, NnError> {
        let data = &self.data.train;
        let part = |range: std::ops::Range<usize>| {
            let of = |size: usize| range.start * size..range.end * size;
            let samples = batch.samples.slice(of(data.sample_len()));
            self.tensors(&samples, &batch.targets.slice(of(data.target_len())))
        };
        micro_batches(batch.len, self.micro_batches()).into_iter().map(part).collect()
    }

    /// A batch as tensors.
    ///
    /// # Errors
    /// No memory.
    pub fn whole(&self, batch: &Batch) -> Result<MicroBatch, NnError> {
        self.tensors(&batch.samples, &batch.targets)
    }

    fn tensors(&self, samples: &Values, targets: &Values) -> Result<MicroBatch, NnError> {
        let sample = self.model.layers()[0].input.sizes();
        let n = samples.len() / self.data.train.sample_len().max(1);
        let inputs = batch_tensor(numbers(samples), n, sample)?;
        let target = match self.model.labels() {
            Labels::Class { .. } => Vec::new(),
            Labels::Tokens { length, .. } => vec![*length],
            Labels::Values(shape) | Labels::Bits(shape) => shape.clone(),
        };
        let labels = batch_tensor(numbers(targets), n, &target)?;
        Ok(MicroBatch { inputs, labels })
    }

    /// What is going to happen.
    pub fn plan(&self, mode: Mode) -> Plan {
        let training = self.model.training();
        Plan {
            layers: self.model.layers().iter().map(|l| l.spec.name.clone()).collect(),
            parameters: self.model.parameter_count() as u64,
            train_samples: self.data.train.len(),
            test_samples: self.data.test.len(),
            epochs: training.epochs,
            steps: self.total_steps(),
            micro_batches: training.micro_batches,
            mode,
        }
    }
}

const fn numbers(values: &Values) -> Numbers<'_> {
    match values {
        Values::F32(v) => Numbers::Real(v.as_slice()),
        Values::I64(v) => Numbers::Whole(v.as_slice()),
    }
}
