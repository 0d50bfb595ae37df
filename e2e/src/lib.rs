//! Tests of the whole: real processes on this machine. See `tests/`.
