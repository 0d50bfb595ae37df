//! Data sets of the owner: IDX files, generated digits, shuffling, batches.
