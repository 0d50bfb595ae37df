//! Registration and the directory of public keys: one service for the cluster and for one machine.
