//! Where trained weights are written.

use crate::DesignerError;
use mixnn_place::Place;
use std::io::{Error, Write};
use std::path::Path;
use std::time::Duration;

/// For a store to take the weights.
const PATIENCE: Duration = Duration::from_secs(600);

/// Writes the weights whole or not at all; a file can be read by its owner only.
pub(crate) fn write(place: &Place, bytes: Vec<u8>) -> Result<(), DesignerError> {
    match place {
        Place::Folder(path) => write_file(path, &bytes),
        Place::Store(url) => {
            let failed = |source| DesignerError::Write { path: place.to_string().into(), source };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let put = async { tokio::time::timeout(PATIENCE, mixnn_place::put(url, bytes)).await };
            match runtime.map_err(failed)?.block_on(put) {
                Ok(done) => done.map_err(|problem| failed(Error::other(problem))),
                Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DesignerError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| DesignerError::Write { path: path.to_owned(), source })
}
