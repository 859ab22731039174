//! Tests that need more than one unit: real models, files, sockets.

mod language_model;
