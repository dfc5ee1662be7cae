//! The pure core: every rule of the product, as functions of values. No I/O, no clock, no randomness.

pub mod id;
pub mod quorum;
pub mod words;
