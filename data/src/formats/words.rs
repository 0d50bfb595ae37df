//! Text in UTF-8 whose words are tokens: scanned once, then read block by block.

use crate::block::{Block, BlockSize, Source, per_block};
use crate::formats::tokens::{too_short, windows};
use crate::formats::vocabulary::Vocabulary;
use crate::store::{Entry, Store};
use crate::{DataError, Progress, Reading};
use mixnn_model::TokensSpec;
use std::io::Read;
use std::sync::Arc;

/// The longest word, in bytes.
const MAX_WORD: usize = 64 << 10;
/// Bytes taken at a time.
const PIECE: usize = 256 << 10;

/// The words of text files.
pub(crate) struct Words {
    store: Arc<Store>,
    files: Vec<Entry>,
    vocabulary: Vocabulary,
    /// File and byte of the first word, of each block.
    places: Vec<(usize, u64)>,
    blocks: Vec<BlockSize>,
    context: usize,
}

impl Words {
    /// Reads all files once.
    pub(crate) fn open(
        store: &Arc<Store>,
        name: &str,
        spec: &TokensSpec,
        progress: Progress<'_>,
    ) -> Result<Self, DataError> {
        let file = spec.vocabulary.as_deref().unwrap_or_default();
        let vocabulary = Vocabulary::words(store, file, 0)?;
        if vocabulary.len() != spec.vocabulary_size as usize {
            let problem = format!(
                "has {} words; the model's vocabularySize is {}",
                vocabulary.len(),
                spec.vocabulary_size
            );
            return Err(DataError::Format { path: store.full_name(file), problem });
        }
        let files = store.find(name, &[".txt"])?;
        let total = files.iter().map(|f| f.size).sum();
        let mut reading = Reading { what: name.to_owned(), done: 0, total };
        let (mut places, mut blocks) = (Vec::new(), Vec::new());
        let context = spec.context as usize;
        let samples_of_block = per_block(8 * context);
        for (number, entry) in files.iter().enumerate() {
            let (before, words_of_block) = (reading.done, (samples_of_block * context) as u64);
            let (mut count, mut starts) = (0_u64, Vec::new());
            each_word(store, entry, 0, &mut |at, _| {
                if count.is_multiple_of(words_of_block) {
                    starts.push(at);
                    reading.done = before + at;
                    progress(&reading);
                }
                count += 1;
                true
            })?;
            reading.done = before + entry.size;
            progress(&reading);
            let samples = count.saturating_sub(1) / context as u64;
            if samples == 0 {
                let problem = too_short(count, context as u64);
                return Err(DataError::Format { path: store.full_name(&entry.name), problem });
            }
            let sizes = crate::block::even_blocks(samples, samples_of_block, 8 * context as u64);
            places.extend(starts.iter().take(sizes.len()).map(|&at| (number, at)));
            blocks.extend(sizes);
        }
        Ok(Self { store: Arc::clone(store), files, vocabulary, places, blocks, context })
    }
}

impl Source for Words {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let (file, start) = self.places[block];
        let samples = self.blocks[block].samples as usize;
        let wanted = samples * self.context + 1;
        let (entry, mut ids) = (&self.files[file], Vec::with_capacity(wanted));
        each_word(&self.store, entry, start, &mut |_, word| {
            ids.push(self.vocabulary.id(word));
            ids.len() < wanted
        })?;
        if ids.len() < wanted {
            let problem = "has fewer words than when it was opened: it has changed".to_owned();
            return Err(DataError::Format { path: self.store.full_name(&entry.name), problem });
        }
        Ok(Arc::new(windows(&ids, samples, self.context)))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}

/// Gives each word from byte `start` on, with its place, until `take` has enough.
fn each_word(
    store: &Arc<Store>,
    entry: &Entry,
    start: u64,
    take: &mut dyn FnMut(u64, &str) -> bool,
) -> Result<(), DataError> {
    let path = || store.full_name(&entry.name);
    let record = |at: u64, problem: String| DataError::Record {
        path: path(),
        record: format!("byte {at}"),
        problem,
    };
    let mut stream = store.stream(entry, start..entry.size);
    let (mut rest, mut at, mut piece) = (Vec::<u8>::new(), start, vec![0; PIECE]);
    loop {
        let n = stream.read(&mut piece).map_err(|source| DataError::Io { path: path(), source })?;
        rest.extend_from_slice(&piece[..n]);
        // The last word may go on in the next piece. White space other than ASCII's divides words
        // within a part only, and parts are cut at ASCII's.
        let end = if n == 0 {
            rest.len()
        } else {
            rest.iter().rposition(u8::is_ascii_whitespace).map_or(0, |space| space + 1)
        };
        if end == 0 && rest.len() > MAX_WORD {
            return Err(record(at, format!("a word is longer than {MAX_WORD} bytes")));
        }
        let text = std::str::from_utf8(&rest[..end])
            .map_err(|e| record(at + e.valid_up_to() as u64, "is not UTF-8".into()))?;
        for word in text.split_whitespace() {
            let offset = word.as_ptr() as usize - text.as_ptr() as usize;
            if !take(at + offset as u64, word) {
                return Ok(());
            }
        }
        if n == 0 {
            return Ok(());
        }
        rest.drain(..end);
        at += end as u64;
    }
}
