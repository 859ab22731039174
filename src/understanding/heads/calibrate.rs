//! How sure a head may be: measured by cross-validation, on examples that the head at hand was not trained on.

use super::network::softmax;
use super::train::{Chance, train};
use super::{Calibration, FALSE_ALARMS, Sample, Training};
use crate::kernels::level::Level;

/// Parts that the examples are cut into; one part after the other is left out.
const FOLDS: usize = 5;
/// With as many examples one part is left out, with half as many two, and so on: more would take long and tell little more.
const ONE_ROUND: usize = 8000;
/// Logarithms of temperature that are tried.
const TEMPERATURES: std::ops::RangeInclusive<f32> = -2.5..=2.5;

/// The place of the largest.
pub(super) fn best(numbers: &[f32]) -> usize {
    let largest = numbers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    largest.map_or(0, |(place, _)| place)
}

/// The part that each sample belongs to: each label's samples are dealt out in turn.
fn folds(samples: &[Sample<'_>], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    Chance(seed).shuffle(&mut order);
    order.sort_by_key(|&sample| samples[sample].label);
    let mut folds = vec![0; samples.len()];
    for (place, sample) in order.into_iter().enumerate() {
        folds[sample] = place % FOLDS;
    }
    folds
}

/// See the module.
pub(super) fn calibrate(
    samples: &[Sample<'_>],
    labels: usize,
    block: usize,
    training: &Training,
    done: &dyn Fn(f32),
) -> Calibration {
    let folds = folds(samples, training.seed);
    let rounds = (ONE_ROUND / samples.len().max(1)).clamp(1, FOLDS);
    let mut tried: Vec<(Vec<f32>, usize)> = Vec::new();
    for round in 0..rounds {
        let part = |inside: bool| {
            let chosen = samples
                .iter()
                .zip(&folds)
                .filter(move |(_, fold)| (**fold == round) == inside);
            chosen.map(|(sample, _)| *sample).collect::<Vec<_>>()
        };
        let (learnt, left_out) = (part(false), part(true));
        if learnt.is_empty() {
            continue;
        }
        let share = |share: f32| done((round as f32 + share) / rounds as f32);
        let network = train(&learnt, labels, block, training, &share);
        let scores = |sample: &Sample<'_>| network.scores(Level::detect(), sample.numbers, sample.text);
        tried.extend(left_out.iter().map(|sample| (scores(sample), sample.label as usize)));
    }
    let temperature = temperature(&tried);
    let mut sure: Vec<f32> = (tried.iter())
        .map(|(scores, _)| softmax(scores, temperature).into_iter().fold(0.0, f32::max))
        .collect();
    sure.sort_by(f32::total_cmp);
    let right = tried.iter().filter(|(scores, label)| best(scores) == *label).count();
    Calibration {
        n: tried.len(),
        accuracy: right as f64 / tried.len().max(1) as f64,
        macro_f1: macro_f1(tried.iter().map(|(scores, label)| (best(scores), *label)), labels),
        temperature,
        in_scope: sure
            .get((sure.len() as f64 * FALSE_ALARMS) as usize)
            .copied()
            .unwrap_or_default(),
    }
}

/// The temperature under which the answers are likeliest (Guo et al., arXiv:1706.04599), if of two more one were right and one wrong (Platt
/// 1999): where all of fifteen examples are right nothing else would bound how sure the head is, also of what it has never seen.
fn temperature(tried: &[(Vec<f32>, usize)]) -> f32 {
    let right = (tried.len() + 1) as f64 / (tried.len() + 2) as f64;
    let loss = |log: f32| -> f64 {
        let one = |(scores, label): &(Vec<f32>, usize)| {
            let others = (scores.len().max(2) - 1) as f64;
            let lost = |(place, p): (usize, f32)| {
                let share = if place == *label { right } else { (1.0 - right) / others };
                -share * f64::from(p.max(1e-12)).ln()
            };
            softmax(scores, log.exp())
                .into_iter()
                .enumerate()
                .map(lost)
                .sum::<f64>()
        };
        tried.iter().map(one).sum()
    };
    // By thirds: the loss has one valley in the inverse temperature.
    let (mut low, mut high) = TEMPERATURES.into_inner();
    for _ in 0..24 {
        let third = (high - low) / 3.0;
        if loss(low + third) < loss(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    f32::midpoint(low, high).exp()
}

/// The mean over labels that occur of their F1, from (said, right).
pub(super) fn macro_f1(pairs: impl Iterator<Item = (usize, usize)>, labels: usize) -> f64 {
    let (mut both, mut said, mut is) = (vec![0_u32; labels], vec![0_u32; labels], vec![0_u32; labels]);
    for (a, b) in pairs {
        said[a] += 1;
        is[b] += 1;
        both[b] += u32::from(a == b);
    }
    let occurring: Vec<usize> = (0..labels).filter(|label| is[*label] > 0).collect();
    let f1 = |label: &usize| 2.0 * f64::from(both[*label]) / f64::from(said[*label] + is[*label]);
    occurring.iter().map(f1).sum::<f64>() / occurring.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_sure_scores_are_cooled() {
        // Right in three of four cases with a margin of 5: the margin should be ln 3.
        let tried: Vec<_> = (0..4000).map(|n| (vec![5.0, 0.0], usize::from(n % 4 == 0))).collect();
        let expected = 5.0 / 3.0_f32.ln();
        assert!((temperature(&tried) - expected).abs() < 0.05, "{}", temperature(&tried));
    }

    #[test]
    fn a_few_right_answers_make_no_certainty() {
        let tried = vec![(vec![0.0, 3.0, 0.0], 1); 18];
        let sure = softmax(&tried[0].0, temperature(&tried))[1];
        assert!((sure - 0.95).abs() < 0.01, "{sure}");
    }

    #[test]
    fn labels_count_equally() {
        let pairs = [(0, 0), (0, 0), (0, 1), (1, 1)];
        let f1 = macro_f1(pairs.into_iter(), 3);
        assert!((f1 - f64::midpoint(0.8, 2.0 / 3.0)).abs() < 1e-9, "{f1}");
    }

    #[test]
    fn every_label_is_in_every_part() {
        let samples: Vec<Sample<'_>> = (0..20)
            .map(|n| Sample {
                text: "",
                numbers: &[],
                label: n / 10,
            })
            .collect();
        let folds = folds(&samples, 7);
        for label in 0..2 {
            for fold in 0..FOLDS {
                assert_eq!((label * 10..label * 10 + 10).filter(|n| folds[*n] == fold).count(), 2);
            }
        }
    }
}
