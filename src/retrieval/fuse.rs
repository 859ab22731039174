//! One order from several.

/// Reciprocal rank fusion: a row's score is the sum over the rankings of 1 / (k + rank), rank from 1, scaled so that
/// the first in all rankings has 1. Best first; equal scores in order of their row.
///
/// Source: Cormack, Clarke and Büttcher, SIGIR 2009.
#[must_use]
pub(super) fn fuse(rankings: &[&[u32]], k: f32) -> Vec<(u32, f32)> {
    let mut scores: Vec<(u32, f32)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let scale = (k + 1.0) / rankings.len().max(1) as f32;
    for ranking in rankings {
        for (rank, row) in ranking.iter().enumerate() {
            let place = *places.entry(*row).or_insert(scores.len());
            if place == scores.len() {
                scores.push((*row, 0.0));
            }
            scores[place].1 += scale / (k + 1.0 + rank as f32);
        }
    }
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores
}

#[cfg(test)]
mod tests {
    use super::fuse;

    #[test]
    fn found_by_both_wins() {
        let fused = fuse(&[&[1, 2, 3], &[4, 2, 1]], 60.0);
        let rows: Vec<u32> = fused.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [1, 2, 4, 3]);
        assert!(fused[0].1 < 1.0);
        assert!((fuse(&[&[7], &[7]], 60.0)[0].1 - 1.0).abs() < 1e-6);
        assert!((fuse(&[&[7, 8]], 60.0)[0].1 - 1.0).abs() < 1e-6);
        assert!(fuse(&[], 60.0).is_empty());
    }
}
