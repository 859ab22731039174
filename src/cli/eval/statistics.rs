//! Figures over scored and ranked things.

/// Where the right one stands in each list, from 1; `None` where it is not among those that were looked at.
#[derive(Debug, Default)]
pub struct Ranks(Vec<Option<usize>>);

impl Ranks {
    pub fn push(&mut self, rank: Option<usize>) {
        self.0.push(rank);
    }

    /// Whether there are no lists.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In how many lists it is among the first `k`.
    pub fn within(&self, k: usize) -> usize {
        self.0.iter().flatten().filter(|rank| **rank <= k).count()
    }

    pub fn recall(&self, k: usize) -> f64 {
        self.mean(|rank| if rank <= k { 1.0 } else { 0.0 })
    }

    /// The mean reciprocal rank.
    pub fn mrr(&self) -> f64 {
        self.mean(|rank| 1.0 / rank as f64)
    }

    /// The normalised discounted cumulative gain of the first `k`, where one thing alone is right. Source: Järvelin and
    /// Kekäläinen, ACM TOIS 20 (2002).
    pub fn ndcg(&self, k: usize) -> f64 {
        self.mean(|rank| {
            if rank <= k {
                1.0 / (rank as f64 + 1.0).log2()
            } else {
                0.0
            }
        })
    }

    fn mean(&self, value: impl Fn(usize) -> f64) -> f64 {
        let sum: f64 = self.0.iter().flatten().map(|rank| value(*rank)).sum();
        sum / self.0.len().max(1) as f64
    }
}

/// The place of each number in their order, from 1; equal ones share the mean of theirs.
fn places(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut places = vec![0.0; scores.len()];
    let mut first = 0;
    for group in order.chunk_by(|&a, &b| scores[a].total_cmp(&scores[b]).is_eq()) {
        let place = first as f64 + f64::midpoint(group.len() as f64, 1.0);
        for &index in group {
            places[index] = place;
        }
        first += group.len();
    }
    places
}

/// The area under the ROC curve: how often one that is `true` scores above one that is not, ties by half. `None` if there
/// are not both.
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let places = places(scores);
    let sum: f64 = places
        .iter()
        .zip(labels)
        .filter(|(_, label)| **label)
        .map(|(place, _)| place)
        .sum();
    Some((sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Spearman's rank correlation of scores and labels; `None` where one of them does not vary.
pub fn spearman(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let labels: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
    let (a, b) = (places(scores), places(&labels));
    let mean = f64::midpoint(scores.len() as f64, 1.0);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        ab += (a - mean) * (b - mean);
        aa += (a - mean) * (a - mean);
        bb += (b - mean) * (b - mean);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// The largest share that any threshold puts on the right side, and that threshold: `true` is what scores at least as much.
pub fn best_accuracy(scores: &[f64], labels: &[bool]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    // All false, then one group of equal scores after the other turns true.
    let mut right = labels.iter().filter(|label| !**label).count();
    let mut best = (right, f64::INFINITY);
    for group in order.chunk_by(|&a, &b| scores[a].total_cmp(&scores[b]).is_eq()) {
        let gained = group.iter().filter(|&&index| labels[index]).count();
        right = right + gained - (group.len() - gained);
        if right > best.0 {
            best = (right, scores[group[0]]);
        }
    }
    (best.0 as f64 / labels.len().max(1) as f64, best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn ranks_give_the_usual_figures() {
        let mut ranks = Ranks::default();
        for rank in [Some(1), Some(3), None, Some(7)] {
            ranks.push(rank);
        }
        assert_eq!((ranks.within(1), ranks.within(5)), (1, 2));
        near(ranks.recall(10), 0.75);
        near(ranks.mrr(), (1.0 + 1.0 / 3.0 + 1.0 / 7.0) / 4.0);
        near(ranks.ndcg(5), (1.0 + 0.5) / 4.0);
    }

    #[test]
    fn ties_count_by_half() {
        let labels = [true, false, true, false];
        near(auc(&[0.9, 0.1, 0.8, 0.2], &labels).unwrap(), 1.0);
        near(auc(&[0.5; 4], &labels).unwrap(), 0.5);
        near(auc(&[0.1, 0.9, 0.2, 0.8], &labels).unwrap(), 0.0);
        assert_eq!(auc(&[0.1, 0.2], &[true, true]), None);
    }

    #[test]
    fn correlation_and_accuracy_follow_the_order_alone() {
        let labels = [true, true, false, false];
        near(
            spearman(&[9.0, 8.0, -1.0, 2.0], &labels).unwrap(),
            0.894_427_190_999_916,
        );
        assert_eq!(spearman(&[1.0; 4], &labels), None);
        assert_eq!(best_accuracy(&[0.9, 0.4, 0.5, 0.1], &labels), (0.75, 0.9));
        assert_eq!(best_accuracy(&[0.9, 0.8, 0.5, 0.1], &labels), (1.0, 0.8));
    }
}
