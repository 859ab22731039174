//! What the server counts, for Prometheus. Labels are route templates and closed sets: nothing a client sends becomes
//! a label, so the number of series is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Seconds, from an approved answer to a long one on a slow machine.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplyLabel {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The counters of one server.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    replies: Family<ReplyLabel, Counter>,
    reply_errors: Family<CodeLabel, Counter>,
    first_token_seconds: Histogram,
    reply_seconds: Histogram,
    rejections: Family<CodeLabel, Counter>,
    connections: Gauge,
    index: Family<KindLabel, Gauge>,
    kb_version: Gauge,
}

/// Counts a connection as long as it lives.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            registry: Registry::with_prefix("kefu"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            replies: Family::default(),
            reply_errors: Family::default(),
            first_token_seconds: histogram(),
            reply_seconds: histogram(),
            rejections: Family::default(),
            connections: Gauge::default(),
            index: Family::default(),
            kb_version: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("http_requests", "Requests by route and status", self.requests.clone());
        r.register(
            "http_request_seconds",
            "From request to first byte",
            self.request_seconds.clone(),
        );
        r.register("replies", "Replies by route", self.replies.clone());
        r.register(
            "reply_errors",
            "Replies that ended in an error",
            self.reply_errors.clone(),
        );
        r.register(
            "reply_first_token_seconds",
            "From question to first words",
            self.first_token_seconds.clone(),
        );
        r.register(
            "reply_seconds",
            "From question to last word",
            self.reply_seconds.clone(),
        );
        r.register(
            "rejections",
            "Requests refused for want of room",
            self.rejections.clone(),
        );
        r.register("connections", "Open connections", self.connections.clone());
        r.register("knowledge", "What the knowledge base holds", self.index.clone());
        r.register(
            "knowledge_version",
            "Version of the knowledge base",
            self.kb_version.clone(),
        );
        self
    }

    pub(super) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests
            .get_or_create(&RequestLabels {
                method,
                route: route.to_owned(),
                status,
            })
            .inc();
        self.request_seconds
            .get_or_create(&RouteLabel {
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    pub(super) fn reply(&self, route: &'static str) {
        self.replies.get_or_create(&ReplyLabel { route }).inc();
    }

    pub(super) fn reply_error(&self, code: &'static str) {
        self.reply_errors.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn reply_took(&self, first_token_ms: u64, total_ms: u64) {
        self.first_token_seconds
            .observe(Duration::from_millis(first_token_ms).as_secs_f64());
        self.reply_seconds
            .observe(Duration::from_millis(total_ms).as_secs_f64());
    }

    pub(super) fn rejected(&self, code: &'static str) {
        self.rejections.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn connection(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    pub(super) fn knowledge(&self, counts: crate::storage::KnowledgeCounts, version: u64) {
        for (kind, count) in [
            ("documents", counts.documents),
            ("passages", counts.passages),
            ("faqs", counts.faqs),
        ] {
            self.index
                .get_or_create(&KindLabel { kind })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.kb_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// Everything in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// None that a `String` could give.
    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
