//! IDX files as a source: read in pieces if they are not packed.

use crate::DataError;
use crate::block::{Block, BlockSize, InMemory, Kept, Raw, Source, even_blocks, per_block};
use crate::idx::{self, HEADER};
use crate::store::{Entry, Store};
use std::path::PathBuf;
use std::sync::Arc;

/// Pictures with their classes, and height and width.
pub(crate) struct Pair {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) size: [usize; 2],
}

/// Opens a file of pictures with that of its labels.
pub(crate) fn open(
    store: &Arc<Store>,
    images: &'static str,
    labels: &'static str,
    classes: u32,
) -> Result<Pair, DataError> {
    let (images, labels) = (find(store, images)?, find(store, labels)?);
    let targets = whole(store, &labels, idx::parse_labels)?;
    let (source, size) = match pieces(store, &images)? {
        Some((count, size)) => {
            check(store, &images, &labels, count, &targets, classes)?;
            let per_block = per_block(size[0] * size[1]);
            let bytes = (size[0] * size[1]) as u64;
            let blocks = even_blocks(count, per_block, bytes);
            let store = Arc::clone(store);
            let file = File { store, images, targets, blocks, per_block, bytes };
            (Kept::small(Box::new(file)), size)
        }
        None => {
            let pictures = whole(store, &images, idx::parse_images)?;
            let size = [pictures.height as usize, pictures.width as usize];
            let sample = size[0] * size[1];
            let count = (pictures.pixels.len() / sample) as u64;
            check(store, &images, &labels, count, &targets, classes)?;
            let in_memory =
                InMemory::pictures(&pictures.pixels, &targets, sample, per_block(sample));
            (Arc::new(in_memory) as Arc<dyn Source>, size)
        }
    };
    Ok(Pair { source, size })
}

fn find(store: &Store, name: &'static str) -> Result<Entry, DataError> {
    for candidate in [name.to_owned(), format!("{name}.gz")] {
        if let Some(size) = store.size(&candidate)? {
            return Ok(Entry { name: candidate, size });
        }
    }
    Err(DataError::Missing { place: store.full_name("").display().to_string(), name })
}

fn format(store: &Store, entry: &Entry, problem: String) -> DataError {
    DataError::Format { path: store.full_name(&entry.name), problem }
}

fn whole<T>(
    store: &Arc<Store>,
    entry: &Entry,
    parse: fn(&mut dyn std::io::Read) -> Result<T, String>,
) -> Result<T, DataError> {
    let path: PathBuf = store.full_name(&entry.name);
    let stream = store.stream(entry, 0..entry.size);
    idx::unpack(stream, parse)
        .map_err(|source| DataError::Io { path, source })?
        .map_err(|problem| format(store, entry, problem))
}

/// Count, height and width, if the file is not packed and thus can be read in pieces.
fn pieces(store: &Store, entry: &Entry) -> Result<Option<(u64, [usize; 2])>, DataError> {
    let head = store.read(&entry.name, 0..entry.size.min(HEADER))?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(None);
    }
    let [count, height, width] =
        idx::parse_header(&mut head.as_slice()).map_err(|p| format(store, entry, p))?;
    let wanted = HEADER + u64::from(count) * u64::from(height) * u64::from(width);
    if wanted != entry.size {
        let (found, promised) = (entry.size - HEADER, wanted - HEADER);
        let problem = if found < promised {
            format!("ends after {found} of {promised} bytes: the file is cut short; fetch it again")
        } else {
            format!("goes on after the {promised} bytes that its header promises")
        };
        return Err(format(store, entry, problem));
    }
    Ok(Some((u64::from(count), [height as usize, width as usize])))
}

fn check(
    store: &Store,
    images: &Entry,
    labels: &Entry,
    count: u64,
    targets: &[u8],
    classes: u32,
) -> Result<(), DataError> {
    let problem = if count != targets.len() as u64 {
        let images = store.full_name(&images.name);
        Some(format!("{} labels for the {count} images of {}", targets.len(), images.display()))
    } else if count == 0 {
        Some("no samples".to_owned())
    } else {
        let bad = targets.iter().position(|&l| u32::from(l) >= classes);
        bad.map(|at| format!("label {at} is {}; the model says {classes} classes", targets[at]))
    };
    problem.map_or(Ok(()), |problem| Err(format(store, labels, problem)))
}

struct File {
    store: Arc<Store>,
    images: Entry,
    targets: Vec<u8>,
    blocks: Vec<BlockSize>,
    per_block: usize,
    bytes: u64,
}

impl Source for File {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let first = block * self.per_block;
        let samples = self.blocks[block].samples as usize;
        let start = HEADER + first as u64 * self.bytes;
        let pixels =
            self.store.read(&self.images.name, start..start + samples as u64 * self.bytes)?;
        let targets = self.targets[first..first + samples].to_vec();
        Ok(Arc::new(Block { samples: Raw::U8(pixels), targets: Raw::U8(targets) }))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}
