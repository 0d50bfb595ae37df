//! Bearer tokens: who a request is from.
//!
//! What a token means is a trait's business: a file here, Kubernetes' TokenReview in a cluster.

use crate::InferError;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Who a request is from: what rates are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub Arc<str>);

/// Says whose a bearer token is.
pub trait Authenticator: Send + Sync + 'static {
    /// The token's identity.
    ///
    /// # Errors
    /// [`InferError::Unauthenticated`] for a token that is not known, [`InferError::Unavailable`] if
    /// that cannot be told now.
    fn identify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, InferError>>;
}

/// The largest token file.
const MAX_FILE: u64 = 1 << 20;
/// The shortest token: 128 bits in hexadecimal.
const MIN_TOKEN: usize = 32;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Tokens from a file: one a line, as `NAME TOKEN`; `#` begins a comment. Read anew when it changes, so
/// that a token can be taken back while the server runs.
///
/// Only digests of the tokens stay in memory.
pub struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

/// A client's name, and the digest of its token.
type Known = (Arc<str>, [u8; 32]);

struct State {
    tokens: Vec<Known>,
    changed: Option<SystemTime>,
    looked: Instant,
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("token file {}: {problem}", path.display())]
pub struct TokenFileError {
    path: PathBuf,
    problem: String,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, holds no token, or a line is no name and token of at least 32 characters.
    pub fn open(path: &Path) -> Result<Self, TokenFileError> {
        let refused = |problem| TokenFileError { path: path.to_owned(), problem };
        let tokens = read(path).map_err(refused)?;
        let state = State { tokens, changed: changed(path), looked: Instant::now() };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    fn find(&self, token: &str) -> Option<Arc<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state);
        let given = token_digest(token);
        // Every token is compared, so that time does not tell which one is near.
        let mut found = None;
        for (name, known) in &state.tokens {
            let same: Choice = known.ct_eq(&given);
            if bool::from(same) {
                found = Some(name.clone());
            }
        }
        found
    }

    /// A file that cannot be read any more leaves no token valid.
    fn refresh(&self, state: &mut State) {
        if state.looked.elapsed() < LOOK {
            return;
        }
        state.looked = Instant::now();
        let now = changed(&self.path);
        if now == state.changed && now.is_some() {
            return;
        }
        state.changed = now;
        match read(&self.path) {
            Ok(tokens) => state.tokens = tokens,
            Err(problem) => {
                tracing::error!(path = %self.path.display(), problem, "no token is valid until the token file is mended");
                state.tokens.clear();
            }
        }
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFile({})", self.path.display())
    }
}

impl Authenticator for TokenFile {
    fn identify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, InferError>> {
        let unknown = InferError::Unauthenticated("this bearer token is not known");
        Box::pin(async move { self.find(token).map(Identity).ok_or(unknown) })
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// The SHA-256 of a token, which is kept and compared in its place.
pub fn token_digest(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

fn read(path: &Path) -> Result<Vec<Known>, String> {
    let length = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if length > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| e.to_string())?);
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("line {}: write a name and a token", number + 1));
        };
        if token.len() < MIN_TOKEN {
            return Err(format!(
                "line {}: a token has at least {MIN_TOKEN} characters; make one with `openssl rand -hex 32`",
                number + 1
            ));
        }
        tokens.push((name.into(), token_digest(token)));
    }
    if tokens.is_empty() { Err("holds no token".into()) } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_is_known_by_its_name_and_nothing_else_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, two) = ("a".repeat(32), "b".repeat(40));
        std::fs::write(file.path(), format!("# clients\nann {one}\n\nbob {two}\n")).unwrap();
        let tokens = TokenFile::open(file.path()).unwrap();
        assert_eq!(tokens.find(&one).as_deref(), Some("ann"));
        assert_eq!(tokens.find(&two).as_deref(), Some("bob"));
        assert_eq!(tokens.find(&two[..39]), None);
        assert_eq!(tokens.find(""), None);
        assert!(!format!("{tokens:?}").contains("aaaa"));
    }

    #[test]
    fn a_token_taken_back_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, two) = ("a".repeat(32), "b".repeat(32));
        std::fs::write(file.path(), format!("ann {one}")).unwrap();
        let tokens = TokenFile::open(file.path()).unwrap();
        std::fs::write(file.path(), format!("ann {two}")).unwrap();
        let mut state = tokens.state.lock().unwrap();
        state.looked = Instant::now().checked_sub(2 * LOOK).unwrap();
        state.changed = None;
        drop(state);
        assert_eq!(tokens.find(&one), None);
        assert_eq!(tokens.find(&two).as_deref(), Some("ann"));
    }

    #[test]
    fn a_file_that_is_no_token_file_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, said) in
            [("", "no token"), ("ann short", "openssl"), ("ann", "line 1"), ("a b c", "line 1")]
        {
            std::fs::write(file.path(), text).unwrap();
            let error = TokenFile::open(file.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
