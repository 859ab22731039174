//! Which flow a message begins: by wording, and by the meaning that an embedding model sees in it.

use super::definition::Flow;
use crate::understanding::match_key;
use async_trait::async_trait;
use regex::Regex;
use std::collections::HashSet;
use std::sync::LazyLock;
use tokio::sync::OnceCell;

/// Share of character pairs from which on two wordings are near enough.
const NEAR: f32 = 0.62;
/// Letters of a wording from which on a message that holds it begins its flow.
const HELD: usize = 4;

/// Questions about a task are no wish for it: they are for the knowledge base.
static ABOUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"怎么(?:办理?|操作|申请|弄|挂失|预约|查|收费|样)|如何|怎样|手续费|收费|费用|要钱|多少钱|条件|流程|步骤|规定|需要什么|什么是|什么材料|是什么|为什么|多久|几天|安全吗|能不能|可以.{0,8}吗|吗$|^(?:how (?:do|can|to|long|does)|what (?:is|are|do)|why|is it|can i|do i|does)(?-u:\b)|(?-u:\b)fees?(?-u:\b)")
        .expect("a fixed pattern")
});
/// Order numbers, telephone numbers and the like say nothing of the wish.
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[a-z]{0,4}[0-9]{4,}").expect("a fixed pattern"));

/// What sees meaning: vectors of length 1.
#[async_trait]
pub trait Similarity: Send + Sync {
    /// A vector for each text; `None` where that is not possible now.
    async fn vectors(&self, texts: Vec<String>) -> Option<Vec<Vec<f32>>>;
}

/// A flow that a message begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triggered {
    /// The flow's index.
    pub flow: usize,
    /// How sure, 0 to 1; 1 for a wording itself.
    pub confidence: f32,
}

struct Wording {
    flow: usize,
    key: String,
    text: String,
    pairs: HashSet<(char, char)>,
    asks: bool,
}

/// The wordings of all flows.
pub struct Triggers {
    wordings: Vec<Wording>,
    vectors: OnceCell<Vec<Vec<f32>>>,
}

impl Triggers {
    /// The wordings of `flows`.
    #[must_use]
    pub fn new(flows: &[Flow]) -> Self {
        let wordings = flows
            .iter()
            .enumerate()
            .flat_map(|(flow, definition)| definition.triggers.iter().map(move |text| (flow, text)))
            .map(|(flow, text)| {
                let key = key(text);
                Wording {
                    flow,
                    pairs: pairs(&key),
                    asks: ABOUT.is_match(&text.to_lowercase()),
                    key,
                    text: text.clone(),
                }
            })
            .collect();
        Self {
            wordings,
            vectors: OnceCell::new(),
        }
    }

    /// The flow that a message begins by its wording.
    #[must_use]
    pub fn by_wording(&self, message: &str) -> Option<Triggered> {
        let key = key(message);
        if key.is_empty() {
            return None;
        }
        let asks = ABOUT.is_match(
            message
                .trim()
                .trim_end_matches(['?', '？', '。', '！', '!'])
                .to_lowercase()
                .as_str(),
        );
        let own = pairs(&key);
        let mut best: Option<Triggered> = None;
        for wording in &self.wordings {
            let confidence = if wording.key == key {
                1.0
            } else if asks && !wording.asks {
                continue;
            } else if wording.key.chars().count() >= HELD && key.contains(&wording.key) {
                0.95
            } else {
                let shared = own.intersection(&wording.pairs).count() as f32;
                2.0 * shared / (own.len() + wording.pairs.len()).max(1) as f32
            };
            if confidence >= NEAR && best.is_none_or(|best| confidence > best.confidence) {
                best = Some(Triggered {
                    flow: wording.flow,
                    confidence: confidence.min(1.0),
                });
            }
        }
        best
    }

    /// The flow that begins where a message wants `intent`, with the confidence of that; a question about a task is none.
    #[must_use]
    pub fn by_intent(flows: &[Flow], message: &str, intent: &str, confidence: f32) -> Option<Triggered> {
        if ABOUT.is_match(message.trim().to_lowercase().as_str()) {
            return None;
        }
        let named = |flow: &Flow| flow.intents.iter().any(|name| name == intent);
        let flow = flows.iter().position(named)?;
        Some(Triggered { flow, confidence })
    }

    /// The flow that a message begins by its meaning, where a cosine reaches `threshold`.
    pub async fn by_meaning(&self, message: &str, similarity: &dyn Similarity, threshold: f32) -> Option<Triggered> {
        if ABOUT.is_match(message.trim().to_lowercase().as_str()) {
            return None;
        }
        let known = self
            .vectors
            .get_or_try_init(|| async {
                let texts = self.wordings.iter().map(|wording| wording.text.clone()).collect();
                similarity.vectors(texts).await.ok_or(())
            })
            .await
            .ok()?;
        let own = similarity.vectors(vec![message.to_owned()]).await?.pop()?;
        let cosine = |other: &[f32]| own.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        self.wordings
            .iter()
            .zip(known)
            .map(|(wording, vector)| Triggered {
                flow: wording.flow,
                confidence: cosine(vector).clamp(0.0, 1.0),
            })
            .filter(|triggered| triggered.confidence >= threshold)
            .max_by(|a, b| a.confidence.total_cmp(&b.confidence))
    }
}

/// The letters of a message without its numbers and without what surrounds a wish.
fn key(message: &str) -> String {
    const AROUND: [&str; 14] = [
        "麻烦",
        "帮我",
        "帮忙",
        "我想要",
        "我想",
        "我要",
        "给我",
        "一下",
        "请",
        "please",
        "iwantto",
        "idliketo",
        "canyou",
        "could you",
    ];
    let mut key = NUMBERS.replace_all(&match_key(message), "").into_owned();
    for word in AROUND {
        key = key.replace(word, "");
    }
    key
}

fn pairs(key: &str) -> HashSet<(char, char)> {
    key.chars().zip(key.chars().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Similarity, Triggers};
    use crate::dialogue::flow::load;
    use async_trait::async_trait;
    use std::path::Path;

    fn triggered(message: &str) -> Option<String> {
        let flows = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/flows")).unwrap();
        Triggers::new(&flows)
            .by_wording(message)
            .map(|triggered| flows[triggered.flow].name.clone())
    }

    #[test]
    fn a_wish_begins_a_flow_and_a_question_about_it_does_not() {
        for (message, flow) in [
            ("我的快递到哪了？", "parcel"),
            ("麻烦帮我查一下快递 SF1234567890", "parcel"),
            ("我的卡丢了！", "lost_card"),
            ("你好，我要预约安装", "installation"),
            ("where is my parcel", "parcel"),
            ("我这个月要还多少钱", "bill"),
        ] {
            assert_eq!(triggered(message).as_deref(), Some(flow), "{message}");
        }
        for message in [
            "信用卡怎么挂失",
            "挂失要手续费吗",
            "预约安装收费吗",
            "年费是多少",
            "how do I block my card",
            "转人工",
            "",
        ] {
            assert_eq!(triggered(message), None, "{message}");
        }
    }

    struct Letters;

    #[async_trait]
    impl Similarity for Letters {
        async fn vectors(&self, texts: Vec<String>) -> Option<Vec<Vec<f32>>> {
            Some(
                texts
                    .iter()
                    .map(|text| {
                        if text.contains('丢') {
                            vec![1.0, 0.0]
                        } else {
                            vec![0.0, 1.0]
                        }
                    })
                    .collect(),
            )
        }
    }

    #[tokio::test]
    async fn meaning_begins_a_flow_too() {
        let flows = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/flows")).unwrap();
        let triggers = Triggers::new(&flows);
        let found = triggers.by_meaning("弄丢了", &Letters, 0.9).await.unwrap();
        assert_eq!(flows[found.flow].name, "lost_card");
        assert!(triggers.by_meaning("弄丢了怎么办理", &Letters, 0.9).await.is_none());
    }
}
