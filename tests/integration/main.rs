//! Tests that need more than one room: real models, files, sockets, in one binary.

mod engine;
mod language_model;
mod store_contract;
mod store_crash;
mod store_sqlite;
