//! What the API server said of tokens, for a moment: a pod asks every few seconds, and a stranger as often
//! as it likes. Without clock and client.

use aws_lc_rs::digest::{SHA256, digest};
use mixnn_directory::Refused;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For so long a good token is not asked about again. What ends a pod's rights before is seen without it:
/// its pod is read with every request.
const GOOD: Duration = Duration::from_secs(30);
/// The same of a bad one.
const BAD: Duration = Duration::from_secs(5);
/// The most tokens that are remembered.
const MOST: usize = 8192;

/// What was said of a token: whose it is, or that it is not good.
pub(super) type Said = Result<Bound, Refused>;

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) namespace: String,
    pub(super) account: String,
    pub(super) pod: String,
    pub(super) uid: String,
}

/// Answers by the hash of the token: memory holds no token.
#[derive(Default)]
pub(super) struct Remembered(HashMap<[u8; 32], (Instant, Said)>);

impl Remembered {
    /// What was said of a token not long ago.
    pub(super) fn get(&self, token: &str, now: Instant) -> Option<Said> {
        let (until, said) = self.0.get(&hash(token))?;
        (now < *until).then(|| said.clone())
    }

    /// Remembers what was said.
    pub(super) fn put(&mut self, token: &str, said: Said, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| now < *until);
        }
        if self.0.len() >= MOST {
            // Strangers' tokens: what was said of a pod's is asked again.
            self.0.clear();
        }
        let time = if said.is_ok() { GOOD } else { BAD };
        self.0.insert(hash(token), (now + time, said));
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: Said = Err(Refused::Unauthorized);

    fn bound() -> Bound {
        let text = || "x".to_owned();
        Bound { namespace: text(), account: text(), pod: text(), uid: text() }
    }

    #[test]
    fn answers_are_kept_for_a_moment() {
        let (mut all, now) = (Remembered::default(), Instant::now());
        all.put("good", Ok(bound()), now);
        all.put("bad", NO, now);
        assert_eq!(all.get("good", now), Some(Ok(bound())));
        assert_eq!(all.get("bad", now), Some(NO));
        assert_eq!(all.get("bad", now + BAD), None);
        assert_eq!(all.get("good", now + BAD), Some(Ok(bound())));
        assert_eq!(all.get("good", now + GOOD), None);
    }

    #[test]
    fn a_flood_of_tokens_takes_no_more_memory() {
        let (mut all, now) = (Remembered::default(), Instant::now());
        for i in 0..3 * MOST {
            all.put(&i.to_string(), NO, now);
        }
        assert!(all.0.len() <= MOST);
    }
}
