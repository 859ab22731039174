//! Whether somebody works now: `{open, opens, closes}`.

use super::{Tool, ToolError, ToolSetupError};
use crate::config::ToolConfig;
use crate::domain::Clock;
use async_trait::async_trait;
use jiff::civil::Time;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hours of the settings.
pub(super) struct BusinessHours {
    name: String,
    days: Vec<u8>,
    open: Time,
    close: Time,
    zone: TimeZone,
    clock: Arc<dyn Clock>,
}

impl BusinessHours {
    pub(super) fn new(
        name: &str,
        config: &ToolConfig,
        clock: Arc<dyn Clock>,
        utc_offset_minutes: i32,
    ) -> Result<Self, ToolSetupError> {
        let time = |setting: &'static str, text: &str| {
            Time::strptime("%H:%M", text).map_err(|_| ToolSetupError::Setting {
                tool: name.to_owned(),
                setting,
                detail: format!("\"{text}\" is no time such as 09:00"),
            })
        };
        Ok(Self {
            name: name.to_owned(),
            days: config.days.clone(),
            open: time("open", &config.open)?,
            close: time("close", &config.close)?,
            zone: zone(utc_offset_minutes),
            clock,
        })
    }
}

/// The zone that is so many minutes ahead of UTC.
pub fn zone(utc_offset_minutes: i32) -> TimeZone {
    TimeZone::fixed(Offset::from_seconds(utc_offset_minutes * 60).unwrap_or(Offset::UTC))
}

#[async_trait]
impl Tool for BusinessHours {
    fn name(&self) -> &str {
        &self.name
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn call(&self, _args: &Json, _key: &str, _deadline: Instant) -> Result<Json, ToolError> {
        let now = self.clock.now().to_zoned(self.zone.clone());
        let day = now.weekday().to_monday_one_offset();
        let open = self.days.iter().any(|known| i8::try_from(*known) == Ok(day))
            && (self.open..self.close).contains(&now.time());
        let shown = |time: Time| time.strftime("%H:%M").to_string();
        Ok(json!({ "open": open, "opens": shown(self.open), "closes": shown(self.close) }))
    }
}

#[cfg(test)]
mod tests {
    use super::BusinessHours;
    use crate::config::ToolConfig;
    use crate::dialogue::flow::tools::Tool;
    use crate::domain::ManualClock;
    use std::sync::Arc;
    use std::time::Instant;

    #[tokio::test]
    async fn hours_are_those_of_the_customers() {
        // Monday, 2026-11-23.
        for (utc, open) in [
            ("2026-11-23T00:59:00Z", false),
            ("2026-11-23T01:00:00Z", true),
            ("2026-11-23T10:00:00Z", false),
            ("2026-11-28T02:00:00Z", false),
        ] {
            let clock = Arc::new(ManualClock::new(utc.parse().unwrap()));
            let hours = BusinessHours::new("hours", &ToolConfig::default(), clock, 480).unwrap();
            let answer = hours.call(&serde_json::json!({}), "", Instant::now()).await.unwrap();
            assert_eq!(answer["open"], open, "{utc}");
        }
        let wrong = ToolConfig {
            open: "nine".to_owned(),
            ..ToolConfig::default()
        };
        assert!(
            BusinessHours::new(
                "hours",
                &wrong,
                Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)),
                0
            )
            .is_err()
        );
    }
}
