//! Questions of one meaning as one gap.

use crate::domain::{Gap, GapId, MessageId};
use crate::storage::GapChange;
use jiff::Timestamp;

/// From which cosine on two questions are one. With multilingual-e5-small questions of one meaning lie above it more often
/// than below, and questions about different things of one kind (the fee of this card and of that) just above as well:
/// a gap lists its examples, so that a person sees what was thrown together.
const SAME: f32 = 0.92;
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

/// Puts each question to the nearest gap, or begins a new one. Returns what is to be stored, one change a gap.
///
/// Cost: one product of vectors for each question and example.
#[must_use]
pub fn assign(asked: Vec<Asked>, mut known: Vec<KnownGap>) -> Vec<GapChange> {
    let present = known.len();
    let mut replies: Vec<Vec<MessageId>> = vec![Vec::new(); present];
    for one in asked {
        let nearest = known
            .iter()
            .enumerate()
            .map(|(place, gap)| (place, likeness(&one.vector, gap)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match nearest {
            Some((place, likeness)) if likeness >= SAME => {
                join(&mut known[place], &one);
                replies[place].push(one.message);
            }
            _ => {
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
        }
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

fn likeness(vector: &[f32], gap: &KnownGap) -> f32 {
    let cosine = |other: &Vec<f32>| vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    gap.vectors.iter().map(cosine).fold(f32::NEG_INFINITY, f32::max)
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
