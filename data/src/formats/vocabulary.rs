//! Words and their numbers.

use crate::DataError;
use crate::store::Store;
use std::collections::HashMap;

/// The largest file of a vocabulary.
const MAX_FILE: u64 = 256 << 20;

/// How text becomes tokens.
pub(crate) enum Vocabulary {
    /// Each byte of UTF-8 is a token.
    Bytes,
    /// Words between white space. Those that are missing get `unknown`.
    Words {
        /// From word to id.
        ids: HashMap<String, u32>,
        /// Id of words that are not there.
        unknown: u32,
    },
}

impl Vocabulary {
    /// Bytes, or the words of a file for columns of text: line 0 is for what is missing, line 1 for
    /// what is unknown.
    pub(crate) fn open(store: &Store, file: Option<&str>) -> Result<Self, DataError> {
        file.map_or(Ok(Self::Bytes), |file| Self::words(store, file, 1))
    }

    /// The words of a file, one a line.
    pub(crate) fn words(store: &Store, file: &str, unknown: u32) -> Result<Self, DataError> {
        let path = store.full_name(file);
        let bytes = store.read_all(file, MAX_FILE)?;
        let record = |line: usize, problem: String| DataError::Record {
            path: path.clone(),
            record: format!("line {}", line + 1),
            problem,
        };
        let text = String::from_utf8(bytes).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            record(before.split(|&b| b == b'\n').count() - 1, "is not UTF-8".into())
        })?;
        let mut ids = HashMap::new();
        for (line, word) in text.lines().enumerate() {
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(record(line, format!("is {word:?}; it must be one word")));
            }
            if let Some(first) = ids.insert(word.to_owned(), line as u32) {
                return Err(record(line, format!("'{word}' stands in line {} already", first + 1)));
            }
        }
        if ids.len() <= unknown as usize + 1 {
            let problem = format!("has {} words; it must have at least {}", ids.len(), unknown + 2);
            return Err(DataError::Format { path, problem });
        }
        Ok(Self::Words { ids, unknown })
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Words { ids, .. } => ids.len(),
        }
    }

    /// The tokens of a text.
    pub(crate) fn ids<'a>(&'a self, text: &'a str) -> Box<dyn Iterator<Item = u32> + 'a> {
        match self {
            Self::Bytes => Box::new(text.bytes().map(u32::from)),
            Self::Words { .. } => Box::new(text.split_whitespace().map(|word| self.id(word))),
        }
    }

    /// The token of one word.
    pub(crate) fn id(&self, word: &str) -> u32 {
        match self {
            Self::Bytes => 0,
            Self::Words { ids, unknown } => ids.get(word).copied().unwrap_or(*unknown),
        }
    }
}
