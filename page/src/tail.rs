//! Whole lines of a growing file, from a place on.

use std::fs::File;
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that are read at once.
const MOST: u64 = 1 << 20;

/// Some lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Which file they are of: a record that was made anew has another number. 0: there is none.
    pub of: u64,
    /// Where the next lines begin.
    pub next: u64,
    /// Whole lines.
    pub lines: Vec<u8>,
}

/// The lines from byte `from` on of the file `of`; of another file, all from its beginning.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, of: u64, from: u64) -> Result<Part> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Part::default()),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let is_same = metadata.ino() == of && from <= metadata.len();
    let from = if is_same { from } else { 0 };
    file.seek(SeekFrom::Start(from))?;
    let mut lines = Vec::new();
    file.take(MOST).read_to_end(&mut lines)?;
    let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // A line that is longer than all that is read at once would never end: it is left out.
    let passed = if whole == 0 && lines.len() as u64 == MOST { MOST } else { whole as u64 };
    lines.truncate(whole);
    Ok(Part { of: metadata.ino(), next: from + passed, lines })
}
