//! Tests that need more than one room: real models, files, sockets, in one binary.

mod embedder;
mod engine;
mod language_model;
mod layering;
mod retrieval;
mod store_contract;
mod store_crash;
mod store_sqlite;
