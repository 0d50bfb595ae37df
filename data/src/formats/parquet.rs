//! Parquet files: a block is a row group, of which only the columns in use are read.

use crate::DataError;
use crate::block::{Block, BlockSize, Source};
use crate::formats::columns::{Cell, Columns};
use crate::store::{Entry, Store, Stream};
use bytes::Bytes;
use mixnn_model::ParquetSpec;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;
use std::io::Cursor;
use std::sync::Arc;

/// The most that a row group may take in memory, as it is packed and as samples.
const MAX_GROUP: u64 = 64 << 20;

/// The rows of Parquet files.
pub(crate) struct Parquet {
    store: Arc<Store>,
    files: Vec<(Entry, ParquetMetaData)>,
    columns: Columns,
    /// File, row group and first row of the group, of each block.
    places: Vec<(usize, usize, u64)>,
    blocks: Vec<BlockSize>,
}

impl Parquet {
    /// Reads the footers of all files.
    pub(crate) fn open(
        store: &Arc<Store>,
        name: &str,
        spec: &ParquetSpec,
    ) -> Result<Self, DataError> {
        let mut files = Vec::new();
        for entry in store.find(name, &[".parquet"])? {
            let chunks = Chunks { store: Arc::clone(store), entry: entry.clone() };
            let footer = ParquetMetaDataReader::new()
                .parse_and_finish(&chunks)
                .map_err(|e| format(store, &entry, format!("is no whole Parquet file: {e}")))?;
            files.push((entry, footer));
        }
        let header = names(&files[0].1);
        let columns = Columns::new(&spec.columns, &header, store)
            .map_err(|p| p.of(store.full_name(&files[0].0.name)))?;
        let (mut places, mut blocks) = (Vec::new(), Vec::new());
        for (number, (entry, footer)) in files.iter().enumerate() {
            if names(footer) != header {
                return Err(format(store, entry, "has other columns than the first file".into()));
            }
            check_columns(footer, &columns).map_err(|p| format(store, entry, p))?;
            let mut row = 0;
            for group in 0..footer.num_row_groups() {
                let rows =
                    group_rows(footer, group, &columns).map_err(|p| format(store, entry, p))?;
                if rows > 0 {
                    places.push((number, group, row));
                    blocks.push(columns.size(rows));
                }
                row += u64::from(rows);
            }
            if row == 0 {
                return Err(format(store, entry, "has no rows".into()));
            }
        }
        Ok(Self { store: Arc::clone(store), files, columns, places, blocks })
    }

    pub(crate) const fn columns(&self) -> &Columns {
        &self.columns
    }

    fn column(
        &self,
        file: usize,
        group: usize,
        place: usize,
        rows: usize,
    ) -> Result<Column, String> {
        let (entry, footer) = &self.files[file];
        let group = footer.row_group(group);
        let meta = group.column(place);
        let (start, length) = range(meta)?;
        let bytes =
            self.store.read(&entry.name, start..start + length).map_err(|e| e.to_string())?;
        let chunk = Arc::new(InMemory { start, bytes: bytes.into() });
        let pages =
            SerializedPageReader::new(chunk, meta, rows, None).map_err(|e| e.to_string())?;
        Column::read(Box::new(pages), meta, rows)
    }
}

impl Source for Parquet {
    fn blocks(&self) -> &[BlockSize] {
        &self.blocks
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        let (file, group, first) = self.places[block];
        let rows = self.blocks[block].samples as usize;
        let entry = &self.files[file].0;
        let read = |&place: &usize| self.column(file, group, place, rows);
        let columns: Result<Vec<Column>, String> = self.columns.places.iter().map(read).collect();
        let columns = columns.map_err(|problem| {
            let record = format!("row group {group}");
            DataError::Record { path: self.store.full_name(&entry.name), record, problem }
        })?;
        let mut cells: Vec<_> = columns.iter().map(Column::cells).collect();
        let mut out = self.columns.empty(rows);
        for row in 0..rows as u64 {
            for (at, cells) in cells.iter_mut().enumerate() {
                let pushed = match cells.next() {
                    Some(cell) => cell.and_then(|cell| self.columns.push(at, cell, &mut out)),
                    None => Err("is missing".into()),
                };
                pushed.map_err(|problem| DataError::Record {
                    path: self.store.full_name(&entry.name),
                    record: format!("row {}, column '{}'", first + row + 1, self.columns.names[at]),
                    problem,
                })?;
            }
        }
        Ok(Arc::new(out))
    }

    fn readers(&self) -> usize {
        self.store.readers()
    }
}

fn format(store: &Store, entry: &Entry, problem: String) -> DataError {
    DataError::Format { path: store.full_name(&entry.name), problem }
}

/// Names of the columns; those of nested ones are joined with dots.
fn names(footer: &ParquetMetaData) -> Vec<String> {
    let schema = footer.file_metadata().schema_descr();
    schema.columns().iter().map(|column| column.path().string()).collect()
}

fn check_columns(footer: &ParquetMetaData, columns: &Columns) -> Result<(), String> {
    let schema = footer.file_metadata().schema_descr();
    for (&place, name) in columns.places.iter().zip(&columns.names) {
        let column = schema.column(place);
        if column.max_rep_level() > 0 {
            return Err(format!("column '{name}' holds lists; it must hold one value a row"));
        }
        if !is_plain(&column) {
            let kind = column.logical_type_ref();
            return Err(format!(
                "column '{name}' holds {kind:?}; it must hold plain numbers, booleans or text"
            ));
        }
    }
    Ok(())
}

/// Whether a value means what its bits say. Decimals and times do not.
fn is_plain(column: &ColumnDescriptor) -> bool {
    use ConvertedType as C;
    match column.logical_type_ref() {
        Some(
            LogicalType::Integer(_) | LogicalType::String | LogicalType::Enum | LogicalType::Json,
        ) => true,
        Some(_) => false,
        None => !matches!(
            column.converted_type(),
            C::DECIMAL
                | C::DATE
                | C::TIME_MILLIS
                | C::TIME_MICROS
                | C::TIMESTAMP_MILLIS
                | C::TIMESTAMP_MICROS
                | C::INTERVAL
                | C::BSON
        ),
    }
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    use ConvertedType as C;
    matches!(column.logical_type_ref(), Some(LogicalType::Integer(int)) if !int.is_signed)
        || matches!(column.converted_type(), C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64)
}

fn group_rows(footer: &ParquetMetaData, group: usize, columns: &Columns) -> Result<u32, String> {
    let meta = footer.row_group(group);
    let rows = u32::try_from(meta.num_rows())
        .map_err(|_| format!("row group {group} has {} rows", meta.num_rows()))?;
    let packed = columns
        .places
        .iter()
        .map(|&place| meta.columns().get(place).map_or(0, |c| c.uncompressed_size().max(0) as u64));
    let bytes = columns.size(rows).bytes.max(packed.sum());
    if bytes > MAX_GROUP {
        return Err(format!(
            "row group {group} ({rows} rows) takes {bytes} bytes; the most is {MAX_GROUP}: write the file with smaller row groups"
        ));
    }
    Ok(rows)
}

/// Where a column's bytes lie, checked: a footer may say anything.
fn range(meta: &ColumnChunkMetaData) -> Result<(u64, u64), String> {
    let start = meta.dictionary_page_offset().unwrap_or_else(|| meta.data_page_offset());
    let (start, length) = (start.min(meta.data_page_offset()), meta.compressed_size());
    match (u64::try_from(start), u64::try_from(length)) {
        (Ok(start), Ok(length)) if length <= MAX_GROUP && start.checked_add(length).is_some() => {
            Ok((start, length))
        }
        _ => Err(format!("a column of {length} bytes at {start}")),
    }
}

/// One column of a row group.
struct Column {
    values: ColumnValues,
    /// For each row whether there is a value, if some are missing.
    present: Option<Vec<bool>>,
}

enum ColumnValues {
    Numbers(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Column {
    fn read(
        pages: Box<dyn PageReader>,
        meta: &ColumnChunkMetaData,
        rows: usize,
    ) -> Result<Self, String> {
        let descriptor = meta.column_descr_ptr();
        let unsigned = is_unsigned(&descriptor);
        let required = descriptor.max_def_level();
        let numbers = ColumnValues::Numbers;
        let read = match get_column_reader(descriptor, pages) {
            ColumnReader::BoolColumnReader(r) => {
                values(r, rows, required, |v| f64::from(u8::from(v))).map(|(v, p)| (numbers(v), p))
            }
            ColumnReader::Int32ColumnReader(r) => {
                let number = |v: i32| if unsigned { f64::from(v as u32) } else { f64::from(v) };
                values(r, rows, required, number).map(|(v, p)| (numbers(v), p))
            }
            ColumnReader::Int64ColumnReader(r) => {
                let number = |v: i64| if unsigned { v as u64 as f64 } else { v as f64 };
                values(r, rows, required, number).map(|(v, p)| (numbers(v), p))
            }
            ColumnReader::FloatColumnReader(r) => {
                values(r, rows, required, f64::from).map(|(v, p)| (numbers(v), p))
            }
            ColumnReader::DoubleColumnReader(r) => {
                values(r, rows, required, |v| v).map(|(v, p)| (numbers(v), p))
            }
            ColumnReader::ByteArrayColumnReader(r) => {
                values(r, rows, required, |v| v).map(|(v, p)| (ColumnValues::Text(v), p))
            }
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err("holds neither numbers nor text".into());
            }
        };
        read.map(|(values, present)| Self { values, present }).map_err(|e| e.to_string())
    }

    /// The cells, row by row.
    fn cells(&self) -> Box<dyn Iterator<Item = Result<Cell<'_>, String>> + '_> {
        let mut next = 0;
        let mut value = move || {
            next += 1;
            match &self.values {
                ColumnValues::Numbers(v) => v.get(next - 1).map(|&n| Ok(Cell::Number(n))),
                ColumnValues::Text(v) => v.get(next - 1).map(|bytes| {
                    let text = std::str::from_utf8(bytes.data());
                    text.map(Cell::Text).map_err(|_| "is not UTF-8".to_owned())
                }),
            }
        };
        match &self.present {
            None => Box::new(std::iter::from_fn(value)),
            Some(present) => Box::new(
                present.iter().map_while(
                    move |&there| {
                        if there { value() } else { Some(Ok(Cell::Null)) }
                    },
                ),
            ),
        }
    }
}

type Presence = Option<Vec<bool>>;

fn values<T: DataType, V>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    required: i16,
    convert: impl Fn(T::T) -> V,
) -> ParquetResult<(Vec<V>, Presence)> {
    let (mut levels, mut raw) = (Vec::new(), Vec::new());
    let mut records = 0;
    while records < rows {
        let (read, _, _) =
            reader.read_records(rows - records, Some(&mut levels), None, &mut raw)?;
        if read == 0 {
            return Err(ParquetError::General(format!("ends after {records} of {rows} rows")));
        }
        records += read;
    }
    let present = (required > 0).then(|| levels.iter().map(|&level| level == required).collect());
    Ok((raw.into_iter().map(convert).collect(), present))
}

/// A whole file, for its footer.
struct Chunks {
    store: Arc<Store>,
    entry: Entry,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.entry.size
    }
}

impl ChunkReader for Chunks {
    type T = Stream;

    fn get_read(&self, start: u64) -> ParquetResult<Stream> {
        Ok(self.store.stream(&self.entry, start..self.entry.size))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if length as u64 > MAX_GROUP || start.saturating_add(length as u64) > self.entry.size {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}")));
        }
        let read = self.store.read(&self.entry.name, start..start + length as u64);
        read.map(Bytes::from).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// The bytes of one column of one row group.
struct InMemory {
    start: u64,
    bytes: Bytes,
}

impl InMemory {
    fn rest(&self, start: u64) -> ParquetResult<Bytes> {
        let at = start.checked_sub(self.start).filter(|&at| at <= self.bytes.len() as u64);
        let at = at.ok_or_else(|| ParquetError::EOF(format!("a page at {start}")))?;
        Ok(self.bytes.slice(at as usize..))
    }
}

impl Length for InMemory {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for InMemory {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Cursor<Bytes>> {
        self.rest(start).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let rest = self.rest(start)?;
        if length > rest.len() {
            return Err(ParquetError::EOF(format!("a page of {length} bytes at {start}")));
        }
        Ok(rest.slice(..length))
    }
}
