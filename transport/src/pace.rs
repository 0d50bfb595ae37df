//! Waiting for slots.

use std::time::Instant;

/// Ends at this instant, up to a millisecond late (the runtime's timer); never, if there is none.
pub async fn until(slot: Option<Instant>) {
    match slot {
        Some(slot) => tokio::time::sleep_until(slot.into()).await,
        None => std::future::pending().await,
    }
}
