//! Files by name and range, from a folder or an object store. Calls block.

use crate::{DataError, Place};
use futures_util::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The most files of a data set.
const MAX_FILES: usize = 20_000_000;
/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;
/// Bytes fetched at a time while a file is read from its beginning to its end.
const CHUNK: u64 = 1 << 20;
/// Reads of an object store at once.
const REMOTE_READERS: usize = 16;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name relative to the place, with '/'.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// Files below one place.
pub struct Store {
    place: Place,
    remote: Option<Remote>,
}

struct Remote {
    store: Box<dyn ObjectStore>,
    prefix: ObjectPath,
    runtime: Runtime,
}

impl Store {
    /// Opens a place. An object store is set up from the environment, as its own tools are
    /// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME` ..).
    ///
    /// # Errors
    /// The store's settings make no sense.
    pub fn open(place: &Place) -> Result<Arc<Self>, DataError> {
        let remote = match place {
            Place::Folder(_) => None,
            Place::Store(url) => Some(
                Remote::open(url)
                    .map_err(|problem| DataError::Store { place: place.to_string(), problem })?,
            ),
        };
        Ok(Arc::new(Self { place: place.clone(), remote }))
    }

    /// How many threads may read at once with gain.
    pub fn readers(&self) -> usize {
        match self.remote {
            Some(_) => REMOTE_READERS,
            None => std::thread::available_parallelism().map_or(1, Into::into),
        }
    }

    /// Name of a file for people.
    pub fn full_name(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.place))
    }

    /// A file's size, or `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn size(&self, name: &str) -> Result<Option<u64>, DataError> {
        let found = match &self.remote {
            None => self.local(name).metadata().map(|m| m.is_file().then_some(m.len())),
            Some(remote) => {
                let path = remote.path(name);
                let head = remote.runtime.block_on(remote.store.head(&path));
                head.map(|meta| Some(meta.size)).map_err(io_error)
            }
        };
        match found {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map_err(|source| self.error(name, source)),
        }
    }

    /// The size of a file that must be there.
    ///
    /// # Errors
    /// It is not, or cannot be told.
    pub fn require(&self, name: &str) -> Result<u64, DataError> {
        let missing = || self.error(name, io::Error::new(io::ErrorKind::NotFound, "no such file"));
        self.size(name)?.ok_or_else(missing)
    }

    /// The file of this name, or all files below the folder of this name whose names end as one of
    /// `endings`, in the order of their names. Hidden ones are left out.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str, endings: &[&str]) -> Result<Vec<Entry>, DataError> {
        if let Some(size) = self.size(name)? {
            return Ok(vec![Entry { name: name.to_owned(), size }]);
        }
        let wanted = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let hidden = name.split('/').any(|part| part.starts_with(['.', '_']));
            !hidden && (endings.is_empty() || endings.iter().any(|e| lower.ends_with(e)))
        };
        let mut entries = match &self.remote {
            None => self.walk(name, &wanted)?,
            Some(remote) => remote.list(name, &wanted).map_err(|e| self.error(name, e))?,
        };
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if entries.is_empty() {
            let endings = endings.join(", ");
            let problem =
                format!("there is no such file, nor a folder with files that end in {endings}");
            return Err(DataError::Format { path: self.full_name(name), problem });
        }
        Ok(entries)
    }

    /// Bytes of a file, exactly as many as the range has.
    ///
    /// # Errors
    /// The file cannot be read, or ends within the range.
    pub fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, DataError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let read = match &self.remote {
            None => File::open(self.local(name)).and_then(|file| {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
            }),
            Some(remote) => remote.read(name, range.clone()),
        };
        read.map_err(|source| self.error(name, source))
    }

    /// A whole file of at most `most` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is larger.
    pub fn read_all(&self, name: &str, most: u64) -> Result<Vec<u8>, DataError> {
        let size = self.require(name)?;
        if size > most {
            let problem = format!("{size} bytes; the most is {most}");
            return Err(DataError::Format { path: self.full_name(name), problem });
        }
        self.read(name, 0..size)
    }

    /// Reads a part of a file from its beginning to its end, piece by piece.
    pub fn stream(self: &Arc<Self>, entry: &Entry, range: Range<u64>) -> Stream {
        let end = range.end.min(entry.size);
        let name = entry.name.clone();
        Stream { store: Arc::clone(self), name, next: range.start, end, piece: Vec::new(), at: 0 }
    }

    fn local(&self, name: &str) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => folder.join(name),
            Place::Store(_) => PathBuf::from(name),
        }
    }

    fn error(&self, name: &str, source: io::Error) -> DataError {
        DataError::Io { path: self.full_name(name), source }
    }

    fn walk(&self, name: &str, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Entry>, DataError> {
        let (root, mut out) = (self.local(name), Vec::new());
        let mut folders = vec![(root, name.trim_end_matches('/').to_owned(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let io = |source| DataError::Io { path: folder.clone(), source };
            for entry in std::fs::read_dir(&folder).map_err(io)? {
                let entry = entry.map_err(io)?;
                let Ok(file) = entry.file_name().into_string() else { continue };
                let name = format!("{prefix}/{file}");
                // Follows links, as mounted volumes are made of them.
                let meta = entry.path().metadata().map_err(io)?;
                if meta.is_dir() && depth < MAX_DEPTH && !file.starts_with('.') {
                    folders.push((entry.path(), name, depth + 1));
                } else if meta.is_file() && wanted(below(&prefix, &name)) {
                    out.push(Entry { name, size: meta.len() });
                }
            }
            if out.len() > MAX_FILES {
                let problem = format!("more than {MAX_FILES} files");
                return Err(DataError::Format { path: folder, problem });
            }
        }
        Ok(out)
    }
}

/// A name without the folder it was looked for in.
fn below<'a>(folder: &str, name: &'a str) -> &'a str {
    name.strip_prefix(folder).map_or(name, |rest| rest.trim_start_matches('/'))
}

impl Remote {
    fn open(url: &url::Url) -> Result<Self, String> {
        let (store, prefix) = mixnn_place::open_store(url)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { store, prefix, runtime })
    }

    fn path(&self, name: &str) -> ObjectPath {
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), ObjectPath::join)
    }

    fn list(&self, name: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        let folder = self.path(name);
        self.runtime.block_on(async {
            let (mut found, mut out) = (self.store.list(Some(&folder)), Vec::new());
            while let Some(meta) = found.next().await {
                let meta = meta.map_err(io_error)?;
                let Some(parts) = meta.location.prefix_match(&folder) else { continue };
                let parts: Vec<String> = parts.map(|p| p.as_ref().to_owned()).collect();
                let inner = parts.join("/");
                if wanted(&inner) {
                    let name = format!("{}/{inner}", name.trim_end_matches('/'));
                    out.push(Entry { name, size: meta.size });
                }
                if out.len() > MAX_FILES {
                    return Err(io::Error::other(format!("more than {MAX_FILES} files")));
                }
            }
            Ok(out)
        })
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let wanted = range.end - range.start;
        let bytes = self
            .runtime
            .block_on(self.store.get_range(&self.path(name), range))
            .map_err(io_error)?;
        if bytes.len() as u64 != wanted {
            let text = format!("{} bytes came of {wanted}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(bytes.into())
    }
}

fn io_error(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => {
            io::Error::new(io::ErrorKind::NotFound, "no such object")
        }
        other => io::Error::other(other.to_string()),
    }
}

/// A file being read from its beginning to its end.
pub struct Stream {
    store: Arc<Store>,
    name: String,
    next: u64,
    end: u64,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let end = self.end.min(self.next + CHUNK);
            self.piece = self.store.read(&self.name, self.next..end).map_err(io::Error::other)?;
            (self.next, self.at) = (end, 0);
        }
        let n = out.len().min(self.piece.len() - self.at);
        out[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Only the last part of a name.
pub(crate) fn file_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name)
}
