//! Tests of rooms together, in one binary.

mod http;
mod store_contract;
mod store_crash;
mod store_sqlite;
