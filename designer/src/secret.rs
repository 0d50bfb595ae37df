//! The owner's secret: 64 hexadecimal digits in a file that only the owner can read.

use crate::DesignerError;
use mixnn_nn::OwnerSecret;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads the secret, or makes one from the system's randomness if the file does not exist.
///
/// # Errors
/// The file holds something else, or cannot be read or made.
pub fn load_or_make(path: &Path) -> Result<OwnerSecret, DesignerError> {
    let problem = |problem: String| DesignerError::Secret { path: path.to_owned(), problem };
    match File::open(path) {
        Ok(file) => read(file).map_err(problem),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(path).map_err(|e| problem(e.to_string()))
        }
        Err(error) => Err(problem(error.to_string())),
    }
}

fn read(file: File) -> Result<OwnerSecret, String> {
    let mut text = Zeroizing::new(String::new());
    file.take(256).read_to_string(&mut text).map_err(|e| e.to_string())?;
    parse(&text)
}

/// Reads a secret from its text.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<OwnerSecret, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut bytes[..]).map_err(|_| {
        "must hold 64 hexadecimal digits; remove it to have a new one made".to_owned()
    })?;
    Ok(OwnerSecret::from_bytes(*bytes))
}

fn make(path: &Path) -> std::io::Result<OwnerSecret> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..]).map_err(|e| std::io::Error::other(e.to_string()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let text = Zeroizing::new(hex::encode(&bytes[..]));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    Ok(OwnerSecret::from_bytes(*bytes))
}
