//! Files of tokens of one width: bytes, 16 or 32 bits, NumPy arrays. Read in pieces by position.

use crate::DataError;
use crate::block::{Block, BlockSize, Raw, Source, even_blocks, per_block};
use crate::formats::npy;
use crate::store::{Entry, Store};
use mixnn_model::{TokenFormat, TokensSpec};
use std::sync::Arc;

/// Runs of `context` tokens, each with the tokens one further as targets.
pub(crate) struct Tokens {
    store: Arc<Store>,
    files: Vec<File>,
    /// File and first sample in it, of each block.
    places: Vec<(usize, u64)>,
    blocks: Vec<BlockSize>,
    context: u64,
    vocabulary: u32,
}

struct File {
    entry: Entry,
    start: u64,
    width: u64,
    signed: bool,
}

impl Tokens {
    /// Looks at the sizes of the files, and the headers of those that have one.
    pub(crate) fn open(
        store: &Arc<Store>,
        name: &str,
        spec: &TokensSpec,
    ) -> Result<Self, DataError> {
        let (endings, width): (&[&str], _) = match spec.format {
            TokenFormat::U16 => (&[".bin", ".u16"], 2),
            TokenFormat::U32 => (&[".bin", ".u32"], 4),
            TokenFormat::Npy => (&[".npy"], 0),
            TokenFormat::Bytes | TokenFormat::Words => (&[], 1),
        };
        let context = u64::from(spec.context);
        let samples_of_block = per_block(8 * spec.context as usize);
        let (mut files, mut places, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        for entry in store.find(name, endings)? {
            let format =
                |problem| DataError::Format { path: store.full_name(&entry.name), problem };
            let (file, count) = if width == 0 {
                let head = store.read(&entry.name, 0..entry.size.min(npy::MOST as u64))?;
                let header = npy::parse(&head).map_err(format)?;
                let end = header.count.checked_mul(header.width).map(|n| n + header.start);
                if end != Some(entry.size) {
                    let (n, w, size) = (header.count, header.width, entry.size);
                    return Err(format(format!(
                        "promises {n} numbers of {w} bytes; the file has {size} bytes: it is cut short or goes on too long"
                    )));
                }
                let npy::Header { start, width, signed, count } = header;
                (File { entry: entry.clone(), start, width, signed }, count)
            } else {
                if !entry.size.is_multiple_of(width) {
                    let size = entry.size;
                    return Err(format(format!("has {size} bytes, no multiple of {width}")));
                }
                (File { entry: entry.clone(), start: 0, width, signed: false }, entry.size / width)
            };
            let samples = count.saturating_sub(1) / context;
            if samples == 0 {
                return Err(format(too_short(count, context)));
            }
            let sizes = even_blocks(samples, samples_of_block, 8 * context);
            let number = files.len();
            places.extend((0..sizes.len()).map(|i| (number, (i * samples_of_block) as u64)));
            blocks.extend(sizes);
            files.push(file);
        }
        let (store, vocabulary) = (Arc::clone(store), spec.vocabulary_size);
        Ok(Self { store, files, places, blocks, context, vocabulary })
    }
}

pub(crate) fn too_short(count: u64, context: u64) -> String {
    format!("has {count} tokens; a sample of context {context} needs {}", context + 1)
}

/// Samples and targets from tokens in a row.
pub(crate) fn windows(ids: &[u32], samples: usize, context: usize) -> Block {
    let length = samples * context;
    Block { samples: Raw::U32(ids[..length].to_vec()), targets: Raw::U32(ids[1..=length].to_vec()) }
}

impl Source for Tokens {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let (file, first) = self.places[block];
        let file = &self.files[file];
        let samples = u64::from(self.blocks[block].samples);
        let (from, count) = (first * self.context, samples * self.context + 1);
        let start = file.start + from * file.width;
        let bytes = self.store.read(&file.entry.name, start..start + count * file.width)?;
        let mut ids = Vec::with_capacity(count as usize);
        for (i, number) in bytes.chunks_exact(file.width as usize).enumerate() {
            let id = file.number(number);
            let id = id.and_then(|id| u32::try_from(id).ok()).filter(|&id| id < self.vocabulary);
            ids.push(id.ok_or_else(|| DataError::Record {
                path: self.store.full_name(&file.entry.name),
                record: format!("token {}", from + i as u64),
                problem: format!(
                    "is {}; vocabularySize says 0 to {}",
                    file.number(number).map_or("negative".into(), |n| n.to_string()),
                    self.vocabulary - 1
                ),
            })?);
        }
        Ok(Arc::new(windows(&ids, samples as usize, self.context as usize)))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}

impl File {
    /// A number, unless it is negative.
    fn number(&self, bytes: &[u8]) -> Option<u64> {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        let negative = self.signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
        (!negative).then(|| u64::from_le_bytes(all))
    }
}
