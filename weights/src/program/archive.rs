//! The zip around a program. Entries are stored, never compressed: nothing in it is longer than the file.

use super::ProgramError;
use super::graph::{ExportedProgram, PayloadConfig, PayloadMeta, ScalarType};
use safetensors::Dtype;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use zip::{CompressionMethod, ZipArchive};

/// The longest JSON that is read.
const MAX_JSON: u64 = 16 << 20;
/// The most entries of an archive.
const MAX_ENTRIES: usize = 1 << 16;

/// A tensor's type, shape and little-endian bytes.
pub(super) type Tensor = (Dtype, Vec<usize>, Vec<u8>);

pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
    /// The folder that all of it is in.
    root: String,
    /// Which model of it.
    model: String,
    tensors: Option<HashMap<String, PayloadMeta>>,
    /// Bytes that may still be read as weights: tensors may share some, but not all the same few.
    left: u64,
}

fn refused(what: impl std::fmt::Display) -> ProgramError {
    ProgramError(what.to_string())
}

impl<R: Read + Seek> Archive<R> {
    pub(super) fn open(mut file: R) -> Result<Self, ProgramError> {
        let length = file.seek(SeekFrom::End(0)).map_err(refused)?;
        file.rewind().map_err(refused)?;
        let zip = ZipArchive::new(file)
            .map_err(|e| refused(format!("is no program of torch.export.save: {e}")))?;
        if zip.len() > MAX_ENTRIES {
            return Err(refused(format!("has {} entries; the most is {MAX_ENTRIES}", zip.len())));
        }
        let (root, model) = place(&zip)?;
        Ok(Self { zip, root, model, tensors: None, left: length.saturating_mul(2) })
    }

    pub(super) fn graph(&mut self) -> Result<ExportedProgram, ProgramError> {
        let path = format!("{}models/{}.json", self.root, self.model);
        let program: ExportedProgram = self.json(&path)?;
        let major = program.schema_version.major;
        if major != 8 {
            return Err(refused(format!(
                "its schema has major version {major}; read is 8, as PyTorch 2.7 to 2.13 writes it"
            )));
        }
        Ok(program)
    }

    /// A tensor by its name in the program, if the file has it.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Tensor>, ProgramError> {
        if self.tensors.is_none() {
            let path = format!("{}data/weights/{}_weights_config.json", self.root, self.model);
            let config: PayloadConfig = self.json(&path)?;
            self.tensors = Some(config.config);
        }
        let Some(meta) = self.tensors.as_ref().and_then(|all| all.get(name)).cloned() else {
            return Ok(None);
        };
        let wrong = |what: &str| refused(format!("tensor '{name}' {what}"));
        if meta.use_pickle {
            return Err(wrong("is pickled, and not read: a pickle can do anything"));
        }
        let tensor = meta.tensor_meta.ok_or_else(|| wrong("has no shape"))?;
        let (dtype, size) = match tensor.dtype {
            ScalarType::FLOAT => (Dtype::F32, 4_u64),
            ScalarType::LONG => (Dtype::I64, 8),
            other => {
                return Err(wrong(&format!(
                    "is of scalar type {}: export the model as float32",
                    other.0
                )));
            }
        };
        let shape =
            tensor.shape().ok_or_else(|| wrong("has a shape that is no list of numbers"))?;
        if !tensor.is_contiguous(&shape) {
            return Err(wrong("is not contiguous"));
        }
        let elements = shape.iter().try_fold(1_u64, |n, &s| n.checked_mul(s as u64));
        let bytes = elements.and_then(|n| n.checked_mul(size)).filter(|bytes| *bytes <= self.left);
        let bytes = bytes.ok_or_else(|| wrong("is larger than the file"))?;
        self.left -= bytes;
        let offset = tensor.offset().and_then(|offset| offset.checked_mul(size));
        let offset = offset.ok_or_else(|| wrong("has no offset"))?;
        if meta.path_name.contains(['/', '\\']) {
            return Err(wrong("is said to be outside of the weights' folder"));
        }
        let path = format!("{}data/weights/{}", self.root, meta.path_name);
        let data = self.part(&path, offset, bytes)?;
        Ok(Some((dtype, shape, data)))
    }

    fn json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ProgramError> {
        let size = self.size(path)?;
        if size > MAX_JSON {
            return Err(refused(format!("{path} has {size} bytes; the most is {MAX_JSON}")));
        }
        let bytes = self.part(path, 0, size)?;
        serde_json::from_slice(&bytes).map_err(|e| refused(format!("{path}: {e}")))
    }

    fn size(&mut self, path: &str) -> Result<u64, ProgramError> {
        let entry = self.zip.by_name(path).map_err(|e| refused(format!("{path}: {e}")))?;
        Ok(entry.size())
    }

    /// `length` bytes of an entry. Memory follows what is there, not what is said.
    fn part(&mut self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, ProgramError> {
        let mut entry = self.zip.by_name(path).map_err(|e| refused(format!("{path}: {e}")))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(refused(format!(
                "{path} is compressed or encrypted; torch.export.save stores"
            )));
        }
        let failed = |e: std::io::Error| refused(format!("{path}: {e}"));
        let skipped = std::io::copy(&mut (&mut entry).take(offset), &mut std::io::sink());
        let mut bytes = Vec::new();
        entry.take(length).read_to_end(&mut bytes).map_err(failed)?;
        if skipped.map_err(failed)? != offset || bytes.len() as u64 != length {
            return Err(refused(format!("{path} is shorter than it is said to be")));
        }
        Ok(bytes)
    }
}

/// The folder that holds everything, and the one model's name.
fn place<R: Read + Seek>(zip: &ZipArchive<R>) -> Result<(String, String), ProgramError> {
    let mut found = zip.file_names().filter_map(|path| {
        let path = path.ok()?;
        let (root, name) = path.rsplit_once("models/")?;
        let is_root = root.is_empty() || (root.ends_with('/') && root.matches('/').count() == 1);
        let name = name.strip_suffix(".json").filter(|name| !name.contains('/'))?;
        is_root.then(|| (root.to_owned(), name.to_owned()))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            Err(refused("holds more than one model: save one by torch.export.save"))
        }
        (None, _) => Err(refused(
            "is no program of torch.export.save: there is no models/NAME.json in it (programs of PyTorch before 2.7 are not read)",
        )),
    }
}
