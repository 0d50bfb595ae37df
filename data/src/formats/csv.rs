//! CSV files: scanned once, which finds the blocks and every fault; then read block by block.

use crate::block::{Block, BlockSize, Source, per_block};
use crate::formats::columns::{Cell, Columns};
use crate::store::{Entry, Store};
use crate::{DataError, Progress, Reading};
use csv::{ByteRecord, ReaderBuilder};
use mixnn_model::CsvSpec;
use std::cell::Cell as Counter;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

/// The longest record.
const MAX_RECORD: u64 = 16 << 20;
/// Bytes of text after which a block ends.
const BLOCK_TEXT: u64 = 1 << 20;
/// Records between two reports of progress.
const REPORT: u64 = 4096;

/// The rows of CSV files.
pub(crate) struct Csv {
    store: Arc<Store>,
    files: Vec<Entry>,
    columns: Columns,
    delimiter: u8,
    places: Vec<Place>,
    blocks: Vec<BlockSize>,
}

/// Where a block lies.
struct Place {
    file: usize,
    start: u64,
    end: u64,
    first_line: u64,
    rows: u32,
}

impl Csv {
    /// Reads all files once.
    pub(crate) fn open(
        store: &Arc<Store>,
        name: &str,
        spec: &CsvSpec,
        progress: Progress<'_>,
    ) -> Result<Self, DataError> {
        let files = store.find(name, &[".csv"])?;
        let delimiter = spec.delimiter.bytes().next().unwrap_or(b',');
        let header = header(store, &files[0], delimiter)?;
        let columns = Columns::new(&spec.columns, &header, store)
            .map_err(|p| p.of(store.full_name(&files[0].name)))?;
        let total = files.iter().map(|f| f.size).sum();
        let mut scan = Scan {
            store,
            columns: &columns,
            delimiter,
            header: &header,
            places: Vec::new(),
            reading: Reading { what: name.to_owned(), done: 0, total },
            progress,
        };
        for (number, file) in files.iter().enumerate() {
            scan.file(number, file)?;
        }
        let places = scan.places;
        let blocks = places.iter().map(|p| columns.size(p.rows)).collect();
        Ok(Self { store: Arc::clone(store), files, columns, delimiter, places, blocks })
    }

    pub(crate) const fn columns(&self) -> &Columns {
        &self.columns
    }
}

impl Source for Csv {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let place = &self.places[block];
        let entry = &self.files[place.file];
        let bytes = self.store.read(&entry.name, place.start..place.end)?;
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .from_reader(bytes.as_slice());
        let path = self.store.full_name(&entry.name);
        let mut out = self.columns.empty(place.rows as usize);
        let mut record = ByteRecord::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(|e| fault(&path, place.first_line, &e))?
        {
            row(&self.columns, &record, place.first_line - 1, &path, &mut out)?;
        }
        Ok(Arc::new(out))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}

struct Scan<'a, 'p> {
    store: &'a Arc<Store>,
    columns: &'a Columns,
    delimiter: u8,
    header: &'a [String],
    places: Vec<Place>,
    reading: Reading,
    progress: Progress<'p>,
}

impl Scan<'_, '_> {
    fn file(&mut self, file: usize, entry: &Entry) -> Result<(), DataError> {
        let path = self.store.full_name(&entry.name);
        if header(self.store, entry, self.delimiter)? != self.header {
            let problem = "has another header line than the first file".to_owned();
            return Err(DataError::Format { path, problem });
        }
        let (mut reader, left) = reader(self.store, entry, self.delimiter);
        reader.byte_headers().map_err(|e| fault(&path, 0, &e))?;
        let (before, rows_of_block) =
            (self.reading.done, per_block(self.columns.row_bytes() as usize));
        let (mut record, mut out) = (ByteRecord::new(), self.columns.empty(rows_of_block));
        let mut place: Option<Place> = None;
        let mut count = 0_u64;
        loop {
            left.set(MAX_RECORD);
            let start = reader.position().clone();
            if !reader.read_byte_record(&mut record).map_err(|e| fault(&path, 0, &e))? {
                break;
            }
            row(self.columns, &record, 0, &path, &mut out)?;
            let position = record.position().map_or(start.byte(), csv::Position::byte);
            let line = record.position().map_or(start.line(), csv::Position::line);
            let open = place.get_or_insert(Place {
                file,
                start: position,
                end: position,
                first_line: line,
                rows: 0,
            });
            (open.rows, open.end) = (open.rows + 1, reader.position().byte());
            if open.rows as usize >= rows_of_block || open.end - open.start >= BLOCK_TEXT {
                self.places.extend(place.take());
                out = self.columns.empty(rows_of_block);
            }
            count += 1;
            if count.is_multiple_of(REPORT) {
                self.reading.done = before + reader.position().byte();
                (self.progress)(&self.reading);
            }
        }
        self.places.extend(place);
        self.reading.done = before + entry.size;
        (self.progress)(&self.reading);
        if count == 0 {
            return Err(DataError::Format { path, problem: "has no rows after its header".into() });
        }
        Ok(())
    }
}

fn header(store: &Arc<Store>, entry: &Entry, delimiter: u8) -> Result<Vec<String>, DataError> {
    let path = store.full_name(&entry.name);
    let (mut reader, _) = reader(store, entry, delimiter);
    let header = reader.headers().map_err(|e| fault(&path, 0, &e))?;
    if header.iter().all(str::is_empty) {
        let problem = "is empty; it must begin with a line of column names".to_owned();
        return Err(DataError::Format { path, problem });
    }
    Ok(header.iter().map(|name| name.trim().to_owned()).collect())
}

fn row(
    columns: &Columns,
    record: &ByteRecord,
    lines_before: u64,
    path: &std::path::Path,
    out: &mut Block,
) -> Result<(), DataError> {
    let fault = |at: usize, problem: String| {
        let line = lines_before + record.position().map_or(0, csv::Position::line);
        let record = format!("line {line}, column '{}'", columns.names[at]);
        DataError::Record { path: path.to_owned(), record, problem }
    };
    for (at, &place) in columns.places.iter().enumerate() {
        let field = record.get(place).unwrap_or_default();
        let text = std::str::from_utf8(field).map_err(|_| fault(at, "is not UTF-8".into()))?;
        columns.push(at, Cell::Text(text), out).map_err(|problem| fault(at, problem))?;
    }
    Ok(())
}

fn fault(path: &std::path::Path, lines_before: u64, error: &csv::Error) -> DataError {
    let path = path.to_owned();
    let line = |position: &Option<csv::Position>| {
        format!("line {}", lines_before + position.as_ref().map_or(1, csv::Position::line))
    };
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => DataError::Record {
            path,
            record: line(pos),
            problem: format!("has {len} fields; the header has {expected_len}"),
        },
        csv::ErrorKind::Utf8 { pos, .. } => {
            DataError::Record { path, record: line(pos), problem: "is not UTF-8".into() }
        }
        csv::ErrorKind::Io(error) => {
            DataError::Io { path, source: io::Error::new(error.kind(), error.to_string()) }
        }
        other => DataError::Format { path, problem: format!("{other:?}") },
    }
}

type Bounded = csv::Reader<Bound>;

fn reader(store: &Arc<Store>, entry: &Entry, delimiter: u8) -> (Bounded, Rc<Counter<u64>>) {
    let left = Rc::new(Counter::new(MAX_RECORD));
    let inner = store.stream(entry, 0..entry.size);
    let bound = Bound { inner, left: Rc::clone(&left) };
    (ReaderBuilder::new().delimiter(delimiter).from_reader(bound), left)
}

/// Stops a record that does not end: a quote that is never closed would take all memory.
struct Bound {
    inner: crate::store::Stream,
    left: Rc<Counter<u64>>,
}

impl Read for Bound {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        let left = self.left.get().checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!(
                "a record is longer than {MAX_RECORD} bytes: is a quotation mark not closed?"
            ))
        })?;
        self.left.set(left);
        Ok(n)
    }
}
