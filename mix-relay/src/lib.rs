//! The mix relay: opens, re-seals and forwards cells and letters.
