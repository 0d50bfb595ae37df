//! Random tensors, each from a seed of its own.

use std::sync::{Mutex, PoisonError};
use tch::TchError;

/// Seeds libtorch's generator and draws from it.
///
/// The generator is one for the whole process: nobody may draw between seed and draw.
pub(crate) fn seeded<T>(
    seed: i64,
    draw: impl FnOnce() -> Result<T, TchError>,
) -> Result<T, TchError> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    draw()
}
