//! What can be wrong with a dataset before any file is read.

use super::{ColumnsSpec, DatasetSpec, FilesSpec, TargetSpec, TokenFormat, TokensSpec};
use crate::{ModelError, Shape, limits};

/// Collects problems under a path.
struct Check {
    out: Vec<ModelError>,
}

impl Check {
    fn that(&mut self, ok: bool, field: &str, problem: impl FnOnce() -> String) {
        if !ok {
            self.out.push(ModelError::Dataset { field: field.to_owned(), problem: problem() });
        }
    }

    fn within(&mut self, value: u32, least: u32, most: u32, field: &str) {
        self.that((least..=most).contains(&value), field, || {
            format!("is {value}; it must be from {least} to {most}")
        });
    }

    /// Means and standard deviations: as many as there are places for, all finite, none zero.
    fn scale(&mut self, mean: &[f64], std: &[f64], places: usize, at: &str) {
        for (name, list) in [("mean", mean), ("std", std)] {
            self.that(list.len() <= 1 || list.len() == places, &format!("{at}.{name}"), || {
                format!("has {} numbers; it must have 1 or {places}", list.len())
            });
            let bad = list.iter().find(|v| !v.is_finite() || (name == "std" && **v <= 0.0));
            self.that(bad.is_none(), &format!("{at}.{name}"), || {
                let must = if name == "std" { "above 0" } else { "a number" };
                format!("holds {}; it must be {must}", bad.copied().unwrap_or_default())
            });
        }
    }

    fn files(&mut self, files: &FilesSpec, at: &str) {
        self.that(files.test.is_some() != files.hold_out.is_some(), at, || {
            "needs either `test` or `holdOut`: something to test on".into()
        });
        if let Some(share) = files.hold_out {
            self.that(share > 0.0 && share < 1.0, &format!("{at}.holdOut"), || {
                format!("is {share}; it must be above 0 and below 1")
            });
        }
        for (name, path) in [("train", Some(&files.train)), ("test", files.test.as_ref())] {
            let Some(path) = path else { continue };
            self.that(is_plain(path), &format!("{at}.{name}"), || {
                format!("is '{path}'; it must be a path below the place of the data, without '..'")
            });
        }
    }

    fn columns(&mut self, columns: &ColumnsSpec, at: &str) {
        let features = columns.features.len();
        self.that((features > 0) != columns.text.is_some(), at, || {
            "needs either `features` (columns of numbers) or `text` (a column of text)".into()
        });
        self.scale(&columns.mean, &columns.std, features, at);
        if !columns.shape.is_empty() {
            let elements = columns.shape.iter().map(|&s| s as usize).product::<usize>();
            self.that(elements == features, &format!("{at}.shape"), || {
                format!(
                    "{:?} has {elements} elements; there are {features} features",
                    columns.shape
                )
            });
        }
        if let Some(text) = &columns.text {
            self.within(text.length, 1, 1 << 20, &format!("{at}.text.length"));
        }
        match &columns.target {
            TargetSpec::Class(class) => {
                self.within(class.classes, 2, 1_000_000, &format!("{at}.target.class.classes"));
                let names = class.names.len();
                let fits = names == 0 || names == class.classes as usize;
                self.that(fits, &format!("{at}.target.class.names"), || {
                    format!("has {names} names for {} classes", class.classes)
                });
            }
            TargetSpec::Real(target) | TargetSpec::Bits(target) => {
                self.that(!target.columns.is_empty(), &format!("{at}.target"), || {
                    "has no columns; name at least one".into()
                });
            }
        }
    }

    fn tokens(&mut self, tokens: &TokensSpec) {
        self.files(&tokens.files, "tokens.files");
        self.within(tokens.context, 1, 1 << 20, "tokens.context");
        self.within(tokens.vocabulary_size, 2, limits::SIZE, "tokens.vocabularySize");
        let words = tokens.format == TokenFormat::Words;
        self.that(words == tokens.vocabulary.is_some(), "tokens.vocabulary", || {
            if words {
                "is missing: the format Words needs the file of its words".into()
            } else {
                "goes with the format Words only".into()
            }
        });
        let whole = tokens.format != TokenFormat::Bytes || tokens.vocabulary_size >= 256;
        self.that(whole, "tokens.vocabularySize", || {
            format!("is {}; bytes need 256", tokens.vocabulary_size)
        });
    }
}

/// Relative, and staying below where it starts.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| part != "..")
}

impl DatasetSpec {
    /// The name of the variant in YAML.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Digits(_) => "digits",
            Self::Shapes(_) => "shapes",
            Self::Sentences(_) => "sentences",
            Self::Idx(_) => "idx",
            Self::Images(_) => "images",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
            Self::Tokens(_) => "tokens",
        }
    }

    /// Whether the data are generated: they have no files.
    pub const fn is_generated(&self) -> bool {
        matches!(self, Self::Digits(_) | Self::Shapes(_) | Self::Sentences(_))
    }

    /// All that is wrong, without looking at a file.
    pub fn problems(&self) -> Vec<ModelError> {
        let mut check = Check { out: Vec::new() };
        match self {
            Self::Digits(d) => {
                check.within(d.train, 1, 10_000_000, "digits.train");
                check.within(d.test, 1, 10_000_000, "digits.test");
            }
            Self::Shapes(d) => {
                check.within(d.train, 1, 10_000_000, "shapes.train");
                check.within(d.test, 1, 10_000_000, "shapes.test");
            }
            Self::Sentences(d) => {
                check.within(d.train, 1, 10_000_000, "sentences.train");
                check.within(d.test, 1, 10_000_000, "sentences.test");
                check.within(d.length, 13, 4096, "sentences.length");
            }
            Self::Idx(d) => {
                check.within(d.classes, 2, 256, "idx.classes");
                check.scale(&[d.mean], &[d.std], 1, "idx");
            }
            Self::Images(d) => {
                check.files(&d.files, "images.files");
                check.within(d.classes, 2, 1_000_000, "images.classes");
                for side in d.size {
                    check.within(side, 1, 4096, "images.size");
                }
                check.scale(&d.mean, &d.std, d.channels.count(), "images");
                check.within(d.augment.crop_padding, 0, 1024, "images.augment.cropPadding");
            }
            Self::Csv(d) => {
                check.files(&d.files, "csv.files");
                check.columns(&d.columns, "csv.columns");
                check.that(d.delimiter.len() == 1, "csv.delimiter", || {
                    format!("is '{}'; it must be one ASCII character", d.delimiter)
                });
            }
            Self::Parquet(d) => {
                check.files(&d.files, "parquet.files");
                check.columns(&d.columns, "parquet.columns");
            }
            Self::Tokens(d) => check.tokens(d),
        }
        check.out
    }

    /// Shape of a sample, where the specification alone tells it: not for IDX files, and not for a
    /// column of text whose vocabulary is a file.
    pub fn declared_shape(&self) -> Option<Shape> {
        let shape = match self {
            Self::Digits(_) => Shape::new([1, 28, 28]),
            Self::Shapes(_) => Shape::new([3, 32, 32]),
            Self::Sentences(d) => Shape::tokens(d.length as usize, 69),
            Self::Idx(_) => return None,
            Self::Images(d) => {
                Shape::new([d.channels.count(), d.size[0] as usize, d.size[1] as usize])
            }
            Self::Csv(d) => return columns(&d.columns),
            Self::Parquet(d) => return columns(&d.columns),
            Self::Tokens(d) => Shape::tokens(d.context as usize, d.vocabulary_size as usize),
        };
        shape.ok()
    }
}

fn columns(columns: &ColumnsSpec) -> Option<Shape> {
    let shape = match &columns.text {
        Some(text) if text.vocabulary.is_some() => return None,
        Some(text) => Shape::tokens(text.length as usize, 256),
        None if columns.shape.is_empty() => Shape::new([columns.features.len()]),
        None => Shape::new(columns.shape.iter().map(|&s| s as usize).collect::<Vec<_>>()),
    };
    shape.ok()
}
