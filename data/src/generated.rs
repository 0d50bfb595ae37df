//! Generated data sets.

use crate::block::{InMemory, per_block};
use crate::dataset::{Dataset, Kinds, Split};
use crate::open::Data;
use crate::transform::{Normalisation, Transform};
use crate::{digits, sentences, shapes};
use mixnn_model::{DatasetSpec, Labels, SentenceTask, SentencesSpec};
use std::sync::Arc;

/// Generates the data set, if it is a generated one.
pub(crate) fn generate(spec: &DatasetSpec) -> Option<Data> {
    match spec {
        DatasetSpec::Digits(d) => {
            let shape = vec![1, digits::SIDE, digits::SIDE];
            Some(pictures(
                [d.train, d.test],
                shape,
                digits::NORMALISATION,
                digits::CLASSES,
                |split, n| {
                    let made = digits::generate(d.seed, split, n);
                    (made.pixels, made.labels)
                },
            ))
        }
        DatasetSpec::Shapes(s) => {
            let shape = vec![shapes::CHANNELS, shapes::SIDE, shapes::SIDE];
            Some(pictures(
                [s.train, s.test],
                shape,
                shapes::NORMALISATION,
                shapes::CLASSES,
                |split, n| {
                    let made = shapes::generate(s.seed, split, n);
                    (made.pixels, made.labels)
                },
            ))
        }
        DatasetSpec::Sentences(s) => Some(text(s)),
        _ => None,
    }
}

fn pictures(
    [train, test]: [u32; 2],
    shape: Vec<usize>,
    norm: Normalisation,
    classes: usize,
    make: impl Fn(Split, usize) -> (Vec<u8>, Vec<u8>),
) -> Data {
    let sample = shape.iter().product();
    let of = |split, n: u32| {
        let (pixels, labels) = make(split, n as usize);
        let source = InMemory::pictures(&pixels, &labels, sample, per_block(sample));
        let mut transform = Transform::none(shape.clone());
        transform.norms = vec![norm];
        Arc::new(Dataset::new(Arc::new(source), transform, Kinds::CLASSES))
    };
    Data {
        train: of(Split::Train, train),
        test: of(Split::Test, test),
        vocabulary: None,
        labels: Labels::Class { classes },
        class_names: Vec::new(),
    }
}

fn text(spec: &SentencesSpec) -> Data {
    let length = spec.length as usize;
    let (labels, target_len) = match spec.task {
        SentenceTask::Topic => (Labels::Class { classes: sentences::TOPICS }, 1),
        SentenceTask::NextToken => {
            (Labels::Tokens { length, vocabulary: sentences::VOCABULARY }, length)
        }
    };
    let kinds = Kinds { real_samples: false, real_targets: false, target_len };
    let of = |split, n: u32| {
        let (tokens, targets) = match spec.task {
            SentenceTask::Topic => sentences::topics(spec.seed, split, n as usize, length),
            SentenceTask::NextToken => sentences::running(spec.seed, split, n as usize, length),
        };
        let source =
            InMemory::tokens(&tokens, &targets, [length, target_len], per_block(4 * length));
        Arc::new(Dataset::new(Arc::new(source), Transform::none(vec![length]), kinds))
    };
    Data {
        train: of(Split::Train, spec.train),
        test: of(Split::Test, spec.test),
        vocabulary: Some(sentences::VOCABULARY),
        labels,
        class_names: match spec.task {
            SentenceTask::Topic => sentences::TOPIC_NAMES.map(str::to_owned).into(),
            SentenceTask::NextToken => Vec::new(),
        },
    }
}
