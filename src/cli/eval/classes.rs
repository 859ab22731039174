//! Figures over texts that were put into classes.

use crate::cli::output::interval;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Errors and confusions that are listed.
const LISTED: usize = 20;

/// What was said of one text.
pub struct Said<'a> {
    /// The text.
    pub text: &'a str,
    /// What it is.
    pub is: &'a str,
    /// What it was taken for.
    pub said: &'a str,
    /// How sure that was, 0 to 1.
    pub sure: f32,
}

impl Said<'_> {
    fn right(&self) -> bool {
        self.is == self.said
    }
}

/// Accuracy with its 95 % interval, macro-F1, the pairs that are most often confused, and the surest errors.
pub fn figures(all: &[Said<'_>]) -> Value {
    let right = all.iter().filter(|said| said.right()).count();
    let mut confused: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for said in all {
        counts.entry(said.is).or_default()[0] += 1;
        counts.entry(said.said).or_default()[1] += 1;
        if said.right() {
            counts.entry(said.is).or_default()[2] += 1;
        } else {
            *confused.entry((said.is, said.said)).or_default() += 1;
        }
    }
    let occurring = counts.values().filter(|count| count[0] > 0);
    let f1: f64 = occurring
        .clone()
        .map(|[is, said, both]| 2.0 * *both as f64 / (is + said) as f64)
        .sum();
    let macro_f1 = f1 / occurring.count().max(1) as f64;
    let mut confused: Vec<_> = confused.into_iter().collect();
    confused.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let confusion: Vec<Value> = (confused.iter().take(LISTED))
        .map(|((is, said), count)| json!({"is": is, "said": said, "count": count}))
        .collect();
    let mut wrong: Vec<&Said<'_>> = all.iter().filter(|said| !said.right()).collect();
    wrong.sort_by(|a, b| b.sure.total_cmp(&a.sure));
    let errors: Vec<Value> = (wrong.iter().take(LISTED))
        .map(|said| json!({"text": said.text, "is": said.is, "said": said.said, "sure": said.sure}))
        .collect();
    json!({
        "accuracy": right as f64 / all.len().max(1) as f64, "accuracy_interval": interval(right, all.len()),
        "macro_f1": macro_f1, "labels": counts.len(), "confusion": confusion, "errors": errors,
    })
}

/// The score at or above which a share `share` of `scores` lies at most; above all of them if that share is less than one.
pub fn above(scores: &[f64], share: f64) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let allowed = (sorted.len() as f64 * share) as usize;
    // What scores more than the first that is not allowed.
    sorted.get(allowed).copied().unwrap_or(f64::NEG_INFINITY)
}

/// Adds the entries of `more` to those of `report`.
pub fn with(mut report: Value, more: Value) -> Value {
    if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
        report.extend(more);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_definition() {
        let said = |is, said, sure| Said {
            text: "t",
            is,
            said,
            sure,
        };
        let all = [
            said("a", "a", 0.9),
            said("a", "b", 0.8),
            said("b", "b", 0.7),
            said("b", "b", 0.6),
        ];
        let figures = figures(&all);
        assert_eq!(figures["accuracy"], 0.75);
        let expected = f64::midpoint(2.0 / 3.0, 0.8);
        assert!((figures["macro_f1"].as_f64().unwrap() - expected).abs() < 1e-9);
        assert_eq!(figures["confusion"], json!([{"is": "a", "said": "b", "count": 1}]));
        assert_eq!(figures["errors"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_share_of_the_harmless_lies_above() {
        let scores: Vec<f64> = (0..100).map(f64::from).collect();
        let threshold = above(&scores, 0.05);
        assert_eq!(scores.iter().filter(|score| **score > threshold).count(), 5);
        assert!((above(&scores[..3], 0.01) - 2.0).abs() < 1e-9);
    }
}
