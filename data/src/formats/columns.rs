//! What the columns of a table mean: cells to samples and targets, the same for CSV and Parquet.

use crate::DataError;
use crate::block::{Block, BlockSize, Raw};
use crate::dataset::Kinds;
use crate::formats::vocabulary::Vocabulary;
use crate::store::Store;
use mixnn_model::{ClassTarget, ColumnsSpec, TargetSpec};

/// Where the columns that are read lie in a table, in the order they are read.
pub(crate) struct Columns {
    spec: ColumnsSpec,
    /// Place in the table of each column of the sample, then of the target.
    pub(crate) places: Vec<usize>,
    /// Their names.
    pub(crate) names: Vec<String>,
    text: Option<Vocabulary>,
}

/// One cell, as a file gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    /// Text: a number may be written in it.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// Nothing.
    Null,
}

impl Columns {
    /// Finds the columns in a table's header.
    pub(crate) fn new(
        spec: &ColumnsSpec,
        header: &[String],
        store: &Store,
    ) -> Result<Self, Problem> {
        let mut names: Vec<String> = match &spec.text {
            Some(text) => vec![text.column.clone()],
            None => spec.features.clone(),
        };
        match &spec.target {
            TargetSpec::Class(class) => names.push(class.column.clone()),
            TargetSpec::Real(t) | TargetSpec::Bits(t) => names.extend(t.columns.iter().cloned()),
        }
        let place = |name: &String| {
            header.iter().position(|h| h == name).ok_or_else(|| {
                let shown: Vec<&str> = header.iter().take(16).map(String::as_str).collect();
                let more = if header.len() > 16 { " .." } else { "" };
                Problem::Text(format!("has no column '{name}'; it has {}{more}", shown.join(", ")))
            })
        };
        let places = names.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let text = match &spec.text {
            Some(text) => Some(Vocabulary::open(store, text.vocabulary.as_deref())?),
            None => None,
        };
        Ok(Self { spec: spec.clone(), places, names, text })
    }

    /// How many of the columns make the sample.
    pub(crate) fn features(&self) -> usize {
        if self.spec.text.is_some() { 1 } else { self.spec.features.len() }
    }

    pub(crate) fn kinds(&self) -> Kinds {
        let (real_targets, target_len) = match &self.spec.target {
            TargetSpec::Class(_) => (false, 1),
            TargetSpec::Real(t) | TargetSpec::Bits(t) => (true, t.columns.len()),
        };
        Kinds { real_samples: self.text.is_none(), real_targets, target_len }
    }

    /// Tokens there are, if samples are text.
    pub(crate) fn vocabulary_len(&self) -> Option<usize> {
        self.text.as_ref().map(Vocabulary::len)
    }

    /// Bytes of memory of a row.
    pub(crate) fn row_bytes(&self) -> u64 {
        let sample = self.spec.text.as_ref().map_or(self.features(), |t| t.length as usize);
        4 * (sample + self.kinds().target_len) as u64
    }

    pub(crate) fn size(&self, rows: u32) -> BlockSize {
        BlockSize { samples: rows, bytes: u64::from(rows) * self.row_bytes() }
    }

    /// No rows yet.
    pub(crate) fn empty(&self, rows: usize) -> Block {
        let room = rows * self.row_bytes() as usize / 4;
        let of = |real| {
            if real {
                Raw::F32(Vec::with_capacity(room))
            } else {
                Raw::U32(Vec::with_capacity(room))
            }
        };
        let kinds = self.kinds();
        Block { samples: of(kinds.real_samples), targets: of(kinds.real_targets) }
    }

    /// Adds the cell of column `at` (in the order of `names`). Cells come row by row.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn push(&self, at: usize, cell: Cell<'_>, out: &mut Block) -> Result<(), String> {
        let is_sample = at < self.features();
        if is_sample {
            return match (&self.text, &mut out.samples) {
                (Some(vocabulary), Raw::U32(ids)) => self.push_text(vocabulary, cell, ids),
                (None, Raw::F32(values)) => number(cell).map(|v| values.push(v)),
                (_, raw) => unreachable!("{raw:?}"),
            };
        }
        match (&self.spec.target, &mut out.targets) {
            (TargetSpec::Class(spec), Raw::U32(ids)) => class(spec, cell).map(|id| ids.push(id)),
            (TargetSpec::Real(_), Raw::F32(values)) => number(cell).map(|v| values.push(v)),
            (TargetSpec::Bits(_), Raw::F32(values)) => bit(cell).map(|v| values.push(v)),
            (_, raw) => unreachable!("{raw:?}"),
        }
    }

    fn push_text(
        &self,
        words: &Vocabulary,
        cell: Cell<'_>,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        let Cell::Text(text) = cell else {
            return Err(format!("is {}; it must be text", shown(cell)));
        };
        let length = self.spec.text.as_ref().map_or(0, |t| t.length as usize);
        let start = ids.len();
        ids.extend(words.ids(text).take(length));
        ids.resize(start + length, 0);
        Ok(())
    }
}

/// Why columns do not fit a table.
pub(crate) enum Problem {
    /// Words that follow the table's name.
    Text(String),
    /// Another file is at fault.
    Data(DataError),
}

impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl Problem {
    pub(crate) fn of(self, path: std::path::PathBuf) -> DataError {
        match self {
            Self::Text(problem) => DataError::Format { path, problem },
            Self::Data(error) => error,
        }
    }
}

fn shown(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text("") | Cell::Null => "empty".into(),
        Cell::Text(text) => {
            let short: String = text.chars().take(40).collect();
            format!("{short:?}")
        }
        Cell::Number(number) => number.to_string(),
    }
}

fn number(cell: Cell<'_>) -> Result<f32, String> {
    let value = match cell {
        Cell::Text(text) => text.trim().parse().ok(),
        Cell::Number(number) => Some(number as f32),
        Cell::Null => None,
    };
    value
        .filter(|v| v.is_finite())
        .ok_or_else(|| format!("is {}; it must be a number", shown(cell)))
}

fn bit(cell: Cell<'_>) -> Result<f32, String> {
    let value = number(cell)?;
    if [0.0, 1.0].contains(&value) {
        Ok(value)
    } else {
        Err(format!("is {value}; it must be 0 or 1"))
    }
}

fn class(spec: &ClassTarget, cell: Cell<'_>) -> Result<u32, String> {
    if !spec.names.is_empty() {
        let found = match cell {
            Cell::Text(text) => spec.names.iter().position(|n| n == text.trim()),
            Cell::Number(_) | Cell::Null => None,
        };
        let names = || {
            let shown: Vec<&str> = spec.names.iter().take(8).map(String::as_str).collect();
            format!("is {}; it must be one of {}", self::shown(cell), shown.join(", "))
        };
        return found.map(|at| at as u32).ok_or_else(names);
    }
    let id = match cell {
        Cell::Text(text) => text.trim().parse::<u32>().ok(),
        Cell::Number(n) if n.fract() == 0.0 && (0.0..4e9).contains(&n) => Some(n as u32),
        Cell::Number(_) | Cell::Null => None,
    };
    id.filter(|&id| id < spec.classes).ok_or_else(|| {
        format!("is {}; it must be a whole number from 0 to {}", shown(cell), spec.classes - 1)
    })
}
