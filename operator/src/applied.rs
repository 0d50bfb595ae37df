//! What was applied last, as hashes: nothing is sent twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hashes of what was applied, by whom it is for and what it is.
#[derive(Default)]
pub struct Applied(Mutex<HashMap<String, HashMap<String, u64>>>);

impl Applied {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this was applied last.
    pub fn is(&self, whose: &str, what: &str, hash: u64) -> bool {
        self.lock().get(whose).and_then(|all| all.get(what)) == Some(&hash)
    }

    /// This was applied.
    pub fn set(&self, whose: &str, what: &str, hash: u64) {
        self.lock().entry(whose.to_owned()).or_default().insert(what.to_owned(), hash);
    }

    /// Whether anything of this was applied.
    pub fn has(&self, whose: &str, what: &str) -> bool {
        self.lock().get(whose).is_some_and(|all| all.contains_key(what))
    }

    /// Whatever was applied for it is to be applied again.
    pub fn forget(&self, whose: &str) {
        self.lock().remove(whose);
    }

    /// Everything is to be applied again.
    pub fn forget_all(&self) {
        self.lock().clear();
    }
}
