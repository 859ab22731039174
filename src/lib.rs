//! kefu (客服): a company's AI customer service in one program. `src/ARCHITECTURE.md` is the map.

pub mod app;
pub mod cli;
pub mod config;
pub mod desk;
pub mod dialogue;
pub mod domain;
pub mod http;
pub mod inference;
pub mod insight;
pub mod jobs;
pub mod kernels;
pub mod people;
pub mod retrieval;
pub mod storage;
pub mod understanding;
