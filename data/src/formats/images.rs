//! Folders of pictures, one folder a class.

use crate::DataError;
use crate::block::{Block, BlockSize, Raw, Source};
use crate::store::{Entry, Store};
use image::{DynamicImage, ImageReader, Limits, imageops::FilterType};
use mixnn_model::{Channels, Fit, ImagesSpec};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

const ENDINGS: [&str; 3] = [".png", ".jpg", ".jpeg"];
/// The largest picture file.
const MAX_FILE: u64 = 64 << 20;
/// The largest side of a picture before it is scaled.
const MAX_SIDE: u32 = 1 << 14;
/// The most memory for decoding one picture.
const MAX_DECODED: u64 = 512 << 20;

/// Pictures below a folder.
pub(crate) struct Pictures {
    store: Arc<Store>,
    files: Vec<(Entry, u32)>,
    blocks: Vec<BlockSize>,
    spec: ImagesSpec,
}

impl Pictures {
    /// Lists the files; classes are the folders' names in order.
    pub(crate) fn open(
        store: &Arc<Store>,
        folder: &str,
        spec: &ImagesSpec,
    ) -> Result<(Self, Vec<String>), DataError> {
        let entries = store.find(folder, &ENDINGS)?;
        let class_of = |entry: &Entry| class(folder, &entry.name).map(str::to_owned);
        let names: BTreeSet<String> = entries.iter().filter_map(class_of).collect();
        let format = |problem| DataError::Format { path: store.full_name(folder), problem };
        if let Some(entry) = entries.iter().find(|e| class(folder, &e.name).is_none()) {
            let file = crate::store::file_name(&entry.name);
            return Err(format(format!("{file} lies in no folder of a class: CLASS/{file}")));
        }
        if names.len() != spec.classes as usize {
            let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
            let more = if names.len() > 8 { " .." } else { "" };
            return Err(format(format!(
                "has {} folders with pictures ({}{more}); the model says {} classes",
                names.len(),
                shown.join(", "),
                spec.classes
            )));
        }
        let names: Vec<String> = names.into_iter().collect();
        let number = |entry: Entry| {
            let class = class(folder, &entry.name).unwrap_or_default();
            let at = names.binary_search_by(|n| n.as_str().cmp(class)).unwrap_or_default();
            (entry, at as u32)
        };
        let files: Vec<_> = entries.into_iter().map(number).collect();
        let bytes =
            spec.channels.count() as u64 * u64::from(spec.size[0]) * u64::from(spec.size[1]);
        let blocks = vec![BlockSize { samples: 1, bytes: bytes + 4 }; files.len()];
        Ok((Self { store: Arc::clone(store), files, blocks, spec: spec.clone() }, names))
    }
}

/// The folder below `folder` that a file lies in.
fn class<'a>(folder: &str, name: &'a str) -> Option<&'a str> {
    let inner = name.strip_prefix(folder.trim_end_matches('/'))?.trim_start_matches('/');
    inner.split_once('/').map(|(class, _)| class)
}

impl Source for Pictures {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let (entry, class) = &self.files[block];
        let bytes = self.store.read_all(&entry.name, MAX_FILE)?;
        let ImagesSpec { channels, size, fit, .. } = self.spec;
        let pixels = decode(&bytes, channels, size, fit).map_err(|problem| DataError::Format {
            path: self.store.full_name(&entry.name),
            problem,
        })?;
        Ok(Arc::new(Block { samples: Raw::U8(pixels), targets: Raw::U32(vec![*class]) }))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}

/// Pixels of one picture, channel by channel, row by row.
pub(crate) fn decode(
    bytes: &[u8],
    channels: Channels,
    [height, width]: [u32; 2],
    how: Fit,
) -> Result<Vec<u8>, String> {
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| format!("is no whole PNG or JPEG picture: {e}"))?;
    let picture = fit(picture, height, width, how)?;
    Ok(match channels {
        Channels::Grey => picture.into_luma8().into_raw(),
        Channels::Rgb => planes(picture.into_rgb8().as_raw()),
    })
}

fn fit(picture: DynamicImage, height: u32, width: u32, fit: Fit) -> Result<DynamicImage, String> {
    match fit {
        _ if (picture.height(), picture.width()) == (height, width) => Ok(picture),
        Fit::Resize => Ok(picture.resize_exact(width, height, FilterType::Triangle)),
        Fit::Exact => Err(format!(
            "is {} high and {} wide; the model says {height} and {width}: scale it, or set fit: Resize",
            picture.height(),
            picture.width()
        )),
    }
}

fn planes(pixels: &[u8]) -> Vec<u8> {
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect()
}
