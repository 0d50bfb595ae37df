//! One layer of a model: its state machine, and the process that runs it.
