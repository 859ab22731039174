//! The server: its own accept loop, who may ask for what, the routes, and the one map from errors to status codes.
//!
//! Order of a request: connection limits (`server`) → identifier, host, log, error bodies (`middleware`) → the route's
//! policy (`auth`) → the handler (`routes/`, one noun a file). A handler returns a value or an [`ApiError`]; only
//! `error.rs` knows status codes.

mod auth;
mod body;
mod error;
mod metrics;
mod middleware;
mod paging;
mod router;
mod routes;
mod server;
mod sse;
mod stall;
mod state;
mod wire;

pub use auth::Policy;
pub use error::ApiError;
pub use router::{RoutePolicy, build};
pub use routes::pages::has_pages;
pub use server::{ServeError, bind, serve};
pub use state::{AppState, Part, PartState, Readiness, Services};
