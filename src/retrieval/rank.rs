//! One order from several signals: a linear model over what the stages say of each candidate.
//!
//! The figures here come from a prototype of this search outside the program; what the program reaches today is
//! what `kefu eval kb` and `kefu eval calibrate` print.
//!
//! Reciprocal rank fusion throws the distances away; with small sets of candidates they tell most. The weights were fitted
//! by maximising the softmax likelihood of the right sources on `kb/questions-calibration.jsonl` (180 answerable
//! questions, ridge 0.01); five-fold cross-validation there: R@1 / R@3 0.72 / 0.88, where reciprocal rank fusion of vectors
//! and words has 0.54 / 0.76. On `kb/questions.jsonl`, which took no part in the fit: 0.80 / 0.95 against 0.64 / 0.90.

/// Candidates whose mean is the zero of the cosines: cosines of one question are comparable, those of two are not.
const ZERO_OF: usize = 10;

/// What the stages say of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Signals {
    /// The row.
    pub(super) row: u32,
    /// Cosine of question and the whole text.
    pub(super) dense: f32,
    /// Cosine of question and the nearest segment.
    pub(super) segment: f32,
    /// BM25 of the best segment; 0 where it has no word in common.
    pub(super) words: f32,
    /// Whether it is a FAQ: their short texts have higher cosines for no merit of theirs.
    pub(super) is_faq: bool,
}

const DENSE_WEIGHT: f32 = 3.61 * 20.0;
const SEGMENT_WEIGHT: f32 = 4.22 * 20.0;
const WORDS_WEIGHT: f32 = 1.46 / 10.0;
const FAQ_WEIGHT: f32 = -1.48;

/// The rows, best first, each with its share of the softmax over all of them, 0 to 1; equal ones in order of their row.
pub(super) fn rank(candidates: &[Signals]) -> Vec<(u32, f32)> {
    let dense_zero = mean_of_best(candidates.iter().map(|signals| signals.dense).collect());
    let segment_zero = mean_of_best(candidates.iter().map(|signals| signals.segment).collect());
    let score = |signals: &Signals| {
        DENSE_WEIGHT * (signals.dense - dense_zero)
            + SEGMENT_WEIGHT * (signals.segment - segment_zero)
            + WORDS_WEIGHT * signals.words
            + if signals.is_faq { FAQ_WEIGHT } else { 0.0 }
    };
    let mut rows: Vec<(u32, f32)> = candidates.iter().map(|signals| (signals.row, score(signals))).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = rows.first().map_or(0.0, |(_, score)| *score);
    let sum: f32 = rows.iter().map(|(_, score)| (score - best).exp()).sum();
    for (_, score) in &mut rows {
        *score = (*score - best).exp() / sum;
    }
    rows
}

fn mean_of_best(mut values: Vec<f32>) -> f32 {
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(ZERO_OF);
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::{Signals, rank};

    fn signals(row: u32, dense: f32, segment: f32, words: f32) -> Signals {
        Signals {
            row,
            dense,
            segment,
            words,
            is_faq: false,
        }
    }

    #[test]
    fn what_all_stages_prefer_is_first_and_shares_add_up() {
        let rows = rank(&[
            signals(1, 0.80, 0.82, 0.0),
            signals(2, 0.84, 0.88, 9.0),
            signals(3, 0.85, 0.83, 0.0),
        ]);
        assert_eq!(rows.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3, 1]);
        assert!((rows.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(rank(&[]).is_empty());
        assert!((rank(&[signals(5, 0.1, 0.1, 0.0)])[0].1 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_word_in_common_decides_between_equal_vectors() {
        let rows = rank(&[signals(1, 0.8, 0.8, 0.0), signals(2, 0.8, 0.8, 5.0)]);
        assert_eq!(rows[0].0, 2);
    }
}
