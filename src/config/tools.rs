//! `[tools.NAME]`: what task flows may call. Nothing that is not named here is called.

use super::{ConfigError, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a tool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// An inner system, asked over HTTP.
    #[default]
    Http,
    /// Whether somebody works now, by `days`, `open` and `close`; built in.
    BusinessHours,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolConfig {
    /// What it is.
    pub kind: ToolKind,
    /// The inner system's address.
    pub url: String,
    /// `POST` (arguments as JSON) or `GET` (arguments in the query).
    pub method: String,
    /// For one call, its second try included.
    pub timeout_ms: u64,
    /// Bytes of an answer.
    pub max_answer_bytes: usize,
    /// Headers, each with the environment variable that holds its value.
    pub header_env: BTreeMap<String, String>,
    /// File (PEM) of the authorities that sign its certificate; empty for the system's.
    pub ca_file: String,
    /// Whether it may stand outside private networks.
    pub allow_public: bool,
    /// Failures in a row after which it is left alone.
    pub breaker_failures: u32,
    /// How long it is left alone; chance adds up to half.
    pub breaker_pause_ms: u64,
    /// For `business_hours`: days of the week, 1 is Monday.
    pub days: Vec<u8>,
    /// For `business_hours`: when work begins.
    pub open: String,
    /// For `business_hours`: when it ends.
    pub close: String,
}

impl Default for ToolConfig {
    fn default() -> Self {
        Self {
            kind: ToolKind::Http,
            url: String::new(),
            method: "POST".to_owned(),
            timeout_ms: 5000,
            max_answer_bytes: 65_536,
            header_env: BTreeMap::new(),
            ca_file: String::new(),
            allow_public: false,
            breaker_failures: 5,
            breaker_pause_ms: 10_000,
            days: vec![1, 2, 3, 4, 5],
            open: "09:00".to_owned(),
            close: "18:00".to_owned(),
        }
    }
}

impl ToolConfig {
    /// What is wrong with it, in words.
    pub(super) fn faults(&self, name: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut need = |holds: bool, detail: &str| {
            if !holds {
                faults.push(format!("tools.{name}.{detail}"));
            }
        };
        if self.kind == ToolKind::Http {
            need(
                self.url.starts_with("http://") || self.url.starts_with("https://"),
                "url must begin with http:// or https://",
            );
            need(
                matches!(self.method.as_str(), "POST" | "GET"),
                "method must be \"POST\" or \"GET\"",
            );
        } else {
            need(
                self.days.iter().all(|day| (1..=7).contains(day)),
                "days must be 1 (Monday) to 7",
            );
        }
        need(
            (1..=60_000).contains(&self.timeout_ms),
            "timeout_ms must lie between 1 and 60000",
        );
        need(
            (64..=1 << 20).contains(&self.max_answer_bytes),
            "max_answer_bytes must lie between 64 and 1048576",
        );
        need(self.breaker_failures > 0, "breaker_failures must be at least 1");
        faults
    }
}

/// The headers of a tool with their values, read from the environment.
///
/// # Errors
/// Variables that are not set, all of them.
pub fn tool_headers(name: &str, tool: &ToolConfig) -> Result<Vec<(String, Secret)>, ConfigError> {
    let mut missing = Vec::new();
    let mut headers = Vec::new();
    for (header, variable) in &tool.header_env {
        match super::load::variable(variable) {
            Some(value) => headers.push((header.clone(), Secret::new(value))),
            None => missing.push(format!("tools.{name}.header_env: {variable} is not set")),
        }
    }
    if missing.is_empty() {
        Ok(headers)
    } else {
        Err(ConfigError::Invalid(missing))
    }
}
