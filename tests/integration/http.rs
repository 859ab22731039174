//! The server over real sockets, a real database and a real index; the two models are scripted.

mod client;
mod completions;
mod connections;
mod desk;
pub mod doubles;
mod errors;
mod flows;
mod honesty;
pub mod inner;
mod intents;
mod knowledge;
mod learning;
pub mod moods;
mod nodes;
mod openai;
mod people;
mod policies;
mod privacy;
mod replay;
mod rerank;
mod routes;
mod streams;
mod support;
mod tools;
