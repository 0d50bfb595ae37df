//! The mixnn command: local runner, reference, data.
