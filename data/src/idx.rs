//! IDX, the format of the MNIST family (<http://yann.lecun.com/exdb/mnist/>), gzip or not.
//!
//! ```text
//! images: 00 00 08 03, count u32, height u32, width u32, pixels     (big-endian)
//! labels: 00 00 08 01, count u32, labels
//! ```

use crate::DataError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// File of the training images.
pub const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
/// File of the training labels.
pub const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
/// File of the test images.
pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
/// File of the test labels.
pub const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

const MAGIC_IMAGES: u32 = 0x0803;
const MAGIC_LABELS: u32 = 0x0801;
/// The most bytes of data that are read into memory: 4 GiB.
const MAX_BYTES: u64 = 4 << 30;
/// Bytes before the pixels of an image file.
pub(crate) const HEADER: u64 = 16;
/// The largest side of an image.
const MAX_SIDE: u32 = 4096;

/// Grey images of one size, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// `count * height * width` bytes, 0 to 255.
    pub pixels: Vec<u8>,
}

/// Reads an image file.
///
/// # Errors
/// It is none, is cut short, or goes on too long.
pub fn read_images(path: &Path) -> Result<Images, DataError> {
    open(path, parse_images)
}

/// Reads a label file.
///
/// # Errors
/// It is none, is cut short, or goes on too long.
pub fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    open(path, parse_labels)
}

fn open<T>(path: &Path, parse: fn(&mut dyn Read) -> Result<T, String>) -> Result<T, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let parsed = unpack(File::open(path).map_err(io)?, parse).map_err(io)?;
    parsed.map_err(|problem| DataError::Format { path: path.to_owned(), problem })
}

/// Parses what may be packed with gzip.
pub(crate) fn unpack<T>(
    file: impl Read,
    parse: fn(&mut dyn Read) -> Result<T, String>,
) -> std::io::Result<Result<T, String>> {
    let mut file = BufReader::new(file);
    let packed = std::io::BufRead::fill_buf(&mut file)?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { parse(&mut MultiGzDecoder::new(file)) } else { parse(&mut file) })
}

/// What the header of an image file says: count, height, width.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_header(r: &mut dyn Read) -> Result<[u32; 3], String> {
    magic(r, MAGIC_IMAGES, "an image file")?;
    let [count, height, width] = [number(r)?, number(r)?, number(r)?];
    let side = 1..=MAX_SIDE;
    if !side.contains(&height) || !side.contains(&width) {
        return Err(format!("images of {height} x {width}; sides are 1 to {MAX_SIDE}"));
    }
    Ok([count, height, width])
}

/// Parses images from any reader; never holds more than the header says.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_images(r: &mut dyn Read) -> Result<Images, String> {
    let [count, height, width] = parse_header(r)?;
    let bytes = u64::from(count) * u64::from(height) * u64::from(width);
    Ok(Images { height, width, pixels: data(r, bytes)? })
}

/// Parses labels from any reader.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_labels(r: &mut dyn Read) -> Result<Vec<u8>, String> {
    magic(r, MAGIC_LABELS, "a label file")?;
    let count = number(r)?;
    data(r, u64::from(count))
}

fn magic(r: &mut dyn Read, expected: u32, what: &str) -> Result<(), String> {
    match number(r)? {
        found if found == expected => Ok(()),
        found => Err(format!("begins with {found:08x}; {what} in IDX begins with {expected:08x}")),
    }
}

fn number(r: &mut dyn Read) -> Result<u32, String> {
    let mut bytes = [0; 4];
    r.read_exact(&mut bytes).map_err(|e| cut_short(&e, "the header"))?;
    Ok(u32::from_be_bytes(bytes))
}

fn data(r: &mut dyn Read, bytes: u64) -> Result<Vec<u8>, String> {
    if bytes > MAX_BYTES {
        return Err(format!("the header promises {bytes} bytes; the most is {MAX_BYTES}"));
    }
    // Memory follows what is there, not what the header promises.
    let mut out = Vec::new();
    let read = r.take(bytes).read_to_end(&mut out).map_err(|e| cut_short(&e, "the data"))?;
    if (read as u64) < bytes {
        return Err(format!(
            "ends after {read} of {bytes} bytes: the file is cut short; fetch it again"
        ));
    }
    match r.read(&mut [0]) {
        Ok(0) => Ok(out),
        Ok(_) => Err(format!("goes on after the {bytes} bytes that its header promises")),
        Err(e) => Err(cut_short(&e, "the end")),
    }
}

fn cut_short(error: &std::io::Error, what: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            format!("ends within {what}: the file is cut short; fetch it again")
        }
        _ => format!("{what} cannot be read: {error}"),
    }
}

/// Writes an image file, whole or not at all.
///
/// # Errors
/// The system refuses.
pub fn write_images(path: &Path, images: &Images, gzip: bool) -> Result<(), DataError> {
    let size = images.height as usize * images.width as usize;
    let count = (images.pixels.len() / size.max(1)) as u32;
    let header = [MAGIC_IMAGES, count, images.height, images.width];
    write(path, &header, &images.pixels, gzip)
}

/// Writes a label file, whole or not at all.
///
/// # Errors
/// The system refuses.
pub fn write_labels(path: &Path, labels: &[u8], gzip: bool) -> Result<(), DataError> {
    write(path, &[MAGIC_LABELS, labels.len() as u32], labels, gzip)
}

fn write(path: &Path, header: &[u32], data: &[u8], gzip: bool) -> Result<(), DataError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let header: Vec<u8> = header.iter().flat_map(|n| n.to_be_bytes()).collect();
        if gzip {
            let mut gz = flate2::write::GzEncoder::new(&mut file, flate2::Compression::default());
            gz.write_all(&header).and_then(|()| gz.write_all(data))?;
            gz.finish()?;
        } else {
            file.write_all(&header).and_then(|()| file.write_all(data))?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    attempt().map_err(|source| DataError::Io { path: path.to_owned(), source })
}
