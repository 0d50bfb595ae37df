//! From a model's `dataset` to samples in memory.

use crate::batch::Normalisation;
use crate::{DataError, digits, idx};
use mixnn_model::{DatasetSpec, IdxSpec, Labels, Shape};
use std::path::Path;
use std::sync::Arc;

/// To train on, or to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To test on: never seen in training.
    Test,
}

/// Grey pictures of one size with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Height and width.
    pub size: [usize; 2],
    /// Samples one after the other, row by row, 0 to 255.
    pub pixels: Vec<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

impl Dataset {
    /// How many samples there are.
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one sample.
    pub const fn sample_len(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

/// All data of a model.
pub struct Data {
    /// To train on.
    pub train: Arc<Dataset>,
    /// To test on.
    pub test: Arc<Dataset>,
    /// How pixels become numbers.
    pub norm: Normalisation,
    /// How many classes there are.
    pub classes: usize,
}

impl Data {
    /// Generates or reads the data that a model asks for.
    ///
    /// # Errors
    /// A file is missing or wrong.
    pub fn open(spec: &DatasetSpec, folder: Option<&Path>) -> Result<Self, DataError> {
        match spec {
            DatasetSpec::Digits(d) => Ok(Self {
                train: Arc::new(digits::generate(d.seed, Split::Train, d.train as usize)),
                test: Arc::new(digits::generate(d.seed, Split::Test, d.test as usize)),
                norm: digits::NORMALISATION,
                classes: digits::CLASSES,
            }),
            DatasetSpec::Idx(i) => Self::read(i, folder.ok_or(DataError::NoFolder)?),
            other => {
                Err(DataError::Mismatch(format!("dataset {} cannot be read yet", other.name())))
            }
        }
    }

    fn read(spec: &IdxSpec, folder: &Path) -> Result<Self, DataError> {
        let train = read_pair(folder, idx::TRAIN_IMAGES, idx::TRAIN_LABELS, spec.classes)?;
        let test = read_pair(folder, idx::TEST_IMAGES, idx::TEST_LABELS, spec.classes)?;
        if train.size != test.size {
            let (a, b) = (train.size, test.size);
            return Err(DataError::Mismatch(format!(
                "training images are {a:?}, test images {b:?}"
            )));
        }
        let norm = Normalisation { mean: spec.mean as f32, std: spec.std as f32 };
        Ok(Self {
            train: Arc::new(train),
            test: Arc::new(test),
            norm,
            classes: spec.classes as usize,
        })
    }

    /// What samples are labelled with.
    pub const fn labels(&self) -> Labels {
        Labels::Class { classes: self.classes }
    }

    /// Shape of one sample: `[1, height, width]`.
    ///
    /// # Errors
    /// The data are empty: the reader lets none such through.
    pub fn sample_shape(&self) -> Result<Shape, DataError> {
        let [height, width] = self.train.size;
        Shape::new([1, height, width]).map_err(|e| DataError::Mismatch(e.to_string()))
    }
}

fn read_pair(
    folder: &Path,
    images: &'static str,
    labels: &'static str,
    classes: u32,
) -> Result<Dataset, DataError> {
    let (images, labels) = (idx::find(folder, images)?, idx::find(folder, labels)?);
    let pictures = idx::read_images(&images)?;
    let classes_of = idx::read_labels(&labels)?;
    let size = [pictures.height as usize, pictures.width as usize];
    let count = pictures.pixels.len() / (size[0] * size[1]);
    let problem = if count != classes_of.len() {
        Some(format!("{} labels for the {count} images of {}", classes_of.len(), images.display()))
    } else if count == 0 {
        Some("no samples".to_owned())
    } else {
        let bad = classes_of.iter().position(|&l| u32::from(l) >= classes);
        bad.map(|at| format!("label {at} is {}; the model says {classes} classes", classes_of[at]))
    };
    match problem {
        Some(problem) => Err(DataError::Format { path: labels, problem }),
        None => Ok(Dataset { size, pixels: pictures.pixels, labels: classes_of }),
    }
}
