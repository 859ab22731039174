//! Questions of one meaning as one gap.

use super::cluster::{groups, near_pairs};
use crate::domain::{Gap, GapId, MessageId};
use crate::storage::GapChange;
use jiff::Timestamp;
use std::collections::HashMap;

/// From which mean cosine on two groups of questions are one. On half of the intents of a bank's questions (multilingual-e5-small; 2,302
/// questions of 38 intents) groups were .904 homogeneous at .90 and .936 at .9125; questions about different things of one kind (the fee of
/// this card and of that) lie just below: a gap lists its examples, so that a person sees what was thrown together.
const SAME: f32 = 0.91;
/// Examples that a gap keeps beside its question.
const EXAMPLES: usize = 9;
/// Characters of a question that are kept.
const QUESTION_CHARS: usize = 200;

/// A question that was asked in vain.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The reply that helped nobody.
    pub message: MessageId,
    /// The question.
    pub question: String,
    /// When.
    pub at: Timestamp,
    /// Its embedding, of norm 1.
    pub vector: Vec<f32>,
}

/// A gap with the embeddings of its question and its examples.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownGap {
    /// The gap.
    pub gap: Gap,
    /// One for its question, then one for each example.
    pub vectors: Vec<Vec<f32>>,
}

/// Groups questions with each other and with the gaps that are there ([`super::cluster`]); gaps that are there stay apart. Returns what
/// is to be stored, one change a gap.
///
/// Cost: one product of vectors for each question and each vector of a gap.
#[must_use]
pub fn assign(asked: Vec<Asked>, known: Vec<KnownGap>) -> Vec<GapChange> {
    let mut vectors: Vec<&[f32]> = Vec::new();
    let mut gap_of: Vec<usize> = Vec::new();
    for (place, gap) in known.iter().enumerate() {
        vectors.extend(gap.vectors.iter().map(Vec::as_slice));
        gap_of.resize(vectors.len(), place);
    }
    let first = vectors.len();
    vectors.extend(asked.iter().map(|one| one.vector.as_slice()));
    // The mean is no greater than the greatest: without a pair of this cosine nothing is joined.
    let pairs = near_pairs(first..vectors.len(), vectors.len(), |row| vectors[row], SAME);
    let groups = groups(
        vectors.len(),
        |row| vectors[row],
        &pairs,
        |row| gap_of.get(row).copied(),
        SAME,
    );
    let places: HashMap<u32, usize> = (0..first).map(|row| (groups[row], gap_of[row])).collect();
    let groups = groups[first..].to_vec();
    merge(asked, &groups, known, places)
}

/// Puts each question into the gap at `places[group]`, or into a new one.
fn merge(
    asked: Vec<Asked>,
    groups: &[u32],
    mut known: Vec<KnownGap>,
    mut places: HashMap<u32, usize>,
) -> Vec<GapChange> {
    let present = known.len();
    let mut replies: Vec<Vec<MessageId>> = vec![Vec::new(); present];
    for (one, group) in asked.into_iter().zip(groups) {
        if let Some(&place) = places.get(group) {
            join(&mut known[place], &one);
            replies[place].push(one.message);
            continue;
        }
        places.insert(*group, known.len());
        let question = clipped(&one.question);
        known.push(KnownGap {
            gap: Gap {
                id: GapId::new(),
                question,
                examples: Vec::new(),
                count: 1,
                first_at: one.at,
                last_at: one.at,
                closed: None,
            },
            vectors: vec![one.vector],
        });
        replies.push(vec![one.message]);
    }
    let changes = known.into_iter().zip(replies).enumerate();
    changes
        .filter(|(_, (_, messages))| !messages.is_empty())
        .map(|(place, (known, messages))| {
            let KnownGap { gap, .. } = known;
            if place < present {
                GapChange::Again {
                    id: gap.id,
                    examples: gap.examples,
                    last_at: gap.last_at,
                    messages,
                }
            } else {
                GapChange::New { gap, messages }
            }
        })
        .collect()
}

fn join(known: &mut KnownGap, asked: &Asked) {
    let gap = &mut known.gap;
    gap.count += 1;
    gap.last_at = gap.last_at.max(asked.at);
    let question = clipped(&asked.question);
    if gap.question != question && !gap.examples.contains(&question) {
        gap.examples.insert(0, question);
        known.vectors.insert(1, asked.vector.clone());
        gap.examples.truncate(EXAMPLES);
        known.vectors.truncate(EXAMPLES + 1);
    }
}

fn clipped(question: &str) -> String {
    question.trim().chars().take(QUESTION_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(question: &str, second: i64, vector: [f32; 2]) -> Asked {
        Asked {
            message: MessageId::new(),
            question: question.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            vector: vector.to_vec(),
        }
    }

    #[test]
    fn alike_questions_are_one_gap() {
        let questions = vec![
            asked("钻石卡年费多少", 10, [1.0, 0.0]),
            asked("能寄到海南吗", 11, [0.0, 1.0]),
            asked("钻石卡一年多少钱", 12, [0.995, 0.0999]),
            asked("钻石卡年费多少", 13, [1.0, 0.0]),
        ];
        let changes = assign(questions.clone(), Vec::new());
        let [GapChange::New { gap, messages }, GapChange::New { gap: other, .. }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!((gap.count, messages.len(), other.count), (3, 3, 1));
        assert_eq!(gap.examples, ["钻石卡一年多少钱"]);
        assert_eq!((gap.first_at.as_second(), gap.last_at.as_second()), (10, 13));

        let known = vec![KnownGap {
            gap: gap.clone(),
            vectors: vec![vec![1.0, 0.0], vec![0.995, 0.0999]],
        }];
        let changes = assign(vec![asked("钻石卡要年费吗", 20, [0.99, 0.141])], known);
        let [GapChange::Again { id, examples, .. }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!((*id, examples.len()), (gap.id, 2));
        assert!(assign(Vec::new(), Vec::new()).is_empty());
    }

    #[test]
    fn a_gap_keeps_few_examples() {
        let all = (0..40).map(|n| asked(&format!("问题{n}"), n, [1.0, 0.0])).collect();
        let changes = assign(all, Vec::new());
        let [GapChange::New { gap, .. }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!((gap.count, gap.examples.len()), (40, EXAMPLES));
        assert_eq!(gap.examples[0], "问题39");
    }
}
