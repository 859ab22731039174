//! Work in the background, one job a file.

pub mod learn;
