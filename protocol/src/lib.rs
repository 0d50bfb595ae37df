//! MixNN's wire protocol, sans-IO: letters, lanes, cells, frames, control messages.
