//! All integration tests, one module a room.

mod embedder;
