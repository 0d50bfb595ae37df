//! Where data are: a folder, or an object store.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;

/// A folder (a mounted volume is one too), or a prefix in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// `s3://bucket/prefix`, `gs://..`, `az://..`.
    Store(Url),
}

impl Place {
    /// The same, independent of the current folder.
    ///
    /// # Errors
    /// The current folder cannot be told.
    pub fn absolute(&self) -> std::io::Result<Self> {
        match self {
            Self::Folder(path) => std::path::absolute(path).map(Self::Folder),
            Self::Store(url) => Ok(Self::Store(url.clone())),
        }
    }

    /// The place of a file in it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.join(name)),
            Self::Store(url) => {
                let mut url = url.clone();
                let path = format!("{}/{name}", url.path().trim_end_matches('/'));
                url.set_path(&path);
                Self::Store(url)
            }
        }
    }

    /// As a flag's value.
    pub fn to_flag(&self) -> OsString {
        match self {
            Self::Folder(path) => path.clone().into(),
            Self::Store(url) => url.as_str().into(),
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Folder(path.to_owned())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::Folder(text.into()));
        }
        let url = Url::parse(text).map_err(|e| format!("'{text}' is no URL: {e}"))?;
        match url.scheme() {
            "file" => url
                .to_file_path()
                .map(Self::Folder)
                .map_err(|()| format!("'{text}' is no path of this machine: file:///PATH")),
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" if url.has_host() => {
                Ok(Self::Store(url))
            }
            _ => Err(format!(
                "'{text}' must be a folder, file:///.., s3://BUCKET/.., gs://.. or az://.."
            )),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Store(url) => write!(f, "{}", url.as_str().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn folders_and_stores_are_told_apart() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("a/b"), Ok(Place::Folder("a/b".into())));
        assert_eq!(place("file:///a/b"), Ok(Place::Folder("/a/b".into())));
        assert_eq!(place("s3://bucket/a/").map(|p| p.to_string()), Ok("s3://bucket/a".into()));
        let file = |text: &str| place(text).map(|p| p.join("c").to_string());
        assert_eq!(file("a/b"), Ok("a/b/c".into()));
        assert_eq!(file("s3://bucket"), Ok("s3://bucket/c".into()));
        assert_eq!(file("s3://bucket/a/"), Ok("s3://bucket/a/c".into()));
        for wrong in ["http://x/y", "s3:///x", "://", "file://host/x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
