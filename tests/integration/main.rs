//! Tests that need more than one room: real models, files, sockets, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod command_line;
mod constraint;
mod dialogues;
mod documents;
mod embedder;
mod engine;
mod http;
mod language_model;
mod layering;
mod postgres;
mod publishing;
mod publishing_crash;
mod reader;
mod retrieval;
mod store_contract;
mod store_crash;
mod store_intents;
mod store_people;
mod store_postgres;
mod store_publishing;
mod store_sqlite;
mod tables;
