//! `kefu eval calibrate`: fits the logistic models of `dialogue::confidence` on questions with known sources.
//!
//! The figures are cross-validated: each question is judged by models fitted without it and its fold.

use super::questions::{Documents, Question, read};
use super::statistics::auc;
use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::dialogue::{
    Calibration, Confidence, FAQ_FEATURES, FIRST_FEATURES, Features, FittedModel, JUDGED_FEATURES, PASSAGE_FEATURES,
    RiskPoint,
};
use crate::retrieval::{Hit, Source};
use crate::understanding::standalone;
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use std::path::PathBuf;

/// Fit the confidence models on questions with known sources
#[derive(Debug, Args)]
pub struct Calibrate {
    /// Questions with `answerable` and `sources`, one JSON object a line. Never the ones that are evaluated
    #[arg(long, value_name = "FILE", default_value = "kb/questions-calibration.jsonl")]
    questions: PathBuf,
    /// Write every question's features and labels there, for a closer look
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// Let the language model judge the hits that are read, and fit the model that weighs its word, too; else that model stays as it is
    #[arg(long)]
    judge: bool,
    /// Write the fitted models there, with what they would send at which risk: for the setting [dialogue] calibration
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Questions that a model is fitted on at least; with fewer it stays as it is.
const LEAST_ROWS: usize = 50;
/// Steps of a curve of risk against coverage.
const STEPS: usize = 40;
/// Questions that are sent at least where a curve begins: of fewer the share of wrong ones says little.
const LEAST_SENT: usize = 10;

/// The strength of the pull towards small weights. Of 1, 10 and 30 the areas under the curve are .909, .915 and .916 for
/// passages; more than 10 pulls all probabilities towards the mean.
const RIDGE: f64 = 10.0;

/// Folds of the cross-validation.
const FOLDS: usize = 5;

/// The rows of each model: features and label.
struct Rows {
    faq: Vec<Row>,
    passages: Vec<Row>,
    first: Vec<Row>,
    judged: Vec<Row>,
}

type Row = (Vec<f64>, bool);

impl Rows {
    fn of(samples: &[Sample]) -> Self {
        let rows = |row: &dyn Fn(&Sample) -> Option<Row>| samples.iter().filter_map(row).collect();
        Self {
            // A question in a FAQ's own wording is answered whatever the model says.
            faq: rows(&|s| {
                let features = s.features.faq.as_ref().filter(|_| !s.features.exact)?;
                Some(Sample::row(&[features], s.faq_right))
            }),
            passages: rows(&|s| Some(Sample::row(&[&s.features.passages], s.question.answerable))),
            first: rows(&|s| Some(Sample::row(&[&s.features.first], s.first_right))),
            judged: rows(&|s| {
                let (features, right) = s.judged.as_ref()?;
                Some(Sample::row(&[&features.first, features.judged.as_ref()?], *right))
            }),
        }
    }
}

struct Sample {
    question: Question,
    features: Features,
    /// The best FAQ is a right source.
    faq_right: bool,
    /// A right source is among the first three hits.
    found: bool,
    /// A right source is the first hit.
    first_right: bool,
    /// The features after the language model judged, and whether a right source was the first hit then.
    judged: Option<(Features, bool)>,
    hits: Vec<serde_json::Value>,
    faqs: Vec<serde_json::Value>,
}

impl Sample {
    /// One row for a model: its features and its label.
    fn row(features: &[&[f32]], label: bool) -> Row {
        let all = features.iter().flat_map(|some| some.iter());
        (all.map(|x| f64::from(*x)).collect(), label)
    }
}

impl Calibrate {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let need = if self.judge { Need::Answers } else { Need::Search };
        let mut config = common.settings(None)?;
        let named = std::fs::read_to_string(&config.dialogue.calibration);
        if named.is_ok_and(|json| Confidence::parse(&json).is_err()) {
            // One that does not fit this version any more is what this is run for.
            config.dialogue.calibration.clear();
        }
        let app = App::open(config, &common.data, &common.models, need).await?;
        let documents = Documents::of(app.store.as_ref()).await?;
        let mut samples = Vec::new();
        let questions = read(&self.questions)?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(questions.len() as u64)
        };
        for question in questions {
            let ask = question.ask(app.viewer());
            let (mut found, features) = app.assistant.find(&ask).await?;
            let right =
                |hit: Option<&Hit>| question.answerable && hit.is_some_and(|hit| question.is_source(hit, &documents));
            let (first_right, in_top3) = (right(found.hits.first()), question.in_top3(&found.hits, &documents));
            let mut judged = None;
            if self.judge {
                let asked = standalone(&ask.question, &ask.history);
                app.assistant.judge(&asked, &mut found).await;
                judged = Some((Features::of(&found, &asked), right(found.hits.first())));
            }
            let read = found.hits.iter().filter(|hit| hit.scores.reading.is_some());
            let hits = read.map(|hit| {
                let (title, text) = match &hit.source {
                    Source::Passage(passage) => (passage.title(), passage.text.clone()),
                    Source::Faq(faq) => (format!("FAQ {}: {}", faq.key, faq.question), faq.answer.clone()),
                };
                json!({
                    "title": title, "text": text, "right": question.is_source(hit, &documents), "fused": hit.scores.fused, "dense": hit.scores.dense,
                    "segment": hit.scores.segment, "reading": hit.scores.reading, "yes": hit.scores.yes,
                    "likelihood": hit.scores.likelihood,
                })
            });
            let hits = hits.collect();
            let faqs = found.faqs.iter().map(|hit| {
                json!({
                    "key": hit.faq.key, "question": hit.faq.question, "answer": hit.faq.answer,
                    "right": question.names_faq(&hit.faq.key), "rank": hit.rank, "similarity": hit.similarity, "same": hit.same,
                    "reading": hit.reading,
                })
            });
            let faqs = faqs.collect();
            samples.push(Sample {
                hits,
                faqs,
                faq_right: found.faqs.first().is_some_and(|best| question.names_faq(&best.faq.key)),
                found: in_top3,
                first_right,
                judged,
                question,
                features,
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        let (reader, embedder) = (app.reader.version().to_owned(), app.embedder.info().sha256.clone());
        let present = app.assistant.confidence().calibration().clone();
        app.close().await;
        ensure!(
            samples.len() >= LEAST_ROWS,
            "at least {LEAST_ROWS} questions are needed to fit anything"
        );
        if let Some(path) = &self.out {
            let calibration = Self::fitted(&samples, reader, embedder, present);
            Confidence::new(calibration.clone())?;
            std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&calibration)?))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        if let Some(path) = &self.features {
            let lines: Vec<String> = samples.iter().map(|s| line(s).to_string()).collect();
            std::fs::write(path, lines.join("\n"))?;
        }
        output::print_json(&Self::report(&samples));
        Ok(())
    }

    /// The models of this fit; what was not measured stays as it was.
    fn fitted(samples: &[Sample], reader: String, embedder: String, present: Calibration) -> Calibration {
        let rows = Rows::of(samples);
        let judged: Vec<&str> = FIRST_FEATURES.into_iter().chain(JUDGED_FEATURES).collect();
        Calibration {
            reader,
            embedder,
            questions: samples.len(),
            // A base may have no FAQs, or few questions that come near one.
            faq: if rows.faq.len() < LEAST_ROWS {
                present.faq
            } else {
                fitted_model(&FAQ_FEATURES, &rows.faq)
            },
            passages: FittedModel {
                // That the base can answer is not sent.
                curve: Vec::new(),
                ..fitted_model(&PASSAGE_FEATURES, &rows.passages)
            },
            first: fitted_model(&FIRST_FEATURES, &rows.first),
            judged: if rows.judged.is_empty() {
                present.judged
            } else {
                fitted_model(&judged, &rows.judged)
            },
        }
    }

    fn report(samples: &[Sample]) -> serde_json::Value {
        let Rows {
            faq: faq_rows,
            passages: passage_rows,
            first: first_rows,
            judged: judged_rows,
        } = Rows::of(samples);
        let faq = if faq_rows.is_empty() {
            vec![0.0; FAQ_FEATURES.len() + 1]
        } else {
            fit(&faq_rows)
        };
        let passage = fit(&passage_rows);
        let faq_scores = cross_validate(&faq_rows);
        let passage_scores = cross_validate(&passage_rows);
        let answerable = samples.iter().filter(|s| s.question.answerable).count();
        let unanswerable = samples.len() - answerable;
        let by_faq = |sample: &&Sample| !sample.features.exact && sample.features.faq.is_some();
        let asked: Vec<&Sample> = samples.iter().filter(by_faq).collect();
        let faq_table: Vec<_> = (4..20)
            .map(|step| f64::from(step) * 0.05)
            .map(|at| {
                let given: Vec<_> = (asked.iter().zip(&faq_scores))
                    .filter(|(_, score)| **score >= at)
                    .collect();
                let right = given.iter().filter(|(sample, _)| sample.faq_right).count();
                let harmful = given.iter().filter(|(sample, _)| !sample.question.answerable).count();
                json!({"at": at, "given": given.len(), "right": right, "to_unanswerable": harmful})
            })
            .collect();
        let passage_table: Vec<_> = (4..20)
            .map(|step| f64::from(step) * 0.05)
            .map(|at| {
                let kept = (0..samples.len())
                    .filter(|i| samples[*i].question.answerable && passage_scores[*i] >= at)
                    .count();
                let refused = (0..samples.len())
                    .filter(|i| !samples[*i].question.answerable && passage_scores[*i] < at)
                    .count();
                json!({"at": at, "answerable_kept": kept, "unanswerable_refused": refused})
            })
            .collect();
        let mut report = json!({
            "task": "calibrate", "n": samples.len(), "answerable": answerable, "unanswerable": unanswerable,
            "source_top3": samples.iter().filter(|s| s.question.answerable && s.found).count(),
            "faq_right": samples.iter().filter(|s| s.faq_right).count(),
            "faq_model": {"features": FAQ_FEATURES, "bias": faq[0], "weights": &faq[1..]},
            "passage_model": {"features": PASSAGE_FEATURES, "bias": passage[0], "weights": &passage[1..]},
            "faq_thresholds": faq_table, "passage_thresholds": passage_table,
            "faq_auc": auc(&faq_scores, &labels(&faq_rows)), "passage_auc": auc(&passage_scores, &labels(&passage_rows)),
            "first_model": model_of(&FIRST_FEATURES, &first_rows),
        });
        if !judged_rows.is_empty() {
            let names: Vec<&str> = FIRST_FEATURES.iter().chain(&JUDGED_FEATURES).copied().collect();
            report["judged_model"] = model_of(&names, &judged_rows);
        }
        report
    }
}

/// The rows by their scores, the highest first, each with the share of wrong ones among those up to it.
fn risks(rows: &[Row], scores: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut wrong = 0_u32;
    let risks = (1_u32..)
        .zip(&order)
        .map(|(sent, at)| {
            wrong += u32::from(!rows[*at].1);
            f64::from(wrong) / f64::from(sent)
        })
        .collect();
    (order, risks)
}

/// A model as a calibration has it, with its curve.
fn fitted_model(names: &[&str], rows: &[Row]) -> FittedModel {
    let (model, scores) = (fit(rows), cross_validate(rows));
    let (order, risks) = risks(rows, &scores);
    let step = (rows.len() / STEPS).max(1);
    let at = |sent: usize| RiskPoint {
        from: scores[order[sent - 1]] as f32,
        sent: sent as f32 / rows.len() as f32,
        wrong: risks[sent - 1] as f32,
    };
    let weights = model[1..].iter().map(|weight| *weight as f32).collect();
    FittedModel {
        features: names.iter().map(|name| (*name).to_owned()).collect(),
        bias: model[0] as f32,
        weights,
        curve: (LEAST_SENT..=rows.len()).step_by(step).map(at).collect(),
    }
}

/// A model fitted to the rows, and what its cross-validated probabilities are worth: how many are right, and how many could be
/// sent at which share of wrong ones.
fn model_of(names: &[&str], rows: &[Row]) -> serde_json::Value {
    let (model, scores) = (fit(rows), cross_validate(rows));
    let (order, risks) = risks(rows, &scores);
    let sent_at = |risk: f64| {
        let most = risks.iter().rposition(|r| *r <= risk);
        most.map(|at| json!({"wrong": risk, "sent": at + 1, "from": scores[order[at]]}))
    };
    let sent = [0.03, 0.05, 0.1, 0.2].map(sent_at);
    json!({
        "features": names, "bias": model[0], "weights": &model[1..], "n": rows.len(),
        "right": rows.iter().filter(|row| row.1).count(), "auc": auc(&scores, &labels(rows)),
        "sent": sent,
    })
}

fn line(sample: &Sample) -> serde_json::Value {
    json!({
        "id": sample.question.id, "question": sample.question.question, "kind": sample.question.kind,
        "answerable": sample.question.answerable, "faq_right": sample.faq_right, "found": sample.found,
        "hits": sample.hits, "faqs": sample.faqs, "exact": sample.features.exact, "faq": sample.features.faq, "passages": sample.features.passages,
        "first": sample.features.first, "first_right": sample.first_right,
        "judged": sample.judged.as_ref().map(|(features, right)| json!({"first": features.first, "judged": features.judged, "right": right})),
    })
}

/// Scores of each row by models that were fitted without its fold.
fn cross_validate(rows: &[Row]) -> Vec<f64> {
    let mut scores = vec![0.0; rows.len()];
    for fold in 0..FOLDS {
        let training: Vec<_> = rows
            .iter()
            .enumerate()
            .filter(|(i, _)| i % FOLDS != fold)
            .map(|(_, r)| r.clone())
            .collect();
        let model = fit(&training);
        for (i, (features, _)) in rows.iter().enumerate().filter(|(i, _)| i % FOLDS == fold) {
            scores[i] = probability(&model, features);
        }
    }
    scores
}

fn probability(model: &[f64], features: &[f64]) -> f64 {
    let sum: f64 = model[0] + model[1..].iter().zip(features).map(|(w, x)| w * x).sum::<f64>();
    1.0 / (1.0 + (-sum).exp())
}

/// Logistic regression with a ridge on standardised features whose weights are not negative: every feature says more for an answer the
/// higher it is, and what two that go together in these questions say against each other holds of no other base. Returns the bias and then
/// the weights for the features as they are.
fn fit(rows: &[Row]) -> Vec<f64> {
    let width = rows.first().map_or(0, |(features, _)| features.len());
    let mut used = vec![true; width];
    loop {
        let model = fit_used(rows, &used);
        // The one that goes most against its meaning is left out; the others may be in order then.
        let deviation = |j: usize| {
            let mean = rows.iter().map(|(x, _)| x[j]).sum::<f64>() / rows.len() as f64;
            (rows.iter().map(|(x, _)| (x[j] - mean).powi(2)).sum::<f64>() / rows.len() as f64).sqrt()
        };
        let against = (0..width).filter(|&j| model[j + 1] < 0.0);
        let worst = against.min_by(|&a, &b| (model[a + 1] * deviation(a)).total_cmp(&(model[b + 1] * deviation(b))));
        match worst {
            Some(worst) => used[worst] = false,
            None => return model,
        }
    }
}

/// Logistic regression over the features that are `used`, the others' weights 0, by Newton's method (Hastie et al. 2009, section 4.4.1).
fn fit_used(rows: &[Row], used: &[bool]) -> Vec<f64> {
    let width = used.len();
    let n = rows.len().max(1) as f64;
    let mean: Vec<f64> = (0..width)
        .map(|j| rows.iter().map(|(x, _)| x[j]).sum::<f64>() / n)
        .collect();
    let deviation: Vec<f64> = (0..width)
        .map(|j| {
            (rows.iter().map(|(x, _)| (x[j] - mean[j]).powi(2)).sum::<f64>() / n)
                .sqrt()
                .max(1e-9)
        })
        .collect();
    let standard = |x: &[f64]| -> Vec<f64> {
        std::iter::once(1.0)
            .chain((0..width).map(|j| if used[j] { (x[j] - mean[j]) / deviation[j] } else { 0.0 }))
            .collect()
    };
    let mut model = vec![0.0; width + 1];
    for _ in 0..50 {
        let mut gradient = vec![0.0; width + 1];
        let mut hessian = vec![vec![0.0; width + 1]; width + 1];
        for (x, label) in rows {
            let x = standard(x);
            let sum: f64 = model.iter().zip(&x).map(|(w, x)| w * x).sum();
            let p = 1.0 / (1.0 + (-sum).exp());
            for a in 0..=width {
                gradient[a] += (f64::from(u8::from(*label)) - p) * x[a];
                for b in 0..=width {
                    hessian[a][b] += p * (1.0 - p) * x[a] * x[b];
                }
            }
        }
        for a in 0..=width {
            // The bias is left free; a tiny pull keeps the system solvable where all labels are alike.
            let pull = if a == 0 { 1e-6 } else { RIDGE };
            gradient[a] -= pull * model[a];
            hessian[a][a] += pull;
        }
        let step = solve(hessian, gradient);
        let size: f64 = step.iter().map(|s| s.abs()).sum();
        for (weight, step) in model.iter_mut().zip(step) {
            *weight += step.clamp(-5.0, 5.0);
        }
        if size < 1e-9 {
            break;
        }
    }
    let weights: Vec<f64> = (0..width).map(|j| model[j + 1] / deviation[j]).collect();
    let bias = model[0] - weights.iter().zip(&mean).map(|(w, m)| w * m).sum::<f64>();
    std::iter::once(bias).chain(weights).collect()
}

/// Solves a small system by elimination with pivots.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()));
        let pivot = pivot.unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        if matrix[column][column].abs() < 1e-12 {
            continue;
        }
        for row in column + 1..n {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column].clone();
            for (cell, above) in matrix[row].iter_mut().zip(above).skip(column) {
                *cell -= factor * above;
            }
            right[row] -= factor * right[column];
        }
    }
    let mut solution = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| matrix[row][k] * solution[k]).sum();
        if matrix[row][row].abs() >= 1e-12 {
            solution[row] = (right[row] - known) / matrix[row][row];
        }
    }
    solution
}

fn labels(rows: &[Row]) -> Vec<bool> {
    rows.iter().map(|(_, label)| *label).collect()
}

#[cfg(test)]
mod tests {
    use super::{auc, cross_validate, fit, labels, probability};

    #[test]
    fn the_fit_finds_a_known_boundary() {
        // Labels by x0 > 0.8 with x1 as noise: the weights must say so.
        let rows: Vec<(Vec<f64>, bool)> = (0..2000)
            .map(|i| {
                let x = f64::from(i) / 2000.0 + 0.3;
                (vec![x, f64::from(i * 7 % 13)], x > 0.8)
            })
            .collect();
        let model = fit(&rows);
        assert!(
            probability(&model, &[0.95, 5.0]) > 0.8 && probability(&model, &[0.6, 5.0]) < 0.2,
            "{model:?}"
        );
        assert!(auc(&cross_validate(&rows), &labels(&rows)).unwrap() > 0.97);
    }
}
