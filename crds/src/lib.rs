//! The Kubernetes API of MixNN: MixNNModel.
