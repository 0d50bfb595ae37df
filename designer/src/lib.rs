//! The owner's side: deals the layers, drives the four phases, holds data, labels and loss.
