//! The tensor side of a model on libtorch: operations, optimizers, losses, digests.
