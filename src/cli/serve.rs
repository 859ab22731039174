//! `kefu serve`: the server.

use super::Common;
use crate::app;
use clap::Args;
use tokio_util::sync::CancellationToken;

/// Run the server
#[derive(Debug, Args)]
pub struct Serve {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

impl Serve {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = common.settings(self.listen)?;
        let shutdown = CancellationToken::new();
        let signalled = shutdown.clone();
        tokio::spawn(async move {
            wait_for_signal().await;
            tracing::info!("stopping: replies under way are finished first; a second signal stops at once");
            signalled.cancel();
            wait_for_signal().await;
            std::process::exit(130);
        });
        app::serve(config, &common.data, &common.models, shutdown).await
    }
}

/// Waits for Ctrl-C or a termination signal.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
