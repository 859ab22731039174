//! The accept loop. Its own, because the framework's sets no timer for headers: a thousand half-written requests would
//! hold a thousand connections (CVE class "slowloris").

use super::auth::Peer;
use super::router;
use super::stall::StallGuard;
use super::state::AppState;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The fewest bytes that hyper buffers.
const LEAST_BUFFER_BYTES: usize = 8192;

/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// For streams to say goodbye after the drain time.
const FAREWELL: Duration = Duration::from_secs(2);

/// After an accept failed: the machine is out of file descriptors or memory, and asking again at once would only heat it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is none.
    #[error("http.listen = \"{listen}\" is no address and port; write for example 127.0.0.1:8787")]
    Address {
        /// What was given.
        listen: String,
    },
    /// Something else listens there.
    #[error(
        "port {} on {} is taken by another program. Stop that program, or choose another port: kefu serve --listen {}:{}",
        address.port(), address.ip(), bracketed(address), address.port().checked_add(1).unwrap_or(8787)
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not allow it.
    #[error(
        "cannot listen on {address}: {source}. Ports below 1024 need a privilege, and the address must be this machine's"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An IPv6 address in brackets, as `--listen` reads it.
fn bracketed(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// Listens on `listen` (address and port; port 0 takes a free one).
///
/// # Errors
/// [`ServeError`], in words that name the remedy.
pub async fn bind(listen: &str) -> Result<TcpListener, ServeError> {
    let address: SocketAddr = listen.parse().map_err(|_| ServeError::Address {
        listen: listen.to_owned(),
    })?;
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken { address },
        _ => ServeError::Bind { address, source },
    })
}

/// Serves until `shutdown` is cancelled, then drains: nothing new is accepted, replies under way have
/// `http.drain_timeout_ms`, after which open streams end with the event `error` of code `server_shutdown`.
///
/// # Errors
/// None at present: a connection's failure concerns that connection.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: CancellationToken) -> Result<(), ServeError> {
    let router = router::build(&state).0;
    let slots = Arc::new(Semaphore::new(state.config().max_connections));
    let tracker = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let slot = tokio::select! {
            () = shutdown.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = connection(stream, peer, router.clone(), state.clone(), shutdown.clone());
        let abort = abort.clone();
        let gauge = state.metrics().connection();
        tracker.spawn(async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = connection => {}
            }
            drop((slot, gauge));
        });
    }
    drop(listener);
    tracker.close();
    drain(&state, &tracker, &abort).await;
    Ok(())
}

async fn drain(state: &AppState, tracker: &TaskTracker, abort: &CancellationToken) {
    let patience = Duration::from_millis(state.config().drain_timeout_ms);
    if timeout(patience, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "replies still under way are ended");
        state.closing().cancel();
        if timeout(FAREWELL, tracker.wait()).await.is_err() {
            abort.cancel();
            tracker.wait().await;
        }
    }
}

/// One connection, from its first request to its last.
async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, state: AppState, shutdown: CancellationToken) {
    let config = state.config();
    // Small events must not wait for each other (Nagle's algorithm).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let guarded = StallGuard::new(stream, Duration::from_millis(config.stalled_client_timeout_ms));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .max_header_size(config.max_header_bytes)
        .max_buf_size(config.max_header_bytes.max(LEAST_BUFFER_BYTES))
        .max_headers(MAX_HEADERS);
    let mut served = pin!(builder.serve_connection(TokioIo::new(guarded), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // The client left, was too slow or wrote no HTTP: its own affair.
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::{ServeError, bind};

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_remedy() {
        let first = bind("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(&address.to_string()).await.unwrap_err();
        assert!(matches!(error, ServeError::PortTaken { .. }));
        let words = error.to_string();
        assert!(
            words.contains(&address.port().to_string()) && words.contains("--listen"),
            "{words}"
        );
        assert!(
            bind("nowhere")
                .await
                .unwrap_err()
                .to_string()
                .contains("127.0.0.1:8787")
        );
    }
}
