//! Every size on the wire, as sums.
//!
//! Why 16,384: a cell must be large enough that AEAD and HTTP cost little per byte (at 16 KiB the
//! overhead of the longest cascade is 0.73 %), and small enough that a short control message does
//! not waste a link. It is also the largest TLS record, so a cell behind a TLS-terminating gateway
//! stays one record.

/// Length of a cell and of a letter on every link, in bytes.
pub const CELL: usize = 16_384;
/// Length of a one-time link tag.
pub const LINK_TAG: usize = 16;
/// Length of an AES-256-GCM tag.
pub const AEAD_TAG: usize = 16;
/// What one sender-half layer adds in front of what it seals: link tag, AEAD tag.
pub const SENDER_LAYER: usize = LINK_TAG + AEAD_TAG;
/// The most relays on one lane.
pub const MAX_HOPS: usize = 5;
/// The most sender-half layers: the crossing relay of the longest lane is the third.
pub const MAX_SENDER_LAYERS: usize = MAX_HOPS.div_ceil(2);
/// Length of the end-to-end sealed frame: the same at every hop count.
pub const SEALED_FRAME: usize = CELL - MAX_SENDER_LAYERS * SENDER_LAYER;
/// The explicit end-to-end counter in front of a sealed frame.
pub const E2E_COUNTER: usize = 8;
/// Length of a frame before it is sealed: header, data, zero padding.
pub const FRAME: usize = SEALED_FRAME - E2E_COUNTER - AEAD_TAG;
/// Length of the frame header.
pub const FRAME_HEADER: usize = 1 + 1 + 2 // kind, reserved, length
    + 4 + 4 + 8 + 4 // term, attempt, step, micro-batch
    + 8 + 4 + 4; // message id, index, count
/// The most data bytes in one frame.
pub const FRAME_DATA: usize = FRAME - FRAME_HEADER;
/// The crossing relay's mark in front of a sealed frame: real or dummy.
pub const MARK: usize = 1;

/// Length of a node id.
pub const NODE_ID: usize = 16;
/// Length of every symmetric secret.
pub const SECRET: usize = 32;

/// The deepest layering of a cell in the receiver half fits too.
const _: () = assert!(
    LINK_TAG + AEAD_TAG * (MAX_HOPS - MAX_HOPS.div_ceil(2) + 1) + MARK + SEALED_FRAME <= CELL
);
const _: () = assert!(FRAME_HEADER == 40 && FRAME_DATA == 16_224 && SEALED_FRAME == 16_288);

/// Cells that a message of `bytes` bytes takes. An empty message takes one.
pub const fn cells_for(bytes: usize) -> usize {
    if bytes == 0 { 1 } else { bytes.div_ceil(FRAME_DATA) }
}
