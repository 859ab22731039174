//! A second reader: the language model copies from the passages what it takes for the answer. Where the words that it
//! copies stand in what the first reader would quote, two models that were trained apart see the answer in one place.
//!
//! On 150 questions on encyclopaedia articles whose quotation was known to be right or wrong (CMRC 2018; the 1.5B model), the
//! two agreed on .92 of the right quotations and on .27 of the wrong ones; on 73 quotations for questions whose article was
//! missing (DRCD) on .40. With a 0.5B model: .80, .30 and .30. Neither the first reader's own probability nor the model's yes
//! or no to a quotation tells these apart.

use super::sentences::segments;
use super::{DialogueError, TokenUsage};
use crate::domain::Language;
use crate::inference::{ChatMessage, ChatRole, GenerateRequest, GenerationEvent, InferenceError, LanguageModel};
use crate::understanding::normalise;
use futures::StreamExt;
use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Tokens of what the model copies: a sentence or two. An answer that is cut off there still says where it stands.
const COPIED_TOKENS: usize = 64;

/// How much of what the model copied a part of a text must hold to be where it stands, beside the part that holds most.
const SHARE_OF_BEST: f32 = 0.6;

/// How much of it any part must hold.
const LEAST_SHARE: f32 = 0.3;

/// Parts of a text that an answer spans at most.
const SPANNED: usize = 4;

/// Two neighbouring letters: words enough to compare Chinese and English alike.
type Pair = [char; 2];

/// What a language model took for the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct SecondReading {
    /// The pairs of its words that are not the question's own. None: it saw no answer.
    pairs: HashSet<Pair>,
    /// What it cost.
    pub(super) usage: TokenUsage,
}

impl SecondReading {
    /// Lets `model` read `passages` (title, text; best first, as many as fit into `budget` tokens, at least one).
    ///
    /// # Errors
    /// What the model reports: `Overloaded`, `Deadline` and the like.
    pub(super) async fn read<'a>(
        model: &dyn LanguageModel,
        question: &str,
        passages: impl IntoIterator<Item = (&'a str, &'a str)>,
        language: Language,
        limits: Limits,
        visitor: Option<String>,
    ) -> Result<Self, DialogueError> {
        let mut material = String::new();
        let mut used = 0;
        for (title, text) in passages {
            let entry = format!("{title}\n{}\n\n", text.trim());
            used += model.count_tokens(&entry)?;
            if !material.is_empty() && used > limits.budget_tokens {
                break;
            }
            material.push_str(&entry);
        }
        let request = GenerateRequest {
            visitor,
            deadline: Some(Instant::now() + limits.time),
            stop: vec!["\n".to_owned()],
            ..GenerateRequest::chat(messages(question, &material, language), COPIED_TOKENS)
        };
        let (words, usage) = words(model, request).await?;
        Ok(Self {
            pairs: new_pairs(&words, question),
            usage,
        })
    }

    /// How much of what the model copied stands in `quoted`: 0 to 1. 0 where it saw no answer.
    pub(super) fn agreement(&self, quoted: &str) -> f32 {
        if self.pairs.is_empty() {
            return 0.0;
        }
        let there = pairs(quoted);
        let shared = self.pairs.iter().filter(|pair| there.contains(*pair)).count();
        shared as f32 / self.pairs.len() as f32
    }

    /// Where in `text` what the model copied stands (whole sentences, items or rows), and how much of it: `None` if it is not
    /// there.
    pub(super) fn place(&self, text: &str) -> Option<(Range<usize>, f32)> {
        let parts = segments(text);
        let shares: Vec<f32> = parts.iter().map(|part| self.agreement(&text[part.clone()])).collect();
        let best = (0..parts.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b]))?;
        if shares[best] < LEAST_SHARE {
            return None;
        }
        let holds = |part: &usize| shares[*part] >= f32::max(LEAST_SHARE, SHARE_OF_BEST * shares[best]);
        let (first, last) = (
            (0..parts.len()).find(holds).unwrap_or(best),
            (0..parts.len()).rfind(holds).unwrap_or(best),
        );
        let place = if last - first < SPANNED {
            parts[first].start..parts[last].end
        } else {
            parts[best].clone()
        };
        let share = self.agreement(&text[place.clone()]);
        Some((place, share))
    }
}

/// What a second reading may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Tokens of the passages.
    pub(super) budget_tokens: usize,
    /// From the request to its end.
    pub(super) time: Duration,
}

/// Words for "there is no answer", at the beginning.
const NONE: [&str; 4] = ["没有", "沒有", "none", "无"];

/// No clause invites the model to say that there is no answer: it would say so of every second question in a customer's own words
/// (of 76 that were quoted rightly, in 31).
fn messages(question: &str, material: &str, language: Language) -> Vec<ChatMessage> {
    let (system, user) = match language {
        Language::Zh => (
            "你从给出的材料中找出能回答客户问题的原文。只抄写材料里的原文，不超过一句话，不解释。",
            format!("材料：\n{material}客户的问题：{question}\n材料中的原文："),
        ),
        Language::En => (
            "You find the words in the material given that answer a customer's question. Copy the material's own words, one \
             sentence at most, and explain nothing.",
            format!("Material:\n{material}The customer's question: {question}\nWords of the material:"),
        ),
    };
    vec![
        ChatMessage::new(ChatRole::System, system),
        ChatMessage::new(ChatRole::User, user),
    ]
}

async fn words(model: &dyn LanguageModel, request: GenerateRequest) -> Result<(String, TokenUsage), InferenceError> {
    let mut stream = model.generate(request)?;
    let (mut words, mut cost) = (String::new(), TokenUsage::default());
    while let Some(event) = stream.next().await {
        match event? {
            GenerationEvent::Text { text, .. } => words.push_str(&text),
            GenerationEvent::Done { usage, .. } => cost = usage.into(),
            GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
        }
    }
    Ok((words, cost))
}

/// The pairs of an answer that its question has not: one that only says the question again says nothing.
fn new_pairs(words: &str, question: &str) -> HashSet<Pair> {
    let words = words.trim();
    if NONE.iter().any(|none| words.to_lowercase().starts_with(none)) {
        return HashSet::new();
    }
    let known = pairs(question);
    pairs(words).into_iter().filter(|pair| !known.contains(pair)).collect()
}

/// Neighbouring letters and digits, whatever stands between them; a single one beside a space.
fn pairs(text: &str) -> HashSet<Pair> {
    let letters: Vec<char> = normalise(text)
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match letters[..] {
        [] => HashSet::new(),
        [only] => HashSet::from([[only, ' ']]),
        _ => letters.windows(2).map(|two| [two[0], two[1]]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{SecondReading, new_pairs};
    use crate::dialogue::TokenUsage;

    fn reading(words: &str, question: &str) -> SecondReading {
        SecondReading {
            pairs: new_pairs(words, question),
            usage: TokenUsage::default(),
        }
    }

    const TEXT: &str = "金卡年费300元，首年免年费。\n白金卡年费900元。\n补卡每张收工本费10元。";

    #[test]
    fn two_that_copy_the_same_words_agree() {
        let second = reading("每张10元工本费", "补卡多少钱");
        assert!(second.agreement("补卡每张收工本费10元。") > 0.7);
        assert!(second.agreement("白金卡年费900元。") < 0.3);
        assert_eq!(
            second.place(TEXT).map(|(place, _)| &TEXT[place]),
            Some("补卡每张收工本费10元。")
        );
    }

    #[test]
    fn no_answer_and_the_question_again_agree_with_nothing() {
        for words in ["没有。", "沒有", "None.", "金卡年费多少", "", "，。"] {
            let second = reading(words, "金卡年费多少");
            assert_eq!(second.agreement(TEXT).to_bits(), 0.0_f32.to_bits(), "{words}");
            assert_eq!(second.place(TEXT), None, "{words}");
        }
    }

    #[test]
    fn what_stands_nowhere_has_no_place() {
        assert_eq!(reading("请联系客户经理办理", "金卡年费多少").place(TEXT), None);
    }

    #[test]
    fn words_of_two_sentences_take_both() {
        let second = reading("金卡300元，首年免年费，白金卡900元", "哪张卡要多少");
        let (place, _) = second.place(TEXT).unwrap();
        assert!(TEXT[place.clone()].contains("300元") && TEXT[place].contains("900元"));
    }
}
