//! What flows call: a port, inner systems over HTTP, and what is built in. What a tool answers reaches the customer through the
//! placeholders of a flow's texts and in no other way.

mod hours;
mod http;

use super::machine::ToolFault;
use crate::config::{ConfigError, ToolConfig, ToolKind, tool_headers};
use crate::domain::Clock;
use async_trait::async_trait;
use hours::BusinessHours;
pub use hours::zone;
use http::HttpTool;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something that a flow can call.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Its name in the settings and in flows.
    fn name(&self) -> &str;
    /// The longest time for one call.
    fn timeout(&self) -> Duration;
    /// Calls it with `args` (an object). The same `idempotency_key` means the same wish: done once however often it is called.
    ///
    /// # Errors
    /// [`ToolError`]; at `deadline` at the latest.
    async fn call(&self, args: &Json, idempotency_key: &str, deadline: Instant) -> Result<Json, ToolError>;
}

/// Why a call failed. No variant holds what the customer said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// It did not answer in time.
    #[error("tool {tool}: no answer within {timeout:?}")]
    Timeout {
        /// The tool.
        tool: String,
        /// The time it had.
        timeout: Duration,
    },
    /// It cannot be reached, or failed on its side.
    #[error("tool {tool}: {detail}")]
    Unavailable {
        /// The tool.
        tool: String,
        /// What happened.
        detail: String,
    },
    /// It is left alone after too many failures.
    #[error("tool {tool} failed too often and is left alone for {retry_after:?}")]
    Resting {
        /// The tool.
        tool: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// It refused the call.
    #[error(
        "tool {tool} refused with status {status}: look at its arguments in the flow and at the inner system's log"
    )]
    Refused {
        /// The tool.
        tool: String,
        /// The HTTP status.
        status: u16,
    },
    /// Its answer is too large or no JSON.
    #[error("tool {tool}: its answer cannot be used: {detail}")]
    BadAnswer {
        /// The tool.
        tool: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl ToolError {
    /// What it means to a flow.
    #[must_use]
    pub fn fault(&self) -> ToolFault {
        match self {
            Self::Timeout { .. } | Self::Unavailable { .. } | Self::Resting { .. } => ToolFault::Unavailable,
            Self::Refused { .. } | Self::BadAnswer { .. } => ToolFault::Refused,
        }
    }
}

/// Why a tool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ToolSetupError {
    /// A setting cannot work.
    #[error("settings: tools.{tool}.{setting}: {detail}")]
    Setting {
        /// The tool.
        tool: String,
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] ConfigError),
}

/// The tools of the settings by name. Nothing is called yet.
///
/// # Errors
/// A setting that cannot work, a secret that is not set.
pub fn tools_of(
    settings: &BTreeMap<String, ToolConfig>,
    clock: &Arc<dyn Clock>,
    utc_offset_minutes: i32,
) -> Result<HashMap<String, Arc<dyn Tool>>, ToolSetupError> {
    let mut tools: HashMap<String, Arc<dyn Tool>> = HashMap::new();
    for (name, config) in settings {
        let tool: Arc<dyn Tool> = match config.kind {
            ToolKind::Http => Arc::new(HttpTool::new(name, config, tool_headers(name, config)?)?),
            ToolKind::BusinessHours => {
                Arc::new(BusinessHours::new(name, config, Arc::clone(clock), utc_offset_minutes)?)
            }
        };
        tools.insert(name.clone(), tool);
    }
    Ok(tools)
}
