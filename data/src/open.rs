//! From a model's `dataset` to data sets that can be read.

use crate::block::{Kept, Source};
use crate::dataset::{Dataset, Kinds};
use crate::formats::columns::Columns;
use crate::formats::csv::Csv;
use crate::formats::images::Pictures;
use crate::formats::parquet::Parquet;
use crate::formats::tokens::Tokens;
use crate::formats::words::Words;
use crate::generated::generate;
use crate::split::Held;
use crate::store::Store;
use crate::transform::{Normalisation, Transform};
use crate::{DataError, Place, digits, idx, sentences, shapes};
use mixnn_model::{
    AugmentSpec, ColumnsSpec, CsvSpec, DataSource, DatasetSpec, FilesSpec, IdxSpec, ImagesSpec,
    Labels, ParquetSpec, SentenceTask, Shape, TargetSpec, TokenFormat, TokensSpec, TrainingSpec,
};
use std::sync::Arc;

/// What has been read of the files, when all of them must be looked at before training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which files.
    pub what: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Is told of the progress of reading.
pub type Progress<'a> = &'a mut dyn FnMut(&Reading);

/// All data of a model.
pub struct Data {
    /// To train on.
    pub train: Arc<Dataset>,
    /// To test on.
    pub test: Arc<Dataset>,
    /// How many different tokens samples hold, if they are made of tokens.
    pub vocabulary: Option<usize>,
    /// What samples are labelled with.
    pub(crate) labels: Labels,
    /// Names of the classes, if they have any.
    pub class_names: Vec<String>,
}

/// Where the files of a model are: what was given on the command line stands before the specification.
///
/// # Errors
/// Neither says.
pub fn place_of(
    training: &TrainingSpec,
    given: Option<&Place>,
) -> Result<Option<Place>, DataError> {
    match (given, &training.data_from) {
        (Some(place), _) => Ok(Some(place.clone())),
        (None, Some(DataSource::ObjectStore(store))) => {
            let problem =
                |e| DataError::Mismatch(format!("training.dataFrom.objectStore.url: {e}"));
            store.url.parse().map(Some).map_err(problem)
        }
        (None, Some(DataSource::PersistentVolumeClaim(claim))) => {
            Err(DataError::Mismatch(format!(
                "the data are on the volume {}, which is mounted in a cluster only: here, give their folder with --data DIR",
                claim.claim_name
            )))
        }
        (None, None) => Ok(None),
    }
}

/// The shape of a sample and what it is labelled with, where the specification alone says so.
pub fn declared(spec: &DatasetSpec) -> Option<(Shape, Labels)> {
    let labels = match spec {
        DatasetSpec::Digits(_) => Labels::Class { classes: digits::CLASSES },
        DatasetSpec::Shapes(_) => Labels::Class { classes: shapes::CLASSES },
        DatasetSpec::Sentences(s) => match s.task {
            SentenceTask::Topic => Labels::Class { classes: sentences::TOPICS },
            SentenceTask::NextToken => {
                Labels::Tokens { length: s.length as usize, vocabulary: sentences::VOCABULARY }
            }
        },
        DatasetSpec::Idx(_) => return None,
        DatasetSpec::Images(images) => Labels::Class { classes: images.classes as usize },
        DatasetSpec::Csv(csv) => column_labels(&csv.columns),
        DatasetSpec::Parquet(parquet) => column_labels(&parquet.columns),
        DatasetSpec::Tokens(tokens) => Labels::Tokens {
            length: tokens.context as usize,
            vocabulary: tokens.vocabulary_size as usize,
        },
    };
    Some((spec.declared_shape()?, labels))
}

fn column_labels(spec: &ColumnsSpec) -> Labels {
    match &spec.target {
        TargetSpec::Class(class) => Labels::Class { classes: class.classes as usize },
        TargetSpec::Real(t) => Labels::Values(vec![t.columns.len()]),
        TargetSpec::Bits(t) => Labels::Bits(vec![t.columns.len()]),
    }
}

impl Data {
    /// Shape of one sample.
    ///
    /// # Errors
    /// The samples are too large.
    pub fn sample_shape(&self) -> Result<Shape, DataError> {
        let sizes = self.train.shape();
        let shape = match self.vocabulary {
            Some(vocabulary) => Shape::tokens(sizes.iter().product(), vocabulary),
            None => Shape::new(sizes),
        };
        shape.map_err(|e| DataError::Mismatch(e.to_string()))
    }

    /// What samples are labelled with.
    pub fn labels(&self) -> Labels {
        self.labels.clone()
    }

    /// Generates the data that a model asks for, or opens their files: everything that can be told
    /// without training is told now.
    ///
    /// # Errors
    /// A file is missing or wrong.
    pub fn open(
        spec: &DatasetSpec,
        place: Option<&Place>,
        progress: Progress<'_>,
    ) -> Result<Self, DataError> {
        if let Some(data) = generate(spec) {
            return Ok(data);
        }
        let store = Store::open(place.ok_or(DataError::NoPlace(spec.name()))?)?;
        match spec {
            DatasetSpec::Digits(_) | DatasetSpec::Shapes(_) | DatasetSpec::Sentences(_) => {
                Err(DataError::Mismatch("generated data have no files".into()))
            }
            DatasetSpec::Idx(idx) => of_idx(&store, idx),
            DatasetSpec::Images(images) => of_images(&store, images),
            DatasetSpec::Csv(csv) => of_csv(&store, csv, progress),
            DatasetSpec::Parquet(parquet) => of_parquet(&store, parquet),
            DatasetSpec::Tokens(tokens) => of_tokens(&store, tokens, progress),
        }
    }
}

fn of_idx(store: &Arc<Store>, spec: &IdxSpec) -> Result<Data, DataError> {
    let open = |images, labels| crate::formats::idx::open(store, images, labels, spec.classes);
    let train = open(idx::TRAIN_IMAGES, idx::TRAIN_LABELS)?;
    let test = open(idx::TEST_IMAGES, idx::TEST_LABELS)?;
    if train.size != test.size {
        let (a, b) = (train.size, test.size);
        return Err(DataError::Mismatch(format!("training images are {a:?}, test images {b:?}")));
    }
    let [height, width] = train.size;
    let mut transform = Transform::none(vec![1, height, width]);
    transform.norms = vec![Normalisation { mean: spec.mean as f32, std: spec.std as f32 }];
    let test = Dataset::new(test.source, transform.clone(), Kinds::CLASSES);
    transform.augment = spec.augment.clone();
    Ok(Data {
        train: Arc::new(Dataset::new(train.source, transform, Kinds::CLASSES)),
        test: Arc::new(test),
        vocabulary: None,
        labels: Labels::Class { classes: spec.classes as usize },
        class_names: Vec::new(),
    })
}

/// A source, and what belongs to all samples of it.
struct Opened {
    source: Box<dyn Source>,
    transform: Transform,
    kinds: Kinds,
}

/// Opens the files to train on and those to test on, or holds out a share.
fn pair(
    files: &FilesSpec,
    augment: &AugmentSpec,
    open: &mut dyn FnMut(&str) -> Result<Opened, DataError>,
) -> Result<(Arc<Dataset>, Arc<Dataset>), DataError> {
    let mut dataset = |name: &str, augment: AugmentSpec| -> Result<Dataset, DataError> {
        let Opened { source, mut transform, kinds } = open(name)?;
        transform.augment = augment;
        Ok(Dataset::new(Kept::small(source), transform, kinds))
    };
    let train = dataset(&files.train, augment.clone())?;
    if let Some(test) = &files.test {
        let test = dataset(test, AugmentSpec::default())?;
        return Ok((Arc::new(train), Arc::new(test)));
    }
    if train.len() < 2 {
        let problem = format!("{}: one sample only; none can be held out", files.train);
        return Err(DataError::Mismatch(problem));
    }
    let share = files.hold_out.unwrap_or(0.1);
    let held = Held::draw(files.hold_out_seed, share, train.len());
    let (train, test) = train.split(held);
    Ok((Arc::new(train), Arc::new(test)))
}

fn of_images(store: &Arc<Store>, spec: &ImagesSpec) -> Result<Data, DataError> {
    let mut names: Option<Vec<String>> = None;
    let mut open = |folder: &str| {
        let (pictures, found) = Pictures::open(store, folder, spec)?;
        let first = names.get_or_insert_with(|| found.clone());
        if *first != found {
            let problem = format!("has the classes {found:?}; the training folder has {first:?}");
            return Err(DataError::Format { path: store.full_name(folder), problem });
        }
        let [height, width] = spec.size.map(|s| s as usize);
        let mut transform = Transform::none(vec![spec.channels.count(), height, width]);
        transform.norms = Transform::norms(&spec.mean, &spec.std);
        Ok(Opened { source: Box::new(pictures), transform, kinds: Kinds::CLASSES })
    };
    let (train, test) = pair(&spec.files, &spec.augment, &mut open)?;
    Ok(Data {
        train,
        test,
        vocabulary: None,
        labels: Labels::Class { classes: spec.classes as usize },
        class_names: names.unwrap_or_default(),
    })
}

fn of_csv(store: &Arc<Store>, spec: &CsvSpec, progress: Progress<'_>) -> Result<Data, DataError> {
    let mut vocabulary = None;
    let mut open = |name: &str| {
        let csv = Csv::open(store, name, spec, progress)?;
        vocabulary = csv.columns().vocabulary_len();
        let (transform, kinds) = table(csv.columns(), &spec.columns);
        Ok(Opened { source: Box::new(csv), transform, kinds })
    };
    let (train, test) = pair(&spec.files, &AugmentSpec::default(), &mut open)?;
    Ok(of_table(train, test, vocabulary, &spec.columns))
}

fn of_parquet(store: &Arc<Store>, spec: &ParquetSpec) -> Result<Data, DataError> {
    let mut vocabulary = None;
    let mut open = |name: &str| {
        let parquet = Parquet::open(store, name, spec)?;
        vocabulary = parquet.columns().vocabulary_len();
        let (transform, kinds) = table(parquet.columns(), &spec.columns);
        Ok(Opened { source: Box::new(parquet), transform, kinds })
    };
    let (train, test) = pair(&spec.files, &AugmentSpec::default(), &mut open)?;
    Ok(of_table(train, test, vocabulary, &spec.columns))
}

fn table(columns: &Columns, spec: &ColumnsSpec) -> (Transform, Kinds) {
    let shape = match &spec.text {
        Some(text) => vec![text.length as usize],
        None if spec.shape.is_empty() => vec![spec.features.len()],
        None => spec.shape.iter().map(|&s| s as usize).collect(),
    };
    let mut transform = Transform::none(shape);
    transform.norms = Transform::norms(&spec.mean, &spec.std);
    (transform, columns.kinds())
}

fn of_table(
    train: Arc<Dataset>,
    test: Arc<Dataset>,
    vocabulary: Option<usize>,
    spec: &ColumnsSpec,
) -> Data {
    let class_names = match &spec.target {
        TargetSpec::Class(class) => class.names.clone(),
        TargetSpec::Real(_) | TargetSpec::Bits(_) => Vec::new(),
    };
    Data { train, test, vocabulary, labels: column_labels(spec), class_names }
}

fn of_tokens(
    store: &Arc<Store>,
    spec: &TokensSpec,
    progress: Progress<'_>,
) -> Result<Data, DataError> {
    let context = spec.context as usize;
    let kinds = Kinds { real_samples: false, real_targets: false, target_len: context };
    let mut open = |name: &str| {
        let source: Box<dyn Source> = match spec.format {
            TokenFormat::Words => Box::new(Words::open(store, name, spec, progress)?),
            _ => Box::new(Tokens::open(store, name, spec)?),
        };
        Ok(Opened { source, transform: Transform::none(vec![context]), kinds })
    };
    let (train, test) = pair(&spec.files, &AugmentSpec::default(), &mut open)?;
    let size = spec.vocabulary_size as usize;
    Ok(Data {
        train,
        test,
        vocabulary: Some(size),
        labels: Labels::Tokens { length: context, vocabulary: size },
        class_names: Vec::new(),
    })
}
