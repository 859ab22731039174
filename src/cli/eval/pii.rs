//! `kefu eval pii`: how much personal data is found, and how much else is masked.

use super::evasions::{self, Example};
use super::retrieval::{lines, spread};
use crate::app;
use crate::cli::{Common, output};
use crate::understanding::pii::{Action, Kind, Masker};
use anyhow::ensure;
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Rows that are listed.
const LISTED: usize = 20;
/// Resamplings for an interval.
const RESAMPLES: usize = 1000;

/// Find and mask personal data in marked texts, or in sentences that try to get past
#[derive(Debug, Args)]
pub struct Pii {
    /// Texts, one JSON object a line: {"text", "spans": [{"start", "end", "label"}]}, places in code points
    #[arg(long, value_name = "FILE", required_unless_present = "evasions")]
    data: Option<PathBuf>,
    /// Make so many texts instead: made-up values in every disguise, and harmless numbers
    #[arg(long, value_name = "N", conflicts_with = "data")]
    evasions: Option<usize>,
    /// Take only every second line: `odd` (the first, the third ...) or `even`
    #[arg(long, value_name = "HALF", value_parser = ["odd", "even"])]
    half: Option<String>,
    /// Take so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The kinds that labels mean, as LABEL=KIND, for labels that are not known
    #[arg(long, value_name = "LABEL=KIND")]
    map: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    text: String,
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: usize,
    end: usize,
    label: String,
}

impl From<Example> for Row {
    fn from(example: Example) -> Self {
        let spans = example.value.into_iter().map(|(range, label)| Span {
            start: range.start,
            end: range.end,
            label: label.to_owned(),
        });
        Self {
            spans: spans.collect(),
            text: example.text,
        }
    }
}

/// What a label means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It must be masked.
    Sensitive,
    /// It must stay: amounts, dates, numbers of orders.
    Harmless,
    /// Neither is wrong: companies, jobs, countries.
    Either,
}

/// The meaning of a label: names that sets of the field use, then the kinds of this program by their policy.
fn meaning(label: &str, masker: &Masker, own: &BTreeMap<String, Kind>) -> Meaning {
    let by_policy = |kind| match masker.policy().action(kind) {
        Action::Keep => Meaning::Harmless,
        Action::Mask | Action::Drop => Meaning::Sensitive,
    };
    let lower = label.to_lowercase();
    if let Some(kind) = own.get(label).copied().or_else(|| Kind::from_name(&lower)) {
        return by_policy(kind);
    }
    match lower.as_str() {
        "person" | "per" | "phone" | "phone_number" | "telephone" | "id" | "id_number" | "us_ssn" | "ssn"
        | "credit_card" | "card" | "email_address" | "ip_address" | "iban_code" | "iban" | "license_plate"
        | "street_address" | "loc_address" | "password" | "pin" | "cvv" | "code" | "us_passport" | "us_bank_number"
        | "bank_account" | "uscc" => Meaning::Sensitive,
        "order_id" | "order_number" => by_policy(Kind::Order),
        "tracking_number" => by_policy(Kind::Tracking),
        "amount" | "date" | "price" | "money" | "quantity" | "hotline" | "harmless" => Meaning::Harmless,
        _ => Meaning::Either,
    }
}

/// What happened to one text.
#[derive(Default)]
struct Outcome {
    sensitive: usize,
    leaked: usize,
    overmasked: usize,
    /// Characters masked rightly or freely.
    masked: usize,
}

/// One label's figures.
#[derive(Default)]
struct ByKind {
    spans: usize,
    whole: usize,
    chars: usize,
    covered: usize,
}

impl Pii {
    pub fn run(self, common: &Common) -> anyhow::Result<()> {
        let masker = app::masker(&common.settings(None)?)?;
        let own = self.labels()?;
        let rows: Vec<Row> = match (&self.data, self.evasions) {
            (Some(path), _) => lines(path)?,
            (None, n) => evasions::examples(n.unwrap_or_default())
                .into_iter()
                .map(Row::from)
                .collect(),
        };
        let half = self.half.as_deref().map(|half| usize::from(half == "even"));
        let rows = rows
            .into_iter()
            .enumerate()
            .filter(|(at, _)| half.is_none_or(|half| at % 2 == half));
        let rows = spread(rows.map(|(_, row)| row).collect(), self.limit);
        ensure!(!rows.is_empty(), "no texts to look at");
        for (at, row) in rows.iter().enumerate() {
            let chars = row.text.chars().count();
            let fits = row.spans.iter().all(|span| span.start <= span.end && span.end <= chars);
            ensure!(fits, "text {} has a span beyond its {chars} characters", at + 1);
        }
        // The dictionary is loaded before anything is timed.
        drop(masker.mask("您好"));
        let began = Instant::now();
        let report = measure(&rows, &masker, &own, began);
        if common.json {
            output::print_json(&report);
        } else {
            show(&report);
        }
        Ok(())
    }

    fn labels(&self) -> anyhow::Result<BTreeMap<String, Kind>> {
        let pair = |pair: &String| {
            let (label, kind) = pair.split_once('=')?;
            Some((label.to_owned(), Kind::from_name(kind)?))
        };
        let parsed = self.map.iter().map(|given| {
            pair(given).ok_or_else(|| {
                let kinds: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
                anyhow::anyhow!("--map {given}: give LABEL=KIND with a kind of {}", kinds.join(", "))
            })
        });
        parsed.collect()
    }
}

fn measure(rows: &[Row], masker: &Masker, own: &BTreeMap<String, Kind>, began: Instant) -> Value {
    let mut outcomes = Vec::with_capacity(rows.len());
    let mut by_kind: BTreeMap<&str, ByKind> = BTreeMap::new();
    let mut over: BTreeMap<&'static str, usize> = BTreeMap::new();
    let (mut harmless, mut harmless_kept) = (0, 0);
    let mut seconds = 0.0;
    for row in rows {
        let start = Instant::now();
        let masked = masker.mask(&row.text);
        seconds += start.elapsed().as_secs_f64();
        let chars = row.text.chars().count();
        let mut covered = vec![None; chars];
        for finding in masked.found.iter().filter(|finding| finding.action != Action::Keep) {
            covered[finding.span.clone()].fill(Some(finding.kind));
        }
        let mut gold = vec![Meaning::Harmless; chars];
        for span in &row.spans {
            let meaning = meaning(&span.label, masker, own);
            let hits = covered[span.start..span.end].iter().flatten().count();
            if meaning == Meaning::Harmless {
                harmless += 1;
                harmless_kept += usize::from(hits == 0);
            }
            gold[span.start..span.end].fill(meaning);
            let kind = by_kind.entry(&span.label).or_default();
            kind.spans += 1;
            kind.whole += usize::from(hits == span.end - span.start);
            kind.chars += span.end - span.start;
            kind.covered += hits;
        }
        let mut outcome = Outcome::default();
        for (kind, meaning) in covered.iter().zip(&gold) {
            outcome.sensitive += usize::from(*meaning == Meaning::Sensitive);
            outcome.leaked += usize::from(*meaning == Meaning::Sensitive && kind.is_none());
            outcome.masked += usize::from(kind.is_some());
            if let (Some(kind), Meaning::Harmless) = (kind, meaning) {
                outcome.overmasked += 1;
                *over.entry(kind.name()).or_default() += 1;
            }
        }
        outcomes.push(outcome);
    }
    let sum = |part: fn(&Outcome) -> usize| outcomes.iter().map(part).sum::<usize>();
    let (sensitive, leaked) = (sum(|o| o.sensitive), sum(|o| o.leaked));
    let (overmasked, all_masked) = (sum(|o| o.overmasked), sum(|o| o.masked));
    let kinds: serde_json::Map<String, Value> = by_kind
        .iter()
        .map(|(label, kind)| {
            let figures = json!({
                "meaning": format!("{:?}", meaning(label, masker, own)).to_lowercase(), "spans": kind.spans,
                "recall": share(kind.whole, kind.spans), "recall_interval": output::interval(kind.whole, kind.spans),
                "chars": kind.chars, "masked_chars": kind.covered, "char_recall": share(kind.covered, kind.chars),
            });
            ((*label).to_owned(), figures)
        })
        .collect();
    json!({
        "task": "pii", "n": rows.len(), "seconds": began.elapsed().as_secs_f64(), "ms_per_item": seconds * 1e3 / rows.len() as f64,
        "leaked_chars": leaked, "sensitive_chars": sensitive, "overmasked_chars": overmasked,
        "leaked_share": share(leaked, sensitive), "leaked_share_interval": bootstrap(&outcomes, |o| o.leaked, |o| o.sensitive),
        "masked_chars": all_masked, "overmasked_share": share(overmasked, all_masked),
        "overmasked_share_interval": bootstrap(&outcomes, |o| o.overmasked, |o| o.masked),
        "overmasked_by_kind": over, "by_kind": kinds,
        "harmless": {"spans": harmless, "kept": harmless_kept, "precision": share(harmless_kept, harmless),
            "precision_interval": output::interval(harmless_kept, harmless)},
        "model": null, "heads": {}, "machine": output::machine(), "worst": worst(rows, &outcomes, masker),
    })
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The 95 % interval of a share of characters: texts are drawn anew with a fixed seed, since the characters of one text
/// are found or missed together (Efron 1979).
fn bootstrap(outcomes: &[Outcome], part: fn(&Outcome) -> usize, whole: fn(&Outcome) -> usize) -> Option<[f64; 2]> {
    let mut random = StdRng::seed_from_u64(7);
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let (mut a, mut b) = (0, 0);
            for _ in 0..outcomes.len() {
                let drawn = &outcomes[random.random_range(0..outcomes.len())];
                (a, b) = (a + part(drawn), b + whole(drawn));
            }
            share(a, b)
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    let at = |share: f64| shares.get((shares.len() as f64 * share) as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

fn worst(rows: &[Row], outcomes: &[Outcome], masker: &Masker) -> Vec<Value> {
    let mut order: Vec<usize> = (0..rows.len())
        .filter(|at| outcomes[*at].leaked + outcomes[*at].overmasked > 0)
        .collect();
    order.sort_by_key(|at| std::cmp::Reverse((outcomes[*at].leaked, outcomes[*at].overmasked)));
    let listed = order.into_iter().take(LISTED).map(|at| {
        let row = &rows[at];
        let spans: Vec<_> = row
            .spans
            .iter()
            .map(|span| {
                let value: String = row.text.chars().skip(span.start).take(span.end - span.start).collect();
                json!({"label": span.label, "value": value})
            })
            .collect();
        json!({
            "text": row.text, "masked": masker.mask(&row.text).text, "spans": spans,
            "leaked_chars": outcomes[at].leaked, "overmasked_chars": outcomes[at].overmasked,
        })
    });
    listed.collect()
}

fn show(report: &Value) {
    println!(
        "{} texts: {} of {} sensitive characters left, {} others masked, {:.3} ms a text",
        report["n"],
        report["leaked_chars"],
        report["sensitive_chars"],
        report["overmasked_chars"],
        report["ms_per_item"].as_f64().unwrap_or_default(),
    );
    for (label, figures) in report["by_kind"].as_object().into_iter().flatten() {
        let figure = |name: &str| figures[name].as_f64().unwrap_or_default();
        println!(
            "  {label:16} {:>6} spans, whole {:.3} [{:.3}, {:.3}], characters {:.4} ({})",
            figures["spans"],
            figure("recall"),
            figures["recall_interval"][0].as_f64().unwrap_or_default(),
            figures["recall_interval"][1].as_f64().unwrap_or_default(),
            figure("char_recall"),
            figures["meaning"].as_str().unwrap_or_default(),
        );
    }
    for row in report["worst"].as_array().into_iter().flatten() {
        println!(
            "  -{} +{}  {}  ->  {}",
            row["leaked_chars"], row["overmasked_chars"], row["text"], row["masked"]
        );
    }
}
